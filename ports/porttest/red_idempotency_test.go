package porttest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

var idempotencyFlaws = []flaw[porttest.Storage]{
	storageFlaw("forgets the fingerprint", "a stored result has its key and the order as it was saved"),
	storageFlaw("stores the order's id and reads the order as it is now",
		"a stored result stays the same when the order changes",
		"a stored result of the largest order stays the same too"),
	storageFlaw("hands out the stored result's live order", "a stored result's order changed without Save changes nothing in the store"),
	storageFlaw("folds the case of keys", "a key is any text of up to 255 characters, and no two are mixed up"),
	storageFlaw("cuts keys off", "a key is any text of up to 255 characters, and no two are mixed up"),
	storageFlaw("stores a result without a key", "a save without a key, and one without changes, store no result"),
	storageFlaw("stores a result of an order without changes", "a save without a key, and one without changes, store no result"),

	storageFlaw("never looks for the key",
		"a new order under a taken key is ErrDuplicateRequest and is not saved",
		"a change under a taken key is ErrDuplicateRequest and is not saved",
		"of 20 saves under one key exactly one is committed",
		"a duplicate save does not fail the saves beside it"),
	storageFlaw("saves the same command again, for another order",
		"a new order under a taken key is ErrDuplicateRequest and is not saved"),
	storageFlaw("looks for the key before its transaction", "of 20 saves under one key exactly one is committed"),
	storageFlaw("fails the save beside a duplicate one", "a duplicate save does not fail the saves beside it"),

	storageFlaw("takes the key before it is sure",
		"a refused save leaves its key free",
		"a failed commit leaves no order, no message and no stored result"),
	storageFlaw("keeps the order when the commit fails", "a failed commit leaves no order, no message and no stored result"),
	storageFlaw("keeps the messages when the commit fails", "a failed commit leaves no order, no message and no stored result"),
	storageFlaw("swallows a failed commit", "a failed commit leaves no order, no message and no stored result"),

	storageFlaw("has the driver's error while it is away", "while the store cannot be reached, StoredResult is ErrUnavailable"),
	storageFlaw("keeps results in each handle", "two handles share the stored results"),
	storageFlaw("keeps results in memory", "after a restart a result is stored, and its key taken"),
	storageFlaw("keeps results for half a day", "a result is stored for ResultsKept"),
	storageFlaw("keeps results permanently", "after ResultsKept a key is free again"),
	storageFlaw("forgets a result but not its key", "after ResultsKept a key is free again"),
	storageFlaw("keeps the age of the first result", "after ResultsKept a key is free again"),
	storageFlaw("ignores a cancelled context", "a cancelled context ends StoredResult"),
}

type result struct {
	key   ports.IdempotencyKey
	state order.Snapshot
	live  *order.Order // "hands out the stored result's live order"
	age   time.Duration
}

func (s *store) age(_ testing.TB, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.results {
		r.age += by
	}
}

func (s *store) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	if err := s.ended(ctx); err != nil {
		return ports.StoredResult{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return ports.StoredResult{}, err
	}
	r, ok := s.results[s.place(key)]
	if !ok || s.expired(r) {
		return ports.StoredResult{}, ports.ErrNotFound
	}
	if s.has("hands out the stored result's live order") {
		return ports.StoredResult{Key: r.key, Order: r.live}, nil
	}
	if s.has("stores the order's id and reads the order as it is now") {
		r.state = s.orders[r.state.ID]
	}
	o, err := order.Restore(r.state)
	return ports.StoredResult{Key: r.key, Order: o}, err
}

func (s *store) expired(r *result) bool {
	switch s.flaw {
	case "keeps results for half a day":
		return r.age > ports.ResultsKept/2
	case "keeps results permanently":
		return false
	}
	return r.age > ports.ResultsKept
}

// hasKey needs the lock to be held.
func (s *store) hasKey(key ports.IdempotencyKey) bool {
	r, ok := s.results[s.place(key.Value)]
	switch {
	case !ok, s.has("never looks for the key"),
		s.has("saves the same command again, for another order") && r.key == key:
		return false
	}
	return !s.expired(r) || s.has("forgets a result but not its key")
}

// isTaken looks for the key and lets everyone else do so before it goes on: a bubble's time passes when all wait.
func (s *store) isTaken(key ports.IdempotencyKey) bool {
	s.mu.Lock()
	known := s.hasKey(key)
	s.mu.Unlock()
	time.Sleep(time.Millisecond)
	return known
}

// keep needs the lock to be held.
func (s *store) keep(key ports.IdempotencyKey, state order.Snapshot) {
	if key.Value == "" && !s.has("stores a result without a key") {
		return
	}
	if s.has("forgets the fingerprint") {
		key.Fingerprint = ""
	}
	kept := &result{key: key, state: state}
	kept.live, _ = order.Restore(state) // what an order's Snapshot gave can be restored
	if before := s.results[s.place(key.Value)]; before != nil && s.has("keeps the age of the first result") {
		kept.age = before.age
	}
	s.results[s.place(key.Value)] = kept
}

func (s *store) place(key string) string {
	switch s.flaw {
	case "folds the case of keys":
		return strings.ToLower(key)
	case "cuts keys off":
		return key[:min(len(key), 254)]
	}
	return key
}
