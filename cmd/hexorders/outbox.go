package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"hexorders/ports"
)

func outboxCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "outbox",
		Short: "Show whether events reach the broker, and retry parked orders",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var asJSON bool
	group.AddCommand(
		jsonFlag(&cobra.Command{
			Use:     "status",
			Short:   "Show whether a relay publishes, and how many orders are parked",
			Example: "  hexorders outbox status",
			Args:    noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withStorage(cmd, func(ctx context.Context, s *storage) error {
					return outboxStatus(ctx, s, asJSON, cmd.OutOrStdout())
				})
			},
		}, &asJSON),
		jsonFlag(&cobra.Command{
			Use:   "parked",
			Short: "List the orders whose events the broker refused",
			Long: `Lists the parked orders: the broker refused one of their events permanently, because it is too large, say. That event
and the later ones of its order wait for ` + "`hexorders outbox retry ORDER`" + `; all other orders go on.`,
			Example: "  hexorders outbox parked",
			Args:    noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withStorage(cmd, func(ctx context.Context, s *storage) error {
					return outboxParked(ctx, s, asJSON, cmd.OutOrStdout())
				})
			},
		}, &asJSON),
		&cobra.Command{
			Use:   "retry ORDER",
			Short: "Send the parked events of an order again",
			Long: `Asks the relay to send the parked events of an order again, in order. It does so within seconds, or when it runs
again; ` + "`hexorders outbox parked`" + ` shows whether it worked.`,
			Example: "  hexorders outbox retry 0197f5d2-7e4c-7b1a-9d7e-3f6f0c7d3b52",
			Args: func(cmd *cobra.Command, args []string) error {
				if len(args) != 1 {
					return usagef("`%s` takes the id of one order, got %d arguments", cmd.CommandPath(), len(args))
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				return withStorage(cmd, func(ctx context.Context, s *storage) error {
					return outboxRetry(ctx, s, args[0], cmd.OutOrStdout())
				})
			},
		},
	)
	return group
}

func outboxStatus(ctx context.Context, s *storage, asJSON bool, out io.Writer) error {
	position, err := s.outbox.Position(ctx)
	if err != nil {
		return err
	}
	parked, err := s.parking.Parked(ctx)
	if err != nil {
		return err
	}
	publishes, err := whoPublishes(ctx, s)
	if err != nil {
		return err
	}
	messages := 0
	for _, p := range parked {
		messages += p.Messages
	}
	stuck := publishes.stuck()
	if asJSON {
		var waitingSince *time.Time
		if stuck != nil {
			waitingSince = &publishes.waiting.OccurredAt
		}
		return printJSON(out, struct {
			Published    bool `json:"published"` // a relay has stored a checkpoint
			ParkedEvents int  `json:"parkedEvents"`
			ParkedOrders int  `json:"parkedOrders"`

			Relay        string     `json:"relay"`        // the one that holds the lease
			WaitingSince *time.Time `json:"waitingSince"` // when an event occurred that nobody publishes
		}{position != "", messages, len(parked), publishes.holder, waitingSince})
	}
	checkpoint := "stored: a relay has published, and the next one resumes there, also when the topic is another"
	if position == "" {
		checkpoint = "none: no relay has published yet"
	}
	waiting := "none"
	if len(parked) > 0 {
		waiting = fmt.Sprintf("%d events of %d orders: see `hexorders outbox parked`", messages, len(parked))
	}
	relay := ""
	switch {
	case stuck != nil:
		relay = "relay       " + stuck.Error() + "\n"
	case publishes.holder != "":
		relay = "relay       " + publishes.holder + " holds the lease\n"
	case publishes.known:
		relay = "relay       none holds the lease\n"
	}
	_, err = fmt.Fprintf(out, "checkpoint  %s\nparked      %s\n%s", checkpoint, waiting, relay)
	return err
}

func outboxParked(ctx context.Context, s *storage, asJSON bool, out io.Writer) error {
	parked, err := s.parking.Parked(ctx)
	if err != nil {
		return err
	}
	rows := make([]parkedRow, len(parked))
	for i, p := range parked {
		rows[i] = parkedRow{p.OrderID, p.First, p.Messages, p.Since.UTC().Format(time.RFC3339), &p.Retry, p.Reason}
	}
	header := "ORDER\tFROM VERSION\tEVENTS\tSINCE\tRETRY\tREASON"
	return printRows(out, asJSON, header, "no order is parked", rows, func(r parkedRow) string {
		retry := "-"
		if *r.Retry {
			retry = "asked for"
		}
		return fmt.Sprintf("%s\t%d\t%d\t%s\t%s\t%s", visible(r.Order), r.FromVersion, r.Events, r.Since, retry, visible(r.Reason))
	})
}

func outboxRetry(ctx context.Context, s *storage, id string, out io.Writer) error {
	switch err := s.parking.Retry(ctx, id); {
	case errors.Is(err, ports.ErrNotFound):
		return fmt.Errorf("order %s has no parked events: `hexorders outbox parked` lists those that have", id)
	case err != nil:
		return err
	}
	_, err := fmt.Fprintf(out, "the relay will send the parked events of order %s again\n", id)
	return err
}

// unread reports how far the relay is behind. An outbox that cannot count that leaves the lag out of the metrics.
func (s *storage) unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	type backlog interface {
		Unread(ctx context.Context) (messages int, oldest time.Time, err error)
	}
	if b := part[backlog](s); b != nil {
		return b.Unread(ctx)
	}
	return 0, time.Time{}, errors.ErrUnsupported
}
