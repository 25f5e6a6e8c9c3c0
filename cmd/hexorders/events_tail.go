package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/kafka"
	"hexorders/core/order"
	"hexorders/ports"
)

func eventsCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "events",
		Short: "Look at the events that were published",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var from string
	var count int
	var asJSON bool
	tail := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they are published",
		Long: `Prints events as they are published, a line each, until SIGINT or until --count events are printed: those that are
published from now on, or with --from start all events of the topic. An order's events come in order. It reads outside
of every consumer group: no consumer gets fewer events.

With --json a line is a CloudEvent in the JSON format of CloudEvents 1.0.`,
		Example: `  hexorders events tail
  hexorders events tail --from start --count 4
  hexorders events tail --from start --json
  HEXORDERS_BROKER=kafka hexorders events tail`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from != "start" && from != "now" {
				return usagef("--from is start or now, not %q", from)
			}
			if cmd.Flags().Changed("count") && count < 1 {
				return usagef("--count is a whole number from 1 on, not %d", count)
			}
			print := printLine
			if asJSON {
				print = printCloudEvent
			}
			ctx, ended := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer ended()
			signal.Ignore(syscall.SIGPIPE) // a reader that has left is an error of the next print
			out, printed := cmd.OutOrStdout(), 0
			err := tailEvents(ctx, cmd.ErrOrStderr(), from == "start", func(m ports.Message) error {
				if err := print(out, m); err != nil {
					return err
				}
				if printed++; printed == count {
					return errPrintedAll
				}
				return nil
			})
			if ctx.Err() != nil || errors.Is(err, errPrintedAll) || errors.Is(err, syscall.EPIPE) {
				return nil // these are the normal ends
			}
			return err
		},
	}
	tail.Flags().StringVar(&from, "from", "now", "the first event to print: start or now")
	tail.Flags().IntVar(&count, "count", 0, "end after so many events (default: print until SIGINT)")
	tail.Flags().BoolVar(&asJSON, "json", false, "print JSON lines")
	group.AddCommand(tail)
	return group
}

var errPrintedAll = errors.New("as many events are printed as --count says")

// tailEvents reads the topic of the broker that the service publishes to.
func tailEvents(ctx context.Context, errOut io.Writer, fromStart bool, handle func(ports.Message) error) error {
	c, warnings, err := loadConfig()
	if err != nil {
		return err
	}
	printWarnings(errOut, warnings)
	c.Log.Level = slog.LevelWarn

	s := &storage{} // a broker with a topic of its own needs no store
	if c.Broker.topic == nil {
		if s, err = openReadSide(ctx, &c); err != nil {
			return err
		}
		defer func() { _ = s.close(context.WithoutCancel(ctx)) }() // it was only read
	}
	switch err := c.Broker.check(ctx, &c); {
	case noTopic(err):
		_, _ = fmt.Fprintln(visibleOutput{errOut}, "waiting:", err)
		fromStart = true // every event in it will be a new one
	case err != nil:
		return err
	}
	topic, err := c.Broker.subscriber(&c, s, newLogger(errOut, &c))
	if err != nil {
		return err
	}
	kept, ok := topic.(ports.TopicEnd)
	if !ok {
		return fmt.Errorf("the broker %s does not keep its messages, so nobody can look at them", c.Broker.name)
	}
	var resume ports.Resume // from the start
	if !fromStart {
		now, err := kept.Newest(ctx)
		if err != nil {
			return err
		}
		resume = func(context.Context, []string) ([]ports.Place, error) { return now, nil }
	}
	return kept.Replay(ctx, resume, func(_ context.Context, b ports.Batch) error {
		for _, d := range b.Messages {
			if err := handle(d.Message); err != nil {
				return err
			}
		}
		return nil
	})
}

// printLine is for people: when, which order, which version of it, what happened.
func printLine(out io.Writer, m ports.Message) error {
	line := fmt.Sprintf("%s  %-36s  %3d  %-18s  %s",
		m.OccurredAt.Local().Format("2006-01-02 15:04:05.000"), m.OrderID, m.Version, m.Type, inWords(m))
	_, err := fmt.Fprintln(out, strings.TrimRight(visible(line), " "))
	return err
}

func inWords(m ports.Message) string {
	event, err := eventjson.Event(m)
	if err != nil {
		var payload bytes.Buffer // of a newer version of this program, say
		if json.Compact(&payload, m.Payload) != nil {
			return string(m.Payload)
		}
		return payload.String()
	}
	switch e := event.(type) {
	case order.Created:
		return strings.TrimSpace("buyer " + e.Buyer + "  " + list(e.Items))
	case order.ItemAdded:
		return fmt.Sprintf("+ %d × %s", e.Amount, e.Product)
	case order.AmountChanged:
		return fmt.Sprintf("%d × %s", e.Amount, e.Product)
	case order.ItemRemoved:
		return "- " + e.Product
	case order.Submitted:
		return strings.TrimSpace("buyer " + e.Buyer + "  " + list(e.Items))
	case order.Cancelled:
		if e.By != order.ByBuyer { // nearly always it is
			return strings.TrimSpace("by the " + string(e.By) + "  " + e.Reason)
		}
		return e.Reason
	}
	return ""
}

func list(items []order.Item) string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = fmt.Sprintf("%d × %s", item.Amount, item.Product)
	}
	return strings.Join(lines, ", ")
}

// cloudEvent is the JSON format of CloudEvents 1.0 (section 2.2), with what the Kafka headers carry.
type cloudEvent struct {
	SpecVersion      string          `json:"specversion"`
	ID               string          `json:"id"`
	Source           string          `json:"source"`
	Type             string          `json:"type"`
	Time             time.Time       `json:"time"`
	Subject          string          `json:"subject"`
	AggregateVersion int             `json:"aggregateversion"`
	TraceParent      string          `json:"traceparent,omitempty"`
	ContentType      string          `json:"datacontenttype"`
	Data             json.RawMessage `json:"data"`
}

func printCloudEvent(out io.Writer, m ports.Message) error {
	return printJSON(out, cloudEvent{
		SpecVersion: "1.0", ID: m.ID, Source: kafka.DefaultSource, Type: m.Type, Time: m.OccurredAt.UTC(), Subject: m.OrderID,
		AggregateVersion: m.Version, TraceParent: m.TraceParent, ContentType: "application/json", Data: m.Payload,
	})
}
