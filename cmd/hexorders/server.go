package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// newServer bounds what clients may do to the service by being slow, endless or many.
func newServer(h http.Handler, open *connections, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ConnContext:       open.accept,
		ConnState:         open.track,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second, // from the end of the header on, so the body and the work count too
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s, the port is taken: "+
			"stop what runs there, or choose another with HEXORDERS_HTTP_ADDR", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("cannot listen on %s, permission denied: choose a port from 1024 on with HEXORDERS_HTTP_ADDR", address)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %w: correct HEXORDERS_HTTP_ADDR", address, err)
	}
	return listener, nil
}

// connections are those that are open. Beyond the bound, a connection gets refuseWithin to be told so (crowded), and then
// it is closed. Beyond mostRefused more, it is closed at once.
type connections struct {
	bound int

	mu      sync.Mutex
	open    int
	silent  map[net.Conn]struct{} // no request has come yet
	closing bool
}

const (
	refuseWithin = time.Second
	mostRefused  = 128
)

func newConnections(bound int) *connections {
	return &connections{bound: min(bound, descriptors()/2), silent: make(map[net.Conn]struct{})}
}

type crowdedKey struct{}

// crowded reports whether a request came on a connection beyond the bound.
func crowded(ctx context.Context) bool { return ctx.Value(crowdedKey{}) != nil }

// accept is the server's ConnContext.
func (s *connections) accept(ctx context.Context, c net.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.open++; {
	case s.open > s.bound+mostRefused:
		_ = c.Close()
	case s.open > s.bound:
		time.AfterFunc(refuseWithin, func() { _ = c.Close() })
	default:
		return ctx
	}
	return context.WithValue(ctx, crowdedKey{}, true)
}

// track is the server's ConnState.
func (s *connections) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		s.open--
	}
	switch {
	case state != http.StateNew:
		delete(s.silent, c)
	case s.closing:
		_ = c.Close()
	default:
		s.silent[c] = struct{}{}
	}
}

// closeSilent closes the connections on which no request has come yet, and those that still come. Browsers and load
// balancers open some in advance; http.Server.Shutdown would wait five seconds for them, and no client would get a
// response from that.
func (s *connections) closeSilent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for c := range s.silent {
		_ = c.Close()
	}
}
