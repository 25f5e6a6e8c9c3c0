package main

import (
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
	"unicode"

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
	var asJSON bool
	tail := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they are published",
		Long: `Prints events as they are published, a line each, until SIGINT: those that come from now on, or with --from start all
that there ever were. An order's events come in order. It leaves no trace: nobody else gets fewer.

With --json a line is a CloudEvent in the JSON format of CloudEvents 1.0.`,
		Example: "  hexorders events tail\n  hexorders events tail --from start --json\n  HEXORDERS_BROKER=kafka hexorders events tail",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from != "start" && from != "now" {
				return usagef("--from is start or now, not %q", from)
			}
			print := printLine
			if asJSON {
				print = printCloudEvent
			}
			ctx, ended := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer ended()
			out := cmd.OutOrStdout()
			signal.Ignore(syscall.SIGPIPE) // the end of whoever reads is an error of the next print, not ours
			ctx, unwatch := untilReaderLeaves(ctx, out)
			defer unwatch()
			err := tailEvents(ctx, cmd.ErrOrStderr(), from == "start", func(m ports.Message) error { return print(out, m) })
			if ctx.Err() != nil || errors.Is(err, syscall.EPIPE) {
				return nil // that is how it is meant to end
			}
			return err
		},
	}
	tail.Flags().StringVar(&from, "from", "now", "the first event to print: start or now")
	tail.Flags().BoolVar(&asJSON, "json", false, "print JSON lines")
	group.AddCommand(tail)
	return group
}

// tailEvents reads the topic of the broker that the service publishes to.
func tailEvents(ctx context.Context, errOut io.Writer, fromStart bool, handle func(ports.Message) error) error {
	c, warnings, err := loadConfig()
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		_, _ = fmt.Fprintln(errOut, "warning:", warning)
	}
	c.Log.Level = "warn"
	s := &storage{close: func(context.Context) error { return nil }} // Kafka has its topic itself
	switch {
	case c.Broker == "kafka":
		err = kafka.Ping(ctx, kafka.Options{Brokers: c.Kafka.Brokers, Topic: c.Kafka.Topic})
		if errors.Is(err, kafka.ErrNoTopic) { // the first serve creates it while it serves already
			_, _ = fmt.Fprintln(errOut, "waiting:", err)
			fromStart, err = true, nil // whatever will be in it comes from now on
		}
	case c.Store == "memory":
		err = errMemoryStore
	default:
		s, err = openStorage(ctx, &c, slog.New(slog.DiscardHandler), nil)
	}
	if err != nil {
		return err
	}
	defer func() { _ = s.close(context.WithoutCancel(ctx)) }() // it was only read
	topic, err := openSubscriber(&c, s, newLogger(errOut, &c))
	if err != nil {
		return err
	}
	var resume ports.Resume // from the start
	if !fromStart {
		now, err := topic.Ends(ctx)
		if err != nil {
			return err
		}
		resume = func(context.Context, []int) (map[int]int64, error) { return now, nil }
	}
	return topic.Subscribe(ctx, "", resume, func(_ context.Context, b ports.Batch) error {
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
	_, err := fmt.Fprintln(out, strings.TrimRight(strings.Map(visible, line), " "))
	return err
}

// visible keeps a line a line: a reason is a client's own words, and a line break or an escape sequence in it would be
// the terminal's to obey.
func visible(r rune) rune {
	if unicode.IsGraphic(r) {
		return r
	}
	return ' '
}

func inWords(m ports.Message) string {
	event, err := eventjson.Event(m)
	if err != nil {
		return string(m.Payload) // of a newer version of this program, say
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
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(cloudEvent{
		SpecVersion: "1.0", ID: m.ID, Source: kafka.DefaultSource, Type: m.Type, Time: m.OccurredAt.UTC(), Subject: m.OrderID,
		AggregateVersion: m.Version, TraceParent: m.TraceParent, ContentType: "application/json", Data: m.Payload,
	})
}
