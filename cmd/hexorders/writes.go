package main

import (
	"context"
	"errors"

	"hexorders/core/order"
	"hexorders/ports"
)

// A store that answers may still take no writes: its disk is full, say. A process over it is not ready.

// saves notes whether the last save found the store unavailable.
type saves struct {
	ports.OrderStore
	of *storage
}

func savesOf(s *storage) ports.OrderStore { return saves{s.orders, s} }

func (s saves) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	err := s.OrderStore.Save(ctx, o, key)
	if unavailable := errors.Is(err, ports.ErrUnavailable); unavailable || err == nil {
		s.of.failing.Store(unavailable)
	}
	return err
}

// check reports why the store cannot be used. After a save has failed it tries to write, until that works: no client sends
// orders to a process that is not ready. It tries no sooner, because probes are many and a write is a flush to disk.
func (s *storage) check(ctx context.Context) error {
	if err := s.ready(ctx); err != nil || !s.failing.Load() {
		return err
	}
	if err := s.tryWrite(ctx); err != nil {
		return err
	}
	s.failing.Store(false)
	return nil
}
