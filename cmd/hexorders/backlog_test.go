package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

func TestABacklogThatNobodyPublishesIsReported(t *testing.T) {
	for _, name := range []string{"memory", "sqlite"} {
		t.Run(name, func(t *testing.T) {
			c := &Config{Store: storeNamed(t, name)}
			c.Store.shared = true // memory is not, and doctor then has nothing to say
			c.SQLite.Path = filepath.Join(t.TempDir(), "orders.db")
			s, err := openStorage(t.Context(), c, slog.New(slog.DiscardHandler), watch{}, true)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.close(t.Context()) }()
			want := func(when, relay string, note bool) {
				t.Helper()
				var status bytes.Buffer
				if err := outboxStatus(t.Context(), s, false, &status); err != nil {
					t.Fatal(err)
				}
				if !strings.HasSuffix(status.String(), "\nrelay       "+relay+"\n") {
					t.Errorf("%s outbox status prints\n%swant relay %s", when, &status, relay)
				}
				f := checkRelay(t.Context(), c, s)
				if found := f.err != nil; found != note || found && (f.err.Error() != relay || !f.note) {
					t.Errorf("%s doctor says %q, %v", when, f.good, f.err)
				}
			}
			old, fresh := time.Date(2026, time.March, 14, 6, 30, 0, 0, time.UTC), time.Now()
			const stuck = "nobody publishes: no relay holds the lease, and event order-1/1 has waited since 2026-03-14T06:30:00Z: " +
				"start a process with the role relay"
			want("of a new store", "none holds the lease", false)
			save(t, s, "order-1", old)
			want("with an old event", stuck, true)

			if _, err := s.lease.Acquire(t.Context(), "one", time.Hour); err != nil {
				t.Fatal(err)
			}
			want("while a relay holds the lease", "one holds the lease", false)
			if err := s.lease.Release(t.Context(), "one"); err != nil {
				t.Fatal(err)
			}
			want("when it has given the lease back", stuck, true)
			if _, err := s.lease.Acquire(t.Context(), "two", time.Nanosecond); err != nil {
				t.Fatal(err)
			}
			want("when the lease has run out", stuck, true)

			var position ports.Position
			enough := s.outbox.Tail(t.Context(), "", func(_ ports.Message, p ports.Position) error {
				position = p
				return errPrintedAll
			})
			if err := s.outbox.Checkpoint(t.Context(), 9, position); err != nil || position == "" {
				t.Fatal(enough, err)
			}
			want("when all is published", "none holds the lease", false)
			save(t, s, "order-2", fresh)
			want("with a new event", "none holds the lease", false)
		})
	}
}

func save(t *testing.T, s *storage, id string, at time.Time) {
	t.Helper()
	o, err := order.New(id, "9999", nil, at)
	if err == nil {
		err = s.orders.Save(t.Context(), o, ports.IdempotencyKey{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAStoreThatDoesNotSayWhoPublishes(t *testing.T) {
	s := memoryStorage(t)
	save(t, s, "order-1", time.Time{})
	s.lease = struct{ ports.Lease }{s.lease}
	var status bytes.Buffer
	if err := outboxStatus(t.Context(), s, false, &status); err != nil || strings.Contains(status.String(), "relay  ") {
		t.Errorf("outbox status: error %v\n%s", err, &status)
	}
	c := &Config{Store: storeKind{shared: true}}
	if f := checkRelay(t.Context(), c, s); f.err != nil || f.good != "the store does not say who publishes" {
		t.Errorf("doctor says %q, %v", f.good, f.err)
	}
}
