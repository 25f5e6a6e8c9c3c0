package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/ports"
)

// storage is an open store. Its ports are found by their types: first among the parts that the row of the table has opened,
// then among those of a companion, which keeps what the store does not.
type storage struct {
	orders  ports.OrderStore
	outbox  ports.Outbox
	parking ports.Parking
	lease   ports.Lease
	topic   inproc.Log           // for the in-process broker
	views   ports.ReadModelStore // with the tables of all views

	parts   []any       // in the order in which they are closed
	beside  string      // a sentence that says what is in a companion, "" without one
	failing atomic.Bool // the last save has found the store unavailable
}

// part returns the first part that is a P, nil when there is none. With an optional port as P it tells whether the store
// has it.
func part[P any](s *storage) (p P) {
	if all := parts[P](s); len(all) > 0 {
		return all[0]
	}
	return p
}

// parts are all that are a P.
func parts[P any](s *storage) (all []P) {
	for _, candidate := range s.parts {
		if p, ok := candidate.(P); ok {
			all = append(all, p)
		}
	}
	return all
}

// openStorage opens the store, and its companion if it needs one. Only a process that serves creates a companion.
func openStorage(ctx context.Context, c *Config, log *slog.Logger, w watch, create bool) (*storage, error) {
	parts, err := c.Store.open(ctx, c, log, w)
	if err != nil {
		return nil, err
	}
	s := &storage{parts: parts}
	if err := s.complete(ctx, c, w, create); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

// complete finds the ports, with a companion where some are missing.
func (s *storage) complete(ctx context.Context, c *Config, w watch, create bool) error {
	s.orders, s.outbox = part[ports.OrderStore](s), part[ports.Outbox](s)
	if s.orders == nil || s.outbox == nil {
		return fmt.Errorf("the store %s must bring a ports.OrderStore and a ports.Outbox", c.Store.name)
	}
	missing := s.missing(c)
	switch {
	case len(missing) == 0:
	case c.Store.volatile: // and so may be the rest
		s.parts = append(s.parts, memory.NewParking(), memory.NewLease(), memory.NewTopic(), memory.NewReadModel(viewTables()))
	default:
		if err := s.openCompanion(ctx, c, w, create, missing); err != nil {
			return err
		}
	}
	s.parking, s.lease, s.views = part[ports.Parking](s), part[ports.Lease](s), part[ports.ReadModelStore](s)
	s.topic = part[inproc.Log](s)
	return nil
}

// missing names what the store does not keep itself.
func (s *storage) missing(c *Config) (names []string) {
	for _, port := range []struct {
		name  string
		there bool
	}{
		{"parking", part[ports.Parking](s) != nil},
		{"lease", part[ports.Lease](s) != nil},
		{"topic", c.Broker.topic != nil || part[inproc.Log](s) != nil},
		{"views", part[ports.ReadModelStore](s) != nil},
	} {
		if !port.there {
			names = append(names, port.name)
		}
	}
	return names
}

// ready reports why the store does not answer.
func (s *storage) ready(ctx context.Context) error {
	for _, p := range parts[interface{ Ping(context.Context) error }](s) {
		if err := p.Ping(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tryWrite reports why the store takes no writes, where it can tell.
func (s *storage) tryWrite(ctx context.Context) error {
	for _, p := range parts[interface{ TryWrite(context.Context) error }](s) {
		if err := p.TryWrite(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close closes the parts that have to be.
func (s *storage) close(ctx context.Context) (err error) {
	for _, p := range s.parts {
		switch p := p.(type) {
		case interface{ Close() error }:
			err = errors.Join(err, p.Close())
		case interface{ Close(context.Context) error }:
			err = errors.Join(err, p.Close(ctx))
		}
	}
	return err
}
