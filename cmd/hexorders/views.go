package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hexorders/app/readside"
	"hexorders/ports"
)

func viewsCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "views",
		Short: "Show how far the views are, retry parked orders, rebuild the views",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(viewsStatusCommand(), viewsParkedCommand(), viewsRetryCommand(), viewsRebuildCommand())
	return group
}

func viewsStatusCommand() *cobra.Command {
	var asJSON bool
	return jsonFlag(&cobra.Command{
		Use:   "status",
		Short: "Show how far the views are",
		Long: `Prints the generation that is read, which changes with each rebuild; how many events it is behind the topic ("-" when
the broker cannot say); the time as of which it is up to date; how many events and orders are parked; and its views. It
says so when a view of this version is not built yet, and when events are missing for ever, because the topic did not have
them any more or is another one than before.`,
		Example: "  hexorders views status",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withTopic(cmd, func(ctx context.Context, _ *Config, s *storage, subscriber ports.Subscriber) error {
				return viewsStatus(ctx, s, subscriber, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}, &asJSON)
}

func viewsParkedCommand() *cobra.Command {
	var asJSON bool
	return jsonFlag(&cobra.Command{
		Use:   "parked",
		Short: "List the orders whose events cannot be applied to the views",
		Long: `Lists the orders that are parked: their next event cannot be applied, or an event before it is missing. All other
orders go on. REASON says what is wrong; so does the log of the process that parked the order.`,
		Example: "  hexorders views parked",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withViews(cmd, func(ctx context.Context, s *storage) error {
				return viewsParked(ctx, s, asJSON, cmd.OutOrStdout())
			})
		},
	}, &asJSON)
}

func viewsRetryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "retry ORDER",
		Short: "Apply the events of a parked order again",
		Long: `Applies the events of a parked order at once and in this process, up to the next one that fails. Repair the cause
first: an event of an unknown type needs a newer version of this program.`,
		Example: "  hexorders views retry 0197f5d2-7e4c-7b1a-9d7e-3f6f0c7d3b52",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("`%s` takes the id of one order, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withViews(cmd, func(ctx context.Context, s *storage) error {
				return viewsRetry(ctx, s, args[0], cmd.OutOrStdout())
			})
		},
	}
}

func viewsStatus(ctx context.Context, s *storage, subscriber ports.Subscriber, asJSON bool, out, errOut io.Writer) error {
	live, err := s.views.Live(ctx)
	if err != nil {
		return err
	}
	places, err := s.views.Places(ctx, live)
	if err != nil {
		return err
	}
	freshness, err := s.views.Freshness(ctx, "")
	if err != nil {
		return err
	}
	parked, err := s.views.Parked(ctx, live)
	if err != nil {
		return err
	}
	gaps, err := s.views.Gaps(ctx, live)
	if err != nil {
		return err
	}
	behind, err := messagesAhead(ctx, subscriber, places)
	if err != nil {
		printWarnings(errOut, []string{"the broker does not say how far the views are behind: " + err.Error()})
	}
	missing := missingViews(live)
	if asJSON {
		believed := freshness.BelievedAsOf()
		asOf := &believed
		if asOf.IsZero() {
			asOf = nil
		}
		return printJSON(out, struct {
			Generation   int        `json:"generation"`
			Behind       *int64     `json:"behind"`
			UpToDateAsOf *time.Time `json:"upToDateAsOf"`
			ParkedEvents int        `json:"parkedEvents"`
			ParkedOrders int        `json:"parkedOrders"`
			Views        []string   `json:"views"`
			NotBuilt     []string   `json:"notBuilt"`
			Gaps         []gapRow   `json:"gaps"`
		}{live.Number, behind, asOf, eventsOf(parked), len(parked), live.Views, append([]string{}, missing...), gapRows(gaps)})
	}
	asOf, ahead := "-", "-"
	switch {
	case len(gaps) > 0:
		asOf = "never: incomplete"
	case !freshness.BelievedAsOf().IsZero():
		asOf = freshness.AsOf.UTC().Format(time.RFC3339)
	case !freshness.AsOf.IsZero():
		asOf = "unknown: a clock was set back"
	}
	if behind != nil {
		ahead = strconv.FormatInt(*behind, 10)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "GENERATION\tBEHIND\tUP TO DATE AS OF\tPARKED")
	_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", live.Number, ahead, asOf, parkedEvents(parked))
	if err := table.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "views: %s\n", strings.Join(live.Views, ", ")); err != nil {
		return err
	}
	for _, gap := range gaps {
		if _, err := fmt.Fprintf(out, "incomplete (%s): %s\n", gap.Reason, visible(gap.Detail)); err != nil {
			return err
		}
	}
	if len(gaps) > 0 {
		if _, err := fmt.Fprintln(out, "lists are wrong until they are rebuilt: run `hexorders views rebuild`"); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		_, err := fmt.Fprintf(out, "not built: %s: run `hexorders views rebuild`\n", strings.Join(missing, ", "))
		return err
	}
	return nil
}

type gapRow struct {
	Reason ports.GapReason `json:"reason"`
	Detail string          `json:"detail"`
}

func gapRows(gaps []ports.Gap) []gapRow {
	rows := make([]gapRow, len(gaps)) // never nil: none is []
	for i, gap := range gaps {
		rows[i] = gapRow{gap.Reason, gap.Detail}
	}
	return rows
}

// messagesAhead is how many messages come after the places; nil when the broker cannot say.
func messagesAhead(ctx context.Context, subscriber ports.Subscriber, places []ports.Place) (*int64, error) {
	topic, ok := subscriber.(ports.Replayable)
	if !ok {
		return nil, nil
	}
	ahead, err := topic.Ahead(ctx, places)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for _, messages := range ahead {
		total += messages
	}
	return &total, nil
}

// missingViews are the views of this program that a generation was built without.
func missingViews(g ports.Generation) (missing []string) {
	for _, view := range readside.All {
		if !slices.Contains(g.Views, view.Name) {
			missing = append(missing, view.Name)
		}
	}
	return missing
}

func parkedEvents(parked []ports.ParkedOrder) string {
	if len(parked) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d events of %d orders: see `hexorders views parked`", eventsOf(parked), len(parked))
}

func eventsOf(parked []ports.ParkedOrder) (events int) {
	for _, p := range parked {
		events += p.Messages
	}
	return events
}

func viewsParked(ctx context.Context, s *storage, asJSON bool, out io.Writer) error {
	parked, err := idleEngine(s).Parked(ctx)
	if err != nil {
		return err
	}
	rows := make([]parkedRow, len(parked))
	for i, p := range parked {
		rows[i] = parkedRow{p.OrderID, p.First, p.Messages, p.Since.UTC().Format(time.RFC3339), nil, p.Reason}
	}
	header := "ORDER\tFROM VERSION\tEVENTS\tSINCE\tREASON"
	return printRows(out, asJSON, header, "no order is parked", rows, func(r parkedRow) string {
		return fmt.Sprintf("%s\t%d\t%d\t%s\t%s", visible(r.Order), r.FromVersion, r.Events, r.Since, visible(r.Reason))
	})
}

// idleEngine serves the commands about parked orders. It does not run, so it needs no topic.
func idleEngine(s *storage) *readside.Engine {
	return readside.New(engineOptions(&Config{}, s, nil, slog.New(slog.DiscardHandler)))
}

func viewsRetry(ctx context.Context, s *storage, order string, out io.Writer) error {
	err := idleEngine(s).Retry(ctx, order)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return fmt.Errorf("order %s is not parked: `hexorders views parked` lists the orders that are", order)
	case errors.Is(err, ports.ErrConflict):
		return fmt.Errorf("other processes kept changing the views of order %s at the same time: try again", order)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(out, "all parked events of order %s are applied\n", order)
	return err
}
