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

// newServer bounds what a client may do to the service by being slow or endless.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
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

// silentConnections are those on which no request has come yet, as browsers and load balancers open them in advance.
// http.Server.Shutdown waits five seconds for them; no client would get a response from that.
type silentConnections struct {
	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

func (s *silentConnections) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.open, c)
	case s.closed:
		_ = c.Close()
	default:
		if s.open == nil {
			s.open = make(map[net.Conn]struct{})
		}
		s.open[c] = struct{}{}
	}
}

// close closes them, and those that still come.
func (s *silentConnections) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		_ = c.Close()
	}
}
