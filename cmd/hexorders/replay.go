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

	"hexorders/app"
	"hexorders/ports"
)

func replayCommand() *cobra.Command {
	restart := false
	cmd := &cobra.Command{
		Use:   "replay VIEW",
		Short: "Rebuild a view from the first event, beside the one that is read",
		Long: `Rebuilds a view from the first event of the topic, as a shadow of the one that is read, and swaps the two when the
shadow is up to date. Until then readers see the old one, which keeps receiving events. Use it after a change of the
code of a view, or when a view seems to be wrong.

It can be stopped or killed at any time; the same command resumes there. --restart starts from the first event.
Progress goes to standard error: a bar on a terminal, else a line now and then.`,
		Example:   "  hexorders replay order-summary\n  hexorders replay timeline --restart",
		ValidArgs: viewNames(),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("`%s` takes one view, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			view, err := viewNamed(args[0])
			if err != nil {
				return err
			}
			ctx, ended := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer ended()
			return replay(ctx, cmd, view, restart)
		},
	}
	cmd.Flags().BoolVar(&restart, "restart", false, "discard what an earlier replay has built and start from the first event")
	return cmd
}

func replay(ctx context.Context, cmd *cobra.Command, view ports.View, restart bool) error {
	return withTopic(cmd, func(connecting context.Context, c *Config, s *storage, subscriber ports.Subscriber) error {
		if _, err := subscriber.Ends(connecting); err != nil {
			return err // replay itself would wait for the broker for ever
		}
		if restart {
			if err := s.views.Discard(connecting, view); err != nil {
				return err
			}
		}
		c.Log.Level = slog.LevelWarn // what goes well is said here
		progress := newProgress(cmd.ErrOrStderr(), string(view))
		err := app.Replay(ctx, projection(c, s, subscriber, view, newLogger(cmd.ErrOrStderr(), c)), progress.report)
		progress.end()
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return fmt.Errorf("stopped at %s; `hexorders replay %s` resumes there, with --restart it starts from the first event",
				progress.where(), view)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is rebuilt from %d events, and readers see the new one\n",
			view, progress.last.Done)
		return err
	})
}

// progress shows how far a replay is: a bar for people, lines for logs.
type progress struct {
	out   io.Writer
	view  string
	bar   *progressbar.ProgressBar // nil: lines
	now   func() time.Time
	began time.Time
	said  time.Time // when the last line was
	last  app.ReplayProgress
	seen  bool // a first report has come
}

// sayEvery is how often there is a line: enough to see that it goes on, few enough for a log.
const sayEvery = 5 * time.Second

func newProgress(out io.Writer, view string) *progress {
	p := &progress{out: out, view: view, now: time.Now}
	p.began = p.now()
	p.said = p.began
	if file, isFile := out.(*os.File); isFile && isatty.IsTerminal(file.Fd()) {
		p.bar = progressbar.NewOptions64(1, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(view),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("events"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond))
	}
	return p
}

func (p *progress) report(r app.ReplayProgress) {
	if resumed := r.Done - r.Messages; !p.seen && resumed > 0 {
		_, _ = fmt.Fprintf(p.out, "%s: resuming at event %d, where an earlier replay stopped; --restart starts from the first\n", p.view, resumed)
	}
	p.seen, p.last = true, r
	if p.bar != nil {
		p.bar.ChangeMax64(max(r.Total, 1))
		_ = p.bar.Set64(r.Done) // the terminal is not worth failing for
		return
	}
	if now := p.now(); now.Sub(p.said) >= sayEvery {
		p.said = now
		_, _ = fmt.Fprintf(p.out, "%s: %s\n", p.view, p.where())
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
