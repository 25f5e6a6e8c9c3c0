package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// repeats is a log that leaves out what it has just said. While a store or a broker is away, every retry warns: ten lines a
// second of one kind hide all others. So of warnings and errors with the same message (and about the same order) the first
// few are written, then one in each repeatEvery with the number of those that were left out.
type repeats struct {
	slog.Handler
	*said
}

const (
	repeatEvery  = 10 * time.Second
	repeatsFirst = 3 // written before any is left out, so that what changes to and fro can be seen
)

type said struct {
	mu    sync.Mutex
	lines map[string]*line // by message and order; each for repeatEvery after it was written
}

type line struct {
	times   int
	leftOut int
	last    slog.Record
	to      slog.Handler
}

func withoutRepeats(log *slog.Logger) *slog.Logger {
	return slog.New(repeats{log.Handler(), &said{lines: make(map[string]*line)}})
}

func (h repeats) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn || !h.leaveOut(r) {
		return h.Handler.Handle(ctx, r)
	}
	return nil
}

func (h repeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	return repeats{h.Handler.WithAttrs(attrs), h.said}
}

func (h repeats) WithGroup(name string) slog.Handler {
	return repeats{h.Handler.WithGroup(name), h.said}
}

func (h repeats) leaveOut(r slog.Record) bool {
	key := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "order" {
			key += " " + a.Value.String()
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lines[key]
	if l == nil {
		l = &line{}
		h.lines[key] = l
		h.watch(key)
	}
	if l.times++; l.times <= repeatsFirst {
		return false
	}
	l.leftOut++
	l.last, l.to = r.Clone(), h.Handler
	return true
}

// watch looks later whether a line was left out, and then writes the last one.
func (s *said) watch(key string) {
	time.AfterFunc(repeatEvery, func() {
		s.mu.Lock()
		l := s.lines[key]
		if l.leftOut == 0 {
			delete(s.lines, key)
			s.mu.Unlock()
			return
		}
		s.lines[key] = &line{times: repeatsFirst}
		s.watch(key)
		s.mu.Unlock()
		l.last.AddAttrs(slog.Int("leftOut", l.leftOut-1))
		_ = l.to.Handle(context.Background(), l.last) // as slog itself: a log that fails has nowhere to say so
	})
}
