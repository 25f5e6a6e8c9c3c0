package porttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

var storeFlaws = []flaw[porttest.Storage]{
	storageFlaw("shares its live object",
		"a loaded order changed without Save changes nothing in the store",
		"a saved order changed without Save changes nothing in the store",
		"two loaded orders share nothing"),
	storageFlaw("rounds times to the second", "an order reads back as it was saved"),
	storageFlaw("forgets the status", "every status reads back"),
	storageFlaw("has an error of its own for an unknown id", "an unknown order is ErrNotFound"),

	storageFlaw("forgets to call Committed",
		"Save marks the order as committed",
		"saving again saves and sends nothing again",
		"an order can be changed and saved over and over"),
	storageFlaw("calls Committed also after an error",
		"a stale order is ErrConflict and keeps its changes",
		"a failed commit of a new order leaves neither order nor message",
		"a cancelled context ends Save, and nothing is saved",
		"while the store cannot be reached, Get and Save are ErrUnavailable"),
	storageFlaw("saves what has no changes", "an order without changes is not saved"),

	storageFlaw("accepts a stale version",
		"of 20 writers on one version exactly one wins",
		"of 500 savers of 400 orders at once, each saves or gets ErrConflict",
		"a stale order is ErrConflict and keeps its changes"),
	storageFlaw("overwrites an order whose id is taken",
		"of 500 savers of 400 orders at once, each saves or gets ErrConflict",
		"a new order with an id that is taken is ErrConflict"),
	storageFlaw("inserts what it never had", "a changed order that is not in the store is ErrConflict"),
	storageFlaw("fails the save beside a refused one",
		"of 500 savers of 400 orders at once, each saves or gets ErrConflict",
		"a refused save does not fail the saves beside it"),

	storageFlaw("loses the second of two messages",
		"each change of a Save becomes a message, in order, with consecutive versions",
		"saving again saves and sends nothing again"),
	storageFlaw("reorders the messages of a Save",
		"each change of a Save becomes a message, in order, with consecutive versions"),
	storageFlaw("counts versions from each Save",
		"each change of a Save becomes a message, in order, with consecutive versions",
		"an order can be changed and saved over and over"),
	storageFlaw("forgets the type", "a message says what happened to which order and when"),
	storageFlaw("writes payloads that are not JSON", "a message says what happened to which order and when"),
	storageFlaw("dates messages by its own clock", "a message says what happened to which order and when"),
	storageFlaw("sorts the keys of payloads", "messages are byte for byte what Encode made of the changes"),
	storageFlaw("forgets the trace parent", "messages carry the trace parent of the call that saved them"),

	storageFlaw("swallows a failed commit",
		"a failed commit of a new order leaves neither order nor message",
		"a failed commit of a change leaves neither change nor message",
		"a failed commit is an error for each save that was in it"),
	storageFlaw("keeps the order when the commit fails",
		"a failed commit of a new order leaves neither order nor message",
		"a failed commit of a change leaves neither change nor message",
		"a failed commit is an error for each save that was in it"),
	storageFlaw("keeps the messages when the commit fails",
		"a failed commit of a new order leaves neither order nor message",
		"a failed commit of a change leaves neither change nor message",
		"a failed commit is an error for each save that was in it"),
	storageFlaw("has the driver's error while it is away",
		"while the store cannot be reached, Get and Save are ErrUnavailable",
		"a Save that is under way when the store goes away is ErrUnavailable, and is there as a whole or not at all"),
	storageFlaw("finds no order while it is away", "while the store cannot be reached, Get and Save are ErrUnavailable"),
	storageFlaw("calls an interrupted save a conflict",
		"a Save that is under way when the store goes away is ErrUnavailable, and is there as a whole or not at all"),
	storageFlaw("commits half of an interrupted save",
		"a Save that is under way when the store goes away is ErrUnavailable, and is there as a whole or not at all"),

	storageFlaw("remembers orders in each handle", "two handles share the orders"),
	storageFlaw("writes the last save when it stops", "after a restart the orders are as they were saved"),

	storageFlaw("calls a failed commit a conflict", "a failed commit of a new order leaves neither order nor message"),

	storageFlaw("ignores a cancelled context",
		"a cancelled context ends Get",
		"a cancelled context ends Save, and nothing is saved"),
}

var outboxFlaws = []flaw[porttest.Storage]{
	storageFlaw("has a position before the first checkpoint", "before the first checkpoint the position is empty"),
	storageFlaw("forgets the checkpoint", "the position is the last checkpoint"),
	storageFlaw("ignores fencing", "a checkpoint of an earlier term is ErrFenced and changes nothing"),
	storageFlaw("fences and takes the position all the same", "a checkpoint of an earlier term is ErrFenced and changes nothing"),
	storageFlaw("fences the term that it is in", "a checkpoint of the same or a later term is taken"),

	storageFlaw("starts at now", "what was committed before the first Tail is emitted"),
	storageFlaw("has the driver's error while it is away",
		"while the store cannot be reached, Position, Checkpoint and Tail are ErrUnavailable",
		"a Tail that runs when the store goes away ends with ErrUnavailable or goes on, and nothing is left out"),
	storageFlaw("goes on at the end once it was away",
		"a Tail that runs when the store goes away ends with ErrUnavailable or goes on, and nothing is left out"),
	storageFlaw("hears its own saves only", "a Tail gets what another handle saves"),
	storageFlaw("has a checkpoint in each handle", "two handles share the checkpoint and its term"),
	storageFlaw("forgets the term when it stops", "after a restart messages, positions, checkpoint and term are kept"),
	storageFlaw("writes the last save when it stops", "after a restart messages, positions, checkpoint and term are kept"),
	storageFlaw("ends when it has caught up", "Tail follows what is committed while it runs"),
	storageFlaw("skips one when it resumes", "a Tail resumed from any position leaves nothing out"),
	storageFlaw("repeats one when it resumes", "a Tail resumed in a quiet store repeats nothing"),
	storageFlaw("lets two Tails take messages from each other", "every Tail sees the same messages"),
	storageFlaw("misses what comes between replay and following", "a Tail that starts among writers leaves nothing out"),
	storageFlaw("reorders the messages of a Save",
		"10,000 messages over 100 orders come out in version order, each once",
		"what was committed before the first Tail is emitted"),
	storageFlaw("emits everything twice",
		"10,000 messages over 100 orders come out in version order, each once",
		"what was committed before the first Tail is emitted"),

	storageFlaw("calls emit twice at once", "calls of emit come one at a time"),
	storageFlaw("goes on after an error of emit", "an error of emit ends Tail with that error"),
	storageFlaw("hides the error of emit", "an error of emit ends Tail with that error"),
	storageFlaw("waits on when its context has ended",
		"a cancelled context ends a Tail that waits",
		"a cancelled context ends a Tail that emits",
		"a cancelled context ends every call"),
	storageFlaw("ignores a cancelled context", "a cancelled context ends every call"),
}

var trimmerFlaws = []flaw[porttest.Storage]{
	storageFlaw("trims nothing",
		"old messages behind the checkpoint are deleted",
		"thousands are deleted in one call",
		"a Trim among writers and a Tail loses nothing"),
	storageFlaw("trims what occurred at that time", "young messages behind the checkpoint stay"),
	storageFlaw("trims by age alone",
		"messages after the checkpoint stay, however old",
		"before the first checkpoint nothing is deleted",
		"a Trim among writers and a Tail loses nothing"),
	storageFlaw("trims one too many", "messages after the checkpoint stay, however old"),
	storageFlaw("trims a hundred a call", "thousands are deleted in one call"),
	storageFlaw("has the driver's error while it is away", "while the store cannot be reached, Trim is ErrUnavailable"),
	storageFlaw("trims the orders too", "the orders of deleted messages stay and can be changed"),
	storageFlaw("counts positions from what is left", "a Tail from the checkpoint or behind it leaves out only what was deleted"),
	storageFlaw("ignores a cancelled context", "a cancelled context ends Trim"),
}

func storageFlaw(name string, red ...string) flaw[porttest.Storage] {
	return flaw[porttest.Storage]{name, func() porttest.Storage { return openStorage(name) }, red}
}

func openStorage(flaw string) porttest.Storage {
	s := &store{
		flaw: flaw, orders: map[string]order.Snapshot{}, live: map[string]*order.Order{}, grown: make(chan struct{}),
		results: map[string]*result{},
	}
	setFailing := func(failing bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failing = failing
	}
	failCommits := func(testing.TB) func() {
		setFailing(true)
		return func() { setFailing(false) }
	}
	storage := porttest.Storage{Encode: eventjson.Messages, FailCommits: failCommits, Break: s.breakDown, Age: s.age}
	storage.Orders, storage.Outbox = s, s
	storage.Again = func(testing.TB) porttest.Storage {
		again := storage
		h := &handle{store: s, remembered: map[string]order.Snapshot{}}
		again.Orders, again.Outbox = h, h
		return again
	}
	storage.Restart = func(testing.TB) porttest.Storage {
		s.restart()
		return storage
	}
	return storage
}

// handle is what another process has of the store.
type handle struct {
	*store
	remembered map[string]order.Snapshot // "remembers orders in each handle"
	position   ports.Position            // "has a checkpoint in each handle"
}

func (h *handle) Get(ctx context.Context, id string) (*order.Order, error) {
	if state, known := h.remembered[id]; known && h.has("remembers orders in each handle") {
		return order.Restore(state)
	}
	o, err := h.store.Get(ctx, id)
	if err == nil {
		h.remembered[id] = o.Snapshot()
	}
	return o, err
}

func (h *handle) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if !h.has("hears its own saves only") {
		return h.store.Save(ctx, o, key)
	}
	h.mu.Lock()
	grown := h.grown
	h.grown = make(chan struct{}) // nobody waits for this one
	h.mu.Unlock()
	err := h.store.Save(ctx, o, key)
	h.mu.Lock()
	h.grown = grown
	h.mu.Unlock()
	return err
}

func (h *handle) Position(ctx context.Context) (ports.Position, error) {
	if h.has("has a checkpoint in each handle") {
		return h.position, nil
	}
	return h.store.Position(ctx)
}

func (h *handle) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	if h.has("has a checkpoint in each handle") {
		h.position = p
		return nil
	}
	return h.store.Checkpoint(ctx, term, p)
}

func (h *handle) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	if h.has("keeps results in each handle") {
		return ports.StoredResult{}, ports.ErrNotFound
	}
	return h.store.StoredResult(ctx, key)
}

// restart is all that a restart does to the store.
func (s *store) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.flaw {
	case "forgets the term when it stops":
		s.term = 0
	case "keeps results in memory":
		clear(s.results)
	case "writes the last save when it stops":
		last := s.log[len(s.log)-1]
		s.log = s.log[:len(s.log)-1]
		delete(s.orders, last.OrderID)
	}
}

// breakDown makes the store unreachable.
func (s *store) breakDown(testing.TB) (heal func()) {
	set := func(away bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.away = away
		close(s.grown)
		s.grown = make(chan struct{})
	}
	set(true)
	return func() { set(false) }
}

// reach is called with the lock held.
func (s *store) reach() error {
	switch {
	case !s.away:
		return nil
	case s.has("has the driver's error while it is away"):
		return errors.New("connection refused")
	}
	return fmt.Errorf("%w: connection refused", ports.ErrUnavailable)
}

// store is a store with its outbox, as simple as adapters/memory, with a switch for each mistake.
type store struct {
	flaw string

	mu     sync.Mutex
	orders map[string]order.Snapshot
	log    []ports.Message
	cut    int // how many messages were trimmed
	grown  chan struct{}

	results map[string]*result

	position ports.Position
	term     int64

	failing  bool
	away     bool
	live     map[string]*order.Order // "shares its live object"
	poisoned bool                    // "fails the save beside a refused one"
	taken    int                     // "lets two Tails take messages from each other"
}

var errCommit = errors.New("the disk is full")

func (s *store) has(flaw string) bool { return s.flaw == flaw }

func (s *store) ended(ctx context.Context) error {
	if s.has("ignores a cancelled context") {
		return nil
	}
	return ctx.Err()
}

func (s *store) Get(ctx context.Context, id string) (*order.Order, error) {
	if err := s.ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		if s.has("finds no order while it is away") {
			return nil, ports.ErrNotFound
		}
		return nil, err
	}
	state, ok := s.orders[id]
	if !ok {
		if s.has("has an error of its own for an unknown id") {
			return nil, errors.New("no documents in result")
		}
		return nil, ports.ErrNotFound
	}
	return s.restore(state)
}

func (s *store) restore(state order.Snapshot) (*order.Order, error) {
	if o := s.live[state.ID]; o != nil {
		return o, nil
	}
	return order.Restore(state)
}

func (s *store) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	err := s.save(ctx, o, key)
	if err == nil && !s.has("forgets to call Committed") || s.has("calls Committed also after an error") {
		o.Committed()
	}
	return err
}

func (s *store) save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if err := s.ended(ctx); err != nil {
		return err
	}
	if len(o.Changes()) == 0 && !s.has("saves what has no changes") && !s.has("stores a result of an order without changes") {
		return nil
	}
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		return err
	}
	messages = s.spoil(messages)
	state := o.Snapshot()
	if s.has("rounds times to the second") {
		state.CreatedAt, state.UpdatedAt = state.CreatedAt.Truncate(time.Second), state.UpdatedAt.Truncate(time.Second)
	}
	if s.has("forgets the status") {
		state.Status = order.StatusPending
	}

	if s.has("stores a result of an order without changes") && len(o.Changes()) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keep(key, state)
		return nil
	}
	if s.has("looks for the key before its transaction") && s.isTaken(key) {
		return ports.ErrDuplicateRequest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		switch s.flaw {
		case "calls an interrupted save a conflict":
			return ports.ErrConflict
		case "commits half of an interrupted save":
			s.orders[state.ID] = state
		}
		return err
	}
	if s.has("takes the key before it is sure") {
		defer s.keep(key, state)
	}
	if !s.has("looks for the key before its transaction") && s.hasKey(key) {
		s.poisoned = s.has("fails the save beside a duplicate one")
		return ports.ErrDuplicateRequest
	}
	if s.stale(o) {
		s.poisoned = s.has("fails the save beside a refused one")
		return ports.ErrConflict
	}
	if s.poisoned {
		s.poisoned = false
		return errCommit
	}
	keepOrder, keepMessages := !s.failing, !s.failing
	if s.failing {
		switch s.flaw {
		case "swallows a failed commit":
		case "calls a failed commit a conflict":
			err = ports.ErrConflict
		default:
			err = errCommit
			keepOrder = s.has("keeps the order when the commit fails")
			keepMessages = s.has("keeps the messages when the commit fails")
		}
	}
	if keepOrder {
		s.orders[state.ID] = state
		s.keep(key, state)
	}
	if s.has("shares its live object") {
		s.live[state.ID] = o
	}
	if keepMessages {
		s.log = append(s.log, messages...)
		close(s.grown)
		s.grown = make(chan struct{})
	}
	return err
}

func (s *store) stale(o *order.Order) bool {
	loaded, stored := o.Version()-len(o.Changes()), s.orders[o.ID()].Version
	switch {
	case s.has("accepts a stale version") && loaded > 0 && stored > 0,
		s.has("overwrites an order whose id is taken") && loaded == 0,
		s.has("inserts what it never had") && stored == 0:
		return false
	}
	return loaded != stored
}

func (s *store) spoil(messages []ports.Message) []ports.Message {
	switch s.flaw {
	case "loses the second of two messages":
		if len(messages) > 1 {
			messages = slices.Delete(messages, 1, 2)
		}
	case "reorders the messages of a Save":
		slices.Reverse(messages)
	}
	for i := range messages {
		m := &messages[i]
		switch s.flaw {
		case "counts versions from each Save":
			m.Version = i + 1
			m.ID = fmt.Sprintf("%s/%d", m.OrderID, m.Version)
		case "forgets the type":
			m.Type = ""
		case "writes payloads that are not JSON":
			m.Payload = fmt.Appendf(nil, "%v", m.Payload)
		case "dates messages by its own clock":
			m.OccurredAt = time.Now()
		case "forgets the trace parent":
			m.TraceParent = ""
		case "sorts the keys of payloads":
			var fields map[string]any
			_ = json.Unmarshal(m.Payload, &fields)
			m.Payload, _ = json.Marshal(fields)
		}
	}
	return messages
}

func (s *store) Position(ctx context.Context) (ports.Position, error) {
	if err := s.ended(ctx); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return "", err
	}
	if s.position == "" && s.has("has a position before the first checkpoint") {
		return "0", nil
	}
	return s.position, nil
}

func (s *store) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	if err := s.ended(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return err
	}
	fenced := term < s.term || term == s.term && s.has("fences the term that it is in")
	if s.has("ignores fencing") {
		fenced = false
	}
	if !fenced || s.has("fences and takes the position all the same") {
		s.position, s.term = p, max(s.term, term)
	}
	if s.has("forgets the checkpoint") {
		s.position = ""
	}
	if fenced {
		return ports.ErrFenced
	}
	return nil
}

func (s *store) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	read := 0
	if after != "" {
		var err error
		if read, err = strconv.Atoi(string(after)); err != nil {
			return err
		}
	}
	switch {
	case after == "" && s.has("starts at now"):
		read = s.length()
	case after != "" && s.has("skips one when it resumes"):
		read = min(read+1, s.length())
	case after != "" && s.has("repeats one when it resumes"):
		read--
	}
	emit = s.spoilEmit(emit)
	for replaying, wasAway := true, false; ; replaying = false {
		messages, from, grown, err := s.since(read)
		switch {
		case err != nil && !s.has("goes on at the end once it was away"):
			return err
		case err == nil && wasAway:
			time.Sleep(time.Second) // until there is more
			messages, from, wasAway = nil, s.length(), false
		case err != nil:
			wasAway = true
		}
		read = from
		for i, m := range messages {
			if ctx.Err() != nil {
				break
			}
			if s.has("calls emit twice at once") && i+1 < len(messages) {
				go func(p ports.Position) { _ = emit(m, p) }(position(read))
			}
			read++
			if err := emit(m, position(read)); err != nil {
				return err
			}
		}
		if s.has("ends when it has caught up") {
			return nil
		}
		ended := ctx.Done()
		if s.has("waits on when its context has ended") {
			// An hour is longer than any check waits, and yet the test that looks for leaks sees the end of it.
			hour, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
			defer cancel()
			ended = hour.Done()
		}
		select {
		case <-grown:
		case <-ended:
			return ctx.Err()
		}
		if replaying && s.has("misses what comes between replay and following") {
			read = s.length()
		}
	}
}

func (s *store) spoilEmit(emit func(ports.Message, ports.Position) error) func(ports.Message, ports.Position) error {
	return func(m ports.Message, p ports.Position) error {
		switch s.flaw {
		case "emits everything twice":
			if err := emit(m, p); err != nil {
				return err
			}
		case "lets two Tails take messages from each other":
			s.mu.Lock()
			taken := p != position(s.taken+1)
			if !taken {
				s.taken++
			}
			s.mu.Unlock()
			if taken {
				return nil
			}
		}
		err := emit(m, p)
		switch {
		case err == nil || s.has("goes on after an error of emit"):
			return nil
		case s.has("hides the error of emit"):
			return errors.New("tail failed")
		}
		return err
	}
}

func (s *store) since(n int) (messages []ports.Message, from int, grown <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = max(n, s.cut)
	if err := s.reach(); err != nil {
		return nil, from, s.grown, err
	}
	return s.log[from-s.cut:], from, s.grown, nil
}

func (s *store) length() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut + len(s.log)
}

func (s *store) Trim(ctx context.Context, before time.Time) (deleted int, err error) {
	if err := s.ended(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return 0, err
	}
	behind := len(s.log)
	if !s.has("trims by age alone") {
		behind, _ = strconv.Atoi(string(s.position))
		behind -= s.cut
	}
	if s.has("trims one too many") {
		behind = min(behind+1, len(s.log))
	}
	most := behind
	switch {
	case s.has("trims nothing"):
		most = 0
	case s.has("trims a hundred a call"):
		most = min(most, 100)
	case s.has("trims what occurred at that time"):
		before = before.Add(1)
	}
	for deleted < most && s.log[deleted].OccurredAt.Before(before) {
		if s.has("trims the orders too") {
			delete(s.orders, s.log[deleted].OrderID)
		}
		deleted++
	}
	s.log = s.log[deleted:]
	if !s.has("counts positions from what is left") {
		s.cut += deleted
	}
	return deleted, nil
}

func position(read int) ports.Position { return ports.Position(strconv.Itoa(read)) }
