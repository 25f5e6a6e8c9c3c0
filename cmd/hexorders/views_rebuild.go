package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"hexorders/app/readside"
	"hexorders/ports"
)

func viewsRebuildCommand() *cobra.Command {
	restart, from := false, "topic"
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Rebuild all views from the first event, beside those that are read",
		Long: `Rebuilds the views from the first event of the topic, in a new generation beside the one that is read, and swaps the two
when the new one is up to date. Until then readers see the old one, which keeps receiving events. Use it when a view is
new or its code has changed, or when a view seems to be wrong.

It can be stopped or killed at any time; the same command resumes there. --restart starts from the first event.

Before the swap it proves that the topic has everything: no first event was deleted, and every order of the store is there. If
not, it says what is missing, and the exit code is 1. --from store then reads the events from the store: with mongodb-events
all of them, with another store those that its outbox keeps. It always starts from the first event.
Progress goes to standard error: a bar on a terminal, else a line now and then.`,
		Example: "  hexorders views rebuild\n  hexorders views rebuild --restart\n  hexorders views rebuild --from store",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, ended := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer ended()
			if from != "topic" && from != "store" {
				return usagef("--from takes topic or store, got %q", from)
			}
			return viewsRebuild(ctx, cmd, restart, from == "store")
		},
	}
	cmd.Flags().BoolVar(&restart, "restart", false, "discard what an earlier rebuild has done and start from the first event")
	cmd.Flags().StringVar(&from, "from", from, "where the events are read: topic or store")
	return cmd
}

func viewsRebuild(ctx context.Context, cmd *cobra.Command, restart, fromStore bool) error {
	return withTopic(cmd, func(connecting context.Context, c *Config, s *storage, subscriber ports.Subscriber) error {
		if _, err := messagesAhead(connecting, subscriber, nil); err != nil {
			return err // Rebuild itself would wait for the broker for ever
		}
		if restart {
			if err := s.views.Discard(connecting); err != nil {
				return err
			}
		}
		c.Log.Level = slog.LevelWarn // what goes well is said here
		progress := newProgress(cmd.ErrOrStderr())
		options := engineOptions(c, s, subscriber, newLogger(cmd.ErrOrStderr(), c))
		options.Orders = part[ports.OrderScanner](s) // nil: there is nothing to compare the views with
		options.Parking, options.FromStore = s.parking, fromStore
		err := readside.Rebuild(ctx, options, progress.report)
		progress.end()
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return fmt.Errorf("stopped at %s; `hexorders views rebuild` resumes there, with --restart it starts from the first event",
				progress.where())
		}
		if errors.Is(err, readside.ErrIncomplete) && !fromStore {
			return fmt.Errorf("nothing was swapped in: %w; `hexorders views rebuild --from store` reads what the store has", err)
		}
		if err != nil {
			return err
		}
		events := progress.last.Done
		if fromStore {
			events = progress.last.Messages // of the store, and what came to the topic meanwhile
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the views are rebuilt from %d events, and readers see the new ones\n", events)
		return err
	})
}

// progress shows how far a rebuild is: a bar for people, lines for logs.
type progress struct {
	out   io.Writer
	bar   *progressbar.ProgressBar // nil: lines
	now   func() time.Time
	began time.Time
	said  time.Time // when the last line was
	last  readside.RebuildProgress
	seen  bool // a first report has come
}

// sayEvery is how often there is a line: enough to see that it goes on, few enough for a log.
const sayEvery = 5 * time.Second

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, now: time.Now}
	p.began = p.now()
	p.said = p.began
	p.bar = newBar(out, "rebuild", "events")
	return p
}

// newBar is a progress bar on a terminal, nil elsewhere.
func newBar(out io.Writer, description, unit string) *progressbar.ProgressBar {
	if file, isFile := out.(*os.File); !isFile || !isatty.IsTerminal(file.Fd()) {
		return nil
	}
	return progressbar.NewOptions64(1, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(description),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit),
		progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond))
}

func (p *progress) report(r readside.RebuildProgress) {
	if resumed := r.Done - r.Messages; !p.seen && resumed > 0 {
		_, _ = fmt.Fprintf(p.out, "resuming at event %d, where an earlier rebuild stopped; --restart starts from the first\n", resumed)
	}
	p.seen, p.last = true, r
	if p.bar != nil {
		p.bar.ChangeMax64(max(r.Total, 1))
		_ = p.bar.Set64(r.Done) // the terminal is not worth failing for
		return
	}
	if now := p.now(); now.Sub(p.said) >= sayEvery {
		p.said = now
		_, _ = fmt.Fprintf(p.out, "rebuild: %s\n", p.where())
	}
}

// where is the progress in words, with the rate since the beginning and the time that is left at that rate.
func (p *progress) where() string {
	done, total := p.last.Done, max(p.last.Total, p.last.Done)
	text := fmt.Sprintf("%d of %d events", done, total)
	if total > 0 {
		text += fmt.Sprintf(" (%d%%)", done*100/total)
	}
	took := p.now().Sub(p.began).Seconds()
	if p.last.Messages == 0 || took <= 0 {
		return text
	}
	rate := float64(p.last.Messages) / took
	left := time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s, %.0f/s, %s left", text, rate, left)
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		_, _ = fmt.Fprintln(p.out)
	}
}
