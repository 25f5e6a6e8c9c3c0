package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// untilSignal returns a context that ends with ctx or with SIGINT, SIGTERM or SIGHUP. After that, until ended is called, a
// second signal ends the process at once, and so does a stop that takes longer than stopWithin.
//
// It also ignores SIGPIPE until the process ends: a log line without a reader must not end a service (`hexorders | head`).
func untilSignal(ctx context.Context, log *slog.Logger) (_ context.Context, ended func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2) // a third one changes nothing
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
		case <-done:
			return
		}
		select {
		case second := <-signals:
			log.Error("a second signal: ending at once")
			os.Exit(128 + int(second.(syscall.Signal)))
		case <-time.After(stopWithin):
			log.Error("the stop takes too long: ending as it is", "after", stopWithin)
			os.Exit(exitFailed)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
