package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"hexorders/adapters/eventjson"
	"hexorders/app/verify"
	"hexorders/ports"
)

func verifyCommand() *cobra.Command {
	var asJSON bool
	settle, examples := verify.DefaultSettle, 5
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that store, outbox, topic and views agree, or say where they do not",
		Long: `Reads the whole store, its outbox, the topic and the rows of all views, and compares them: every committed event is in
the topic, at least once and in order, and nothing else is; every order is what its events add up to; every row of every
view is what the events make of it. It only reads, and the service may run meanwhile. What is on its way gets --settle
to arrive.

What differs is printed by kind: how often, the first examples, what it means and what to do. The exit code is 1 then,
and 0 when all agrees. What cannot be proven is said too: events that the outbox has deleted after
HEXORDERS_OUTBOX_RETENTION, which has to be set here as it is for the service.

Memory is bounded. Temporary files (TMPDIR) take about as much room as the topic.`,
		Example: "  hexorders verify\n  hexorders verify --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, ended := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer ended()
			return runVerify(ctx, cmd, verify.Options{Settle: settle, Show: examples}, asJSON)
		},
	}
	cmd.Flags().DurationVar(&settle, "settle", settle, "how long what is on its way may take")
	cmd.Flags().IntVar(&examples, "examples", examples, "how many differences of each kind to list")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func runVerify(ctx context.Context, cmd *cobra.Command, options verify.Options, asJSON bool) error {
	return withTopic(cmd, func(connecting context.Context, c *Config, s *storage, subscriber ports.Subscriber) error {
		if _, err := messagesAhead(connecting, subscriber, nil); err != nil {
			return err // reading the topic would wait for the broker for ever
		}
		if err := whatToVerify(&options, c, s, subscriber); err != nil {
			return err
		}
		if bar := newBar(cmd.ErrOrStderr(), "verify", "entries"); bar != nil {
			options.Report = func(p verify.Progress) {
				bar.Describe("verify: " + p.Step)
				bar.ChangeMax64(max(p.Total, p.Done, 1))
				_ = bar.Set64(p.Done) // the terminal is not worth failing for
			}
			defer func() { _ = bar.Clear() }()
		}
		began := time.Now()
		report, err := verify.Check(ctx, options)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return errors.New("stopped before everything was compared")
		}
		if err != nil {
			return err
		}
		print := printReport
		if asJSON {
			print = printReportAsJSON
		}
		if err := print(cmd.OutOrStdout(), report, time.Since(began)); err != nil {
			return err
		}
		if !report.Agree() {
			return fmt.Errorf("%d differences", report.Total())
		}
		return nil
	})
}

// whatToVerify finds out what there is to compare.
func whatToVerify(o *verify.Options, c *Config, s *storage, subscriber ports.Subscriber) error {
	if o.Store = part[verify.Store](s); o.Store == nil {
		return verify.ErrNoScan
	}
	var ok bool
	if o.Topic, ok = subscriber.(ports.Replayable); !ok {
		return verify.ErrNotReplayable
	}
	o.Decode, o.ReadModel, o.Parking = eventjson.Event, s.views, s.parking
	if part[ports.Trimmer](s) != nil && c.Outbox.Retention > 0 {
		const clocks = 10 * time.Minute // those of two machines may differ by
		o.Trimmed = time.Now().Add(clocks - c.Outbox.Retention)
	}
	return nil
}

func printReport(out io.Writer, r *verify.Report, took time.Duration) error {
	var b strings.Builder
	fmt.Fprintf(&b, "compared in %s: %d orders, %d events in the store, %d messages in the topic, %d of them again, %d rows of "+
		"views\n", took.Round(time.Millisecond), r.Orders, r.Events, r.Records, r.Duplicates, r.Rows)
	for _, e := range verify.Explanations {
		count := r.Counts[e.Kind]
		if count == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s: %d\n  %s\n", e.Kind, count, e.Meaning)
		listed := r.Of(e.Kind)
		for _, d := range listed {
			fmt.Fprintf(&b, "    %s\n", visible(differenceInWords(d)))
		}
		if more := count - int64(len(listed)); more > 0 {
			fmt.Fprintf(&b, "    and %d more\n", more)
		}
		fmt.Fprintf(&b, "  What to do: %s.\n", e.Remedy)
	}
	for i, sentence := range unproven(r) {
		if i == 0 {
			b.WriteString("\nNot proven:\n")
		}
		fmt.Fprintf(&b, "  %s\n", visible(sentence))
	}
	if r.Agree() {
		b.WriteString("all agree\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func differenceInWords(d verify.Difference) string {
	what := "order " + d.Order
	if d.View != "" {
		what = "row " + d.Key + " of " + d.View
	}
	if d.Version > 0 {
		what += fmt.Sprintf(", version %d", d.Version)
	}
	if d.Detail != "" {
		what += ": " + d.Detail
	}
	return what
}

// unproven are sentences on what the verification cannot know.
func unproven(r *verify.Report) (sentences []string) {
	if r.TopicOnly > 0 {
		sentences = append(sentences, fmt.Sprintf("%d events: the outbox has deleted them after their time, and the topic "+
			"alone has them; the orders are what they add up to", r.TopicOnly))
	}
	if r.Unknown > 0 {
		sentences = append(sentences, fmt.Sprintf("%d orders: neither the outbox nor the topic has their first events; "+
			"nothing is said of %d rows that they have a part in", r.Unknown, r.UnprovenRows))
	}
	return append(sentences, r.Unproven...)
}

// reportJSON is a report for programs.
type reportJSON struct {
	Agree       bool             `json:"agree"`
	Seconds     float64          `json:"seconds"`
	Orders      int64            `json:"orders"`
	Events      int64            `json:"events"`
	Records     int64            `json:"topicMessages"`
	Duplicates  int64            `json:"duplicates"`
	Rows        int64            `json:"rows"`
	Differences []differenceJSON `json:"differences"`
	Unproven    []string         `json:"notProven"`
}

type differenceJSON struct {
	Kind     verify.Kind   `json:"kind"`
	Count    int64         `json:"count"`
	Meaning  string        `json:"meaning"`
	Remedy   string        `json:"remedy"`
	Examples []exampleJSON `json:"examples"`
}

type exampleJSON struct {
	Order   string `json:"order,omitempty"`
	Version int    `json:"version,omitempty"`
	View    string `json:"view,omitempty"`
	Key     string `json:"key,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

func printReportAsJSON(out io.Writer, r *verify.Report, took time.Duration) error {
	j := reportJSON{
		Agree: r.Agree(), Seconds: took.Seconds(), Orders: r.Orders, Events: r.Events, Records: r.Records,
		Duplicates: r.Duplicates, Rows: r.Rows, Differences: []differenceJSON{}, Unproven: append([]string{}, unproven(r)...),
	}
	for _, e := range verify.Explanations {
		if r.Counts[e.Kind] == 0 {
			continue
		}
		d := differenceJSON{Kind: e.Kind, Count: r.Counts[e.Kind], Meaning: e.Meaning, Remedy: e.Remedy}
		for _, of := range r.Of(e.Kind) {
			d.Examples = append(d.Examples, exampleJSON{of.Order, of.Version, of.View, of.Key, of.Detail})
		}
		j.Differences = append(j.Differences, d)
	}
	return printJSON(out, j)
}
