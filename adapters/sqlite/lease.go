package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hexorders/ports"
)

// Lease implements ports.Lease for the processes that use one file. They are on one machine, so its clock decides when
// a lease expires.
type Lease struct {
	db   *DB
	name string
	now  func() time.Time
}

var (
	_ ports.Lease       = (*Lease)(nil)
	_ ports.LeaseHolder = (*Lease)(nil)
)

func NewLease(db *DB, name string) *Lease { return &Lease{db: db, name: name, now: time.Now} }

func (l *Lease) Acquire(ctx context.Context, owner string, ttl time.Duration) (term int64, err error) {
	err = l.db.writer.do(ctx, 0, func(t *tx) error {
		held, err := l.read(t.queryRow)
		if err != nil {
			return err
		}
		now := l.now()
		if held.owner != owner || held.term == 0 {
			if held.live(now) {
				return fmt.Errorf("%s holds it: %w", held.owner, ports.ErrLeaseHeld)
			}
			held.term++
		}
		term = held.term
		_, err = t.exec(`INSERT INTO leases (id, owner, term, renewed_at, expires_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, term = excluded.term,
				renewed_at = excluded.renewed_at, expires_at = excluded.expires_at`,
			l.name, owner, term, formatTime(now), formatTime(now.Add(ttl)))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("acquire lease %q: %w", l.name, err)
	}
	return term, nil
}

func (l *Lease) Release(ctx context.Context, owner string) error {
	err := l.db.writer.do(ctx, 0, func(t *tx) error {
		_, err := t.exec(`UPDATE leases SET expires_at = renewed_at WHERE id = ? AND owner = ?`, l.name, owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease %q: %w", l.name, err)
	}
	return nil
}

// Holder implements ports.LeaseHolder.
func (l *Lease) Holder(ctx context.Context) (owner string, err error) {
	held, err := l.read(func(query string, args []any, dest ...any) error { return l.db.queryRow(ctx, query, args, dest...) })
	if err != nil {
		return "", fmt.Errorf("read lease %q: %w", l.name, err)
	}
	if !held.live(l.now()) {
		return "", nil
	}
	return held.owner, nil
}

// holding is the row of the lease. Term 0 means that no process has ever held it.
type holding struct {
	owner            string
	term             int64
	renewed, expires time.Time
}

// live reports whether the lease is held at now. A lease that was renewed in the far future is not: the clock was set
// back, and waiting until it reaches that time again could take for ever.
func (h holding) live(now time.Time) bool {
	ttl := h.expires.Sub(h.renewed)
	return now.Before(h.expires) && !now.Before(h.renewed.Add(-ttl))
}

func (l *Lease) read(queryRow func(query string, args []any, dest ...any) error) (h holding, err error) {
	var renewed, expires string
	err = queryRow(`SELECT owner, term, renewed_at, expires_at FROM leases WHERE id = ?`, []any{l.name},
		&h.owner, &h.term, &renewed, &expires)
	if errors.Is(err, ports.ErrNotFound) {
		return holding{}, nil
	}
	if err != nil {
		return holding{}, err
	}
	if h.renewed, err = parseTime(renewed); err != nil {
		return holding{}, err
	}
	h.expires, err = parseTime(expires)
	return h, err
}
