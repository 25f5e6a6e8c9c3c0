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

var receiptsFlaws = []flaw[porttest.Storage]{
	storageFlaw("forgets the fingerprint", "a receipt says which request it is of, and how the order stood"),
	storageFlaw("keeps the order's id and reads it as it is now", "a receipt stays as it was when the order goes on"),
	storageFlaw("hands out the receipt's live order", "a receipt's order changed without Save changes nothing in the store"),
	storageFlaw("folds the case of keys", "a key is any text of up to 255 characters, and each is another"),
	storageFlaw("cuts keys off", "a key is any text of up to 255 characters, and each is another"),
	storageFlaw("takes no key for one", "a save without a request, and one without changes, leave no receipt"),
	storageFlaw("keeps a receipt of what has no changes", "a save without a request, and one without changes, leave no receipt"),

	storageFlaw("never looks for the key",
		"a new order under a key that is taken is ErrRepeated and is not saved",
		"a change under a key that is taken is ErrRepeated and is not saved",
		"of 20 saves under one key exactly one is committed",
		"a repeated save hurts no other"),
	storageFlaw("lets the same request through again, for another order",
		"a new order under a key that is taken is ErrRepeated and is not saved"),
	storageFlaw("looks for the key before its transaction", "of 20 saves under one key exactly one is committed"),
	storageFlaw("fails the save beside a repeated one", "a repeated save hurts no other"),

	storageFlaw("takes the key before it is sure",
		"a refused save leaves its key free",
		"a failed commit leaves neither order nor message nor receipt"),
	storageFlaw("keeps the order when the commit fails", "a failed commit leaves neither order nor message nor receipt"),
	storageFlaw("keeps the messages when the commit fails", "a failed commit leaves neither order nor message nor receipt"),
	storageFlaw("swallows a failed commit", "a failed commit leaves neither order nor message nor receipt"),

	storageFlaw("keeps receipts for half a day", "a receipt is kept for ReceiptsKept"),
	storageFlaw("keeps receipts for ever", "after ReceiptsKept a key is as new"),
	storageFlaw("forgets a receipt but not its key", "after ReceiptsKept a key is as new"),
	storageFlaw("keeps the age of the first receipt", "after ReceiptsKept a key is as new"),
	storageFlaw("ignores a cancelled context", "a cancelled context ends Receipt"),
}

type receipt struct {
	request ports.Request
	state   order.Snapshot
	live    *order.Order // "hands out the receipt's live order"
	age     time.Duration
}

func (s *store) age(_ testing.TB, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.receipts {
		r.age += by
	}
}

func (s *store) Receipt(ctx context.Context, key string) (ports.Receipt, error) {
	if err := s.ended(ctx); err != nil {
		return ports.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.receipts[s.place(key)]
	if !ok || s.expired(r) {
		return ports.Receipt{}, ports.ErrNotFound
	}
	if s.has("hands out the receipt's live order") {
		return ports.Receipt{Request: r.request, Order: r.live}, nil
	}
	if s.has("keeps the order's id and reads it as it is now") {
		r.state = s.orders[r.state.ID]
	}
	o, err := order.Restore(r.state)
	return ports.Receipt{Request: r.request, Order: o}, err
}

func (s *store) expired(r *receipt) bool {
	switch s.flaw {
	case "keeps receipts for half a day":
		return r.age > ports.ReceiptsKept/2
	case "keeps receipts for ever":
		return false
	}
	return r.age > ports.ReceiptsKept
}

// hasKey needs the lock to be held.
func (s *store) hasKey(request ports.Request) bool {
	r, ok := s.receipts[s.place(request.Key)]
	switch {
	case !ok, s.has("never looks for the key"),
		s.has("lets the same request through again, for another order") && r.request == request:
		return false
	}
	return !s.expired(r) || s.has("forgets a receipt but not its key")
}

// repeated looks for the key and lets everyone else do so before it goes on: a bubble's time passes when all wait.
func (s *store) repeated(request ports.Request) bool {
	s.mu.Lock()
	known := s.hasKey(request)
	s.mu.Unlock()
	time.Sleep(time.Millisecond)
	return known
}

// keep needs the lock to be held.
func (s *store) keep(request ports.Request, state order.Snapshot) {
	if request.Key == "" && !s.has("takes no key for one") {
		return
	}
	if s.has("forgets the fingerprint") {
		request.Fingerprint = ""
	}
	kept := &receipt{request: request, state: state}
	kept.live, _ = order.Restore(state) // what an order's Snapshot gave can be restored
	if before := s.receipts[s.place(request.Key)]; before != nil && s.has("keeps the age of the first receipt") {
		kept.age = before.age
	}
	s.receipts[s.place(request.Key)] = kept
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
