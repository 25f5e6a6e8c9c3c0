// Package filestore keeps orders and their outbox in one file that only grows, a line of JSON for each commit. The line
// of a Save holds the messages of its changes. They tell all that ever happened to the order, so they are its state as
// well, and "both or neither" holds because there are no two.
package filestore

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// Store is a ports.OrderStore and its ports.Outbox. Only one process at a time may have the file open.
type Store struct {
	turn chan struct{} // holds one while a call is at work
	file file
	size int64 // of the committed lines, in bytes

	// What the committed lines say.
	events  map[string][]order.Event // by order; the n-th has version n
	log     []ports.Message
	grown   chan struct{} // closed, and replaced, when the log grows
	reached checkpoint
}

// file is what a Store needs of an *os.File. A test puts one in whose disk is full.
type file interface {
	io.Reader
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// line is one commit: the messages of a Save, or a checkpoint.
type line struct {
	Messages   []message   `json:"messages,omitempty"`
	Checkpoint *checkpoint `json:"checkpoint,omitempty"`
}

// message has its payload in the file as the JSON it is, not as base64.
type message struct {
	ports.Message
	Payload json.RawMessage
}

type checkpoint struct {
	Position ports.Position `json:"position"`
	Term     int64          `json:"term"`
}

// Open reads the file, or creates it.
func Open(path string) (*Store, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s := &Store{turn: make(chan struct{}, 1), file: f, events: map[string][]order.Event{}, grown: make(chan struct{})}
	if err := s.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *Store) Close() error { return s.file.Close() }

// lock lets one call work at a time. A caller may have to wait for the disk, and stops waiting when ctx ends.
func (s *Store) lock(ctx context.Context) error {
	if ctx.Err() == nil {
		select {
		case s.turn <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (s *Store) unlock() { <-s.turn }

// Get makes the order from its events, and so hands out a copy.
func (s *Store) Get(ctx context.Context, id string) (*order.Order, error) {
	if err := s.lock(ctx); err != nil {
		return nil, fmt.Errorf("get order %q: %w", id, err)
	}
	defer s.unlock()
	if s.events[id] == nil {
		return nil, fmt.Errorf("get order %q: %w", id, ports.ErrNotFound)
	}
	return order.Replay(s.events[id])
}

// Save is a transaction because it keeps the lock: no other save comes between reading the version and the commit.
func (s *Store) Save(ctx context.Context, o *order.Order, _ ports.IdempotencyKey) error {
	messages, err := eventjson.Messages(ctx, o)
	if err != nil || len(messages) == 0 {
		return err
	}
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("save order %q: %w", o.ID(), err)
	}
	defer s.unlock()
	if len(s.events[o.ID()]) != o.Version()-len(messages) {
		return fmt.Errorf("save order %q: %w", o.ID(), ports.ErrConflict)
	}
	var l line
	for _, m := range messages {
		l.Messages = append(l.Messages, message{m, m.Payload})
	}
	if err := s.commit(l); err != nil {
		return fmt.Errorf("save order %q: %w", o.ID(), err)
	}
	o.Committed()
	return nil
}

// commit makes a line count: on the disk first, then for everyone who asks.
func (s *Store) commit(l line) error {
	if err := s.write(l); err != nil {
		return fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
	}
	return s.apply(l)
}

func (s *Store) apply(l line) error {
	switch {
	case l.Checkpoint != nil:
		s.reached = *l.Checkpoint
	case len(l.Messages) == 0:
		return errors.New("a line with neither messages nor a checkpoint")
	}
	for _, m := range l.Messages {
		m.Message.Payload = m.Payload
		event, err := eventjson.Event(m.Message)
		if err != nil {
			return err
		}
		if last := len(s.events[m.OrderID]); m.Version != last+1 {
			return fmt.Errorf("message %s comes after version %d of its order", m.ID, last)
		}
		s.events[m.OrderID] = append(s.events[m.OrderID], event)
		s.log = append(s.log, m.Message)
	}
	close(s.grown)
	s.grown = make(chan struct{})
	return nil
}

// Tail reads the log, then waits for more of it. A position is how many messages come before it.
func (s *Store) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	read, err := strconv.Atoi(cmp.Or(string(after), "0"))
	if err != nil {
		return fmt.Errorf("tail outbox: position %q: %w", after, err)
	}
	for {
		messages, grown, err := s.since(ctx, read)
		if err != nil {
			return fmt.Errorf("tail outbox: %w", err)
		}
		for _, m := range messages {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("tail outbox: %w", err)
			}
			read++
			if err := emit(m, ports.Position(strconv.Itoa(read))); err != nil {
				return err
			}
		}
		select {
		case <-grown:
		case <-ctx.Done():
		}
	}
}

// since is the log after its first n messages, to be emitted without the lock: emit may have to wait for the broker.
func (s *Store) since(ctx context.Context, n int) (messages []ports.Message, grown <-chan struct{}, err error) {
	if err := s.lock(ctx); err != nil {
		return nil, nil, err
	}
	defer s.unlock()
	if n < 0 || n > len(s.log) {
		return nil, nil, fmt.Errorf("there is no position %d", n)
	}
	return s.log[n:], s.grown, nil
}

// write puts a line behind the committed ones and overwrites what a failure or a crash has left there.
func (s *Store) write(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if err := s.file.Truncate(s.size); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(text, s.size); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.size += int64(len(text))
	return nil
}

// read takes in the committed lines. A line without an end is left by a crash: no caller was told that it is saved.
func (s *Store) read() error {
	for r := bufio.NewReader(s.file); ; {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		var l line
		if err = cmp.Or(err, json.Unmarshal(text, &l)); err == nil {
			err = s.apply(l)
		}
		if err != nil {
			return fmt.Errorf("at byte %d: %w", s.size, err)
		}
		s.size += int64(len(text))
	}
}

func (s *Store) Position(ctx context.Context) (ports.Position, error) {
	if err := s.lock(ctx); err != nil {
		return "", fmt.Errorf("outbox position: %w", err)
	}
	defer s.unlock()
	return s.reached.Position, nil
}

func (s *Store) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("outbox checkpoint: %w", err)
	}
	defer s.unlock()
	if term < s.reached.Term {
		return fmt.Errorf("outbox checkpoint in term %d, now is term %d: %w", term, s.reached.Term, ports.ErrFenced)
	}
	return s.commit(line{Checkpoint: &checkpoint{Position: p, Term: term}})
}
