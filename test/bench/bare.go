package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serveBare is the raw loop behind net/http, in a process of its own: the least that a service costs which is asked over
// HTTP. It understands no JSON, keeps no log and knows no rule.
func (l *lab) serveBare(ctx context.Context, db string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return l.start(ctx, exec.Command(self, bareCommand, addr, l.mongoURI, db), addr)
}

// bareCommand is how this program is told to be that process.
const bareCommand = "bare"

// runBare serves until ctx ends.
func runBare(ctx context.Context, addr, mongoURI, db string) error {
	r, err := newRawStore(mongoURI, db)
	if err != nil {
		return err
	}
	defer r.close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, request *http.Request) {
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := r.create(request.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := http.Server{Handler: mux}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
