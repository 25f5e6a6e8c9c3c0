package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hexorders/adapters/inproc"
	"hexorders/adapters/sqlite"
	"hexorders/ports"
)

// companionPath is where a companion is: beside the file of the SQLite store, one for each store.
func companionPath(c *Config) string {
	extension := filepath.Ext(c.SQLite.Path)
	return strings.TrimSuffix(c.SQLite.Path, extension) + "." + c.Store.name + extension
}

var errNoCompanion = errors.New("there is no companion")

// openCompanion opens the SQLite file with what the store does not keep.
func (s *storage) openCompanion(ctx context.Context, c *Config, w watch, create bool, missing []string) error {
	db, err := companionFile(ctx, c, create)
	if err != nil {
		return err
	}
	db.Watch(w.ended)
	path, topic := companionPath(c), sqlite.NewTopic(db)
	s.parts = append(s.parts, sqlite.NewParking(db), sqlite.NewLease(db, "relay"), topic, sqlite.NewReadModel(db, viewTables()), db)
	s.beside = fmt.Sprintf("%s of the %s store are in %s beside it: one machine only",
		enumerate(missing, " and "), c.Store.name, absolute(path))
	if slices.Contains(missing, "topic") {
		if err := behind(ctx, topic, s.orders, absolute(path)); err != nil {
			return err
		}
	}
	if !slices.Equal(missing, []string{"views"}) {
		s.outbox = companionOutbox{s.outbox, sqlite.NewCheckpoint(db), slices.Contains(missing, "lease")}
	}
	return nil
}

func companionFile(ctx context.Context, c *Config, create bool) (*sqlite.DB, error) {
	path := companionPath(c)
	if !create {
		if err := sqlite.CheckExists(path); err != nil {
			return nil, fmt.Errorf("%w of the %s store: %w", errNoCompanion, c.Store.name, err)
		}
	}
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open the companion of the %s store: %w (HEXORDERS_SQLITE_PATH says where)", c.Store.name, err)
	}
	return db, nil
}

// openCompanionAlone opens the topic and the views of a store that stays closed. Error: errNoCompanion if they are not there, or
// if nothing was published yet: an empty topic may mean that the store has its own.
func openCompanionAlone(ctx context.Context, c *Config) (*storage, error) {
	db, err := companionFile(ctx, c, false)
	if err != nil {
		return nil, err
	}
	topic, views := sqlite.NewTopic(db), sqlite.NewReadModel(db, viewTables())
	s := &storage{topic: topic, views: views, parking: sqlite.NewParking(db), parts: []any{topic, views, db}}
	end, err := topic.End(ctx)
	if err == nil && end == 0 {
		err = errNoCompanion
	}
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

// companionOutbox resumes at the checkpoint that is kept in the companion: beside the topic and the parked messages that it
// speaks of. In a new companion there is none, and everything is published again.
type companionOutbox struct {
	ports.Outbox
	beside *sqlite.Checkpoint
	lease  bool // the lease is beside too
}

func (o companionOutbox) Position(ctx context.Context) (ports.Position, error) {
	return o.beside.Position(ctx)
}

// Checkpoint stores the position in both. The file that has the lease decides what is a later term: the other one may have
// met a lease that was deleted since.
func (o companionOutbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	err := o.Outbox.Checkpoint(ctx, term, p)
	if o.lease && errors.Is(err, ports.ErrFenced) {
		err = nil
	}
	if err != nil {
		return err
	}
	if !o.lease {
		term = 0
	}
	return o.beside.Checkpoint(ctx, term, p)
}

// behind reports whether the companion has published an event that the store does not have.
func behind(ctx context.Context, topic inproc.Log, orders ports.OrderStore, path string) error {
	_, begin, err := topic.Begin(ctx)
	if err != nil {
		return err
	}
	end, err := topic.End(ctx)
	if err != nil || end <= begin {
		return err
	}
	newest, _, err := topic.Read(ctx, end-1, 1)
	if err != nil {
		return err
	}
	m := newest[0]
	o, err := orders.Get(ctx, m.OrderID)
	if errors.Is(err, ports.ErrNotFound) || err == nil && o.Version() < m.Version {
		return fmt.Errorf("the store does not have version %d of order %s, which was published to %s beside it: the store was deleted, "+
			"or restored from an older copy, without it. Move that file away too, with its -wal and -shm: the next start makes a "+
			"new one from what the store has", m.Version, m.OrderID, path)
	}
	return err
}
