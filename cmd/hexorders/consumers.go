package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hexorders/app"
	"hexorders/ports"
)

func consumersCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "consumers",
		Short: "Show how far the views are, and retry parked orders",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(
		&cobra.Command{
			Use:   "status",
			Short: "Show how far each view is",
			Long: `Prints a line for each view: its generation, which grows by one with each replay; how many events it is behind the
topic; the time as of which it is up to date; how many events and orders are parked.`,
			Example: "  hexorders consumers status",
			Args:    noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withTopic(cmd, func(ctx context.Context, _ *Config, s *storage, subscriber ports.Subscriber) error {
					return consumersStatus(ctx, s, subscriber, cmd.OutOrStdout())
				})
			},
		},
		&cobra.Command{
			Use:   "parked",
			Short: "List the orders that are parked in a view",
			Long: `Lists the orders that are parked: their next event cannot be applied, or an event before it is missing. All other
orders go on. REASON says what is wrong; so does the log of the process that parked the order.`,
			Example: "  hexorders consumers parked",
			Args:    noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withStorage(cmd, func(ctx context.Context, s *storage) error {
					return consumersParked(ctx, s, cmd.OutOrStdout())
				})
			},
		},
		&cobra.Command{
			Use:   "retry VIEW ORDER",
			Short: "Apply the events of a parked order again",
			Long: `Applies the events of a parked order at once and in this process, up to the next one that fails. Repair the cause
first: an event of an unknown type needs a newer version of this program.`,
			Example:   "  hexorders consumers retry order-summary 0197f5d2-7e4c-7b1a-9d7e-3f6f0c7d3b52",
			ValidArgs: viewNames(),
			Args: func(cmd *cobra.Command, args []string) error {
				if len(args) != 2 {
					return usagef("`%s` takes a view and the id of one order, got %d arguments", cmd.CommandPath(), len(args))
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				view, err := viewNamed(args[0])
				if err != nil {
					return err
				}
				return withStorage(cmd, func(ctx context.Context, s *storage) error {
					return consumersRetry(ctx, s, view, args[1], cmd.OutOrStdout())
				})
			},
		},
	)
	return group
}

func viewNames() []string {
	names := make([]string, len(ports.AllViews))
	for i, view := range ports.AllViews {
		names[i] = string(view)
	}
	return names
}

func viewNamed(name string) (ports.View, error) {
	for _, view := range ports.AllViews {
		if string(view) == name {
			return view, nil
		}
	}
	return "", usagef("no view is called %q: there are %s", name, strings.Join(viewNames(), ", "))
}

func consumersStatus(ctx context.Context, s *storage, subscriber ports.Subscriber, out io.Writer) error {
	ends, err := subscriber.Ends(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "VIEW\tGENERATION\tBEHIND\tUP TO DATE AS OF\tPARKED")
	for _, view := range ports.AllViews {
		live, err := s.views.Live(ctx, view)
		if err != nil {
			return err
		}
		positions, err := s.views.Positions(ctx, live)
		if err != nil {
			return err
		}
		freshness, err := s.views.Freshness(ctx, view, "")
		if err != nil {
			return err
		}
		parked, err := s.views.Parked(ctx, live)
		if err != nil {
			return err
		}
		behind := int64(0)
		for partition, end := range ends {
			behind += max(0, end-positions[partition])
		}
		asOf := "-"
		if !freshness.AsOf.IsZero() {
			asOf = freshness.AsOf.UTC().Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\n", view, live.Number, behind, asOf, parkedEvents(parked))
	}
	return table.Flush()
}

func parkedEvents(parked []ports.ParkedOrder) string {
	if len(parked) == 0 {
		return "none"
	}
	events := 0
	for _, p := range parked {
		events += p.Messages
	}
	return fmt.Sprintf("%d events of %d orders: see `hexorders consumers parked`", events, len(parked))
}

func consumersParked(ctx context.Context, s *storage, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	found := false
	for _, view := range ports.AllViews {
		parked, err := keeper(s, view).Parked(ctx)
		if err != nil {
			return err
		}
		for _, p := range parked {
			if !found {
				_, _ = fmt.Fprintln(table, "VIEW\tORDER\tFROM VERSION\tEVENTS\tSINCE\tREASON")
				found = true
			}
			_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\t%s\n", view, visible(p.OrderID), p.First, p.Messages,
				p.Since.UTC().Format(time.RFC3339), visible(p.Reason))
		}
	}
	if !found {
		_, _ = fmt.Fprintln(table, "no order is parked in any view")
	}
	return table.Flush()
}

// keeper is the projection that parked a view's orders. It does not run, so it needs no topic.
func keeper(s *storage, view ports.View) *app.Projection {
	return app.NewProjection(projection(&Config{}, s, nil, view, slog.New(slog.DiscardHandler)))
}

func consumersRetry(ctx context.Context, s *storage, view ports.View, order string, out io.Writer) error {
	err := keeper(s, view).Retry(ctx, order)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return fmt.Errorf("order %s is not parked in %s: `hexorders consumers parked` lists the orders that are", order, view)
	case errors.Is(err, ports.ErrConflict):
		return fmt.Errorf("other processes kept changing order %s in %s at the same time: try again", order, view)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(out, "all parked events of order %s are applied to %s\n", order, view)
	return err
}
