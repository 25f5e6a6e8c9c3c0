package logtest_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hexorders/adapters/inproc"
	"hexorders/adapters/inproc/logtest"
	"hexorders/ports"
	"hexorders/ports/porttest/red"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogSuiteGoesRed(t *testing.T) {
	all := make([]red.Flaw[inproc.Log], len(flaws))
	for i, f := range flaws {
		all[i] = red.Flaw[inproc.Log]{Name: f.name, Open: f.open, Red: f.red}
	}
	red.Test(t, logtest.Checks(), all, func() inproc.Log { return newLog("") })
}

type flaw struct {
	name string
	open func() inproc.Log
	red  []string
}

var flaws = []flaw{
	{"loses the trace parent", openLog("no trace"), []string{
		"what was appended reads back as it was",
	}},
	{"keeps times to the second", openLog("whole seconds"), []string{
		"what was appended reads back as it was",
	}},
	{"sorts by order and version", openLog("sorted"), []string{
		"messages stand in the order they were appended",
		"a message appended again stands there again",
	}},
	{"drops what it has already", openLog("distinct"), []string{
		"a message appended again stands there again",
	}},
	{"moves the end for an empty Append", openLog("counts appends"), []string{
		"appending nothing adds nothing",
		"End is 0 at first, then the offset of the newest message",
	}},
	{"keeps the caller's slice", openLog("aliases input"), []string{
		"a caller may reuse the slice that it appended",
	}},
	{"hands out its own slice", openLog("aliases output"), []string{
		"a caller may reuse the slice that it appended",
	}},
	{"appends one by one", openLog("piecemeal"), []string{
		"the messages of one Append stand together, and are seen all at once",
		"every Read that waits gets what is appended",
	}},
	{"says the end where the last message read should be", openLog("last is end"), []string{
		"offsets grow, and Read goes on after any of them",
		"a reader among writers gets every message once, each order's in version order",
	}},
	{"reads from an offset instead of after it", openLog("inclusive"), []string{
		"offsets grow, and Read goes on after any of them",
		"a reader among writers gets every message once, each order's in version order",
	}},
	{"leaves out the first message", openLog("skips first"), []string{
		"offsets grow, and Read goes on after any of them",
		"what was appended reads back as it was",
	}},
	{"ignores the limit", openLog("no limit"), []string{
		"Read returns at most limit messages",
		"offsets grow, and Read goes on after any of them",
	}},
	{"forgets what was read", openLog("consumes"), []string{
		"reading takes nothing away",
	}},
	{"forgets what was committed", openLog("trims"), []string{
		"reading takes nothing away",
	}},
	{"does not wait", openLog("returns empty"), []string{
		"Read waits until there is a message",
		"every Read that waits gets what is appended",
		"a cancelled context ends a Read that waits",
	}},
	{"wakes no reader", openLog("sleepy"), []string{
		"Read waits until there is a message",
		"every Read that waits gets what is appended",
	}},
	{"wakes one reader only", openLog("wakes one"), []string{
		"every Read that waits gets what is appended",
	}},
	{"loses a message now and then", openLog("lossy"), []string{
		"a reader among writers gets every message once, each order's in version order",
	}},
	{"says the number of messages of an empty topic less one", openLog("end off by one"), []string{
		"End is 0 at first, then the offset of the newest message",
		"appending nothing adds nothing",
	}},
	{"has another id each time", openLog("many ids"), []string{
		"a log has an id that stays, and all of its messages",
	}},
	{"counts the messages where those that are gone should be", openLog("begins at its end"), []string{
		"a log has an id that stays, and all of its messages",
	}},
	{"starts new subscribers at the end", openLog("starts at end"), []string{
		"a subscriber that never committed is at 0",
	}},
	{"commits what is read", openLog("auto commit"), []string{
		"a subscriber that never committed is at 0",
	}},
	{"only ever moves subscribers forward", openLog("ratchet"), []string{
		"a subscriber is where it last committed",
	}},
	{"does not commit", openLog("no commit"), []string{
		"a subscriber is where it last committed",
		"subscribers do not move each other",
	}},
	{"takes subscribers' names without their case", openLog("folds names"), []string{
		"subscribers do not move each other",
	}},
	{"waits on after its context has ended", openLog("deaf"), []string{
		"a cancelled context ends a Read that waits",
	}},
	{"carries out cancelled calls", openLog("ignores cancel"), []string{
		"a cancelled context ends every call, and nothing has changed",
	}},
	{"says that a call was cancelled, and carries it out", openLog("acts, then says cancelled"), []string{
		"a cancelled context ends every call, and nothing has changed",
	}},
}

// fakeTopic is sound but for one flaw.
type fakeTopic struct {
	flaw      string
	mu        sync.Mutex
	log       []ports.Message
	gaps      int64 // what offsets are ahead of the number of messages, for a flaw
	grown     chan struct{}
	waiting   int
	committed map[string]int64
	furthest  int64
	dropped   bool
}

func openLog(flaw string) func() inproc.Log { return func() inproc.Log { return newLog(flaw) } }

func newLog(flaw string) *fakeTopic {
	return &fakeTopic{flaw: flaw, grown: make(chan struct{}), committed: map[string]int64{}}
}

func (f *fakeTopic) refuse(ctx context.Context) error {
	if f.flaw == "ignores cancel" {
		return nil
	}
	return ctx.Err()
}

func (f *fakeTopic) Append(ctx context.Context, messages []ports.Message) error {
	if err := f.refuse(ctx); err != nil && f.flaw != "acts, then says cancelled" {
		return err
	}
	if f.flaw == "piecemeal" {
		for _, m := range messages {
			f.add([]ports.Message{m})
			time.Sleep(time.Millisecond) // someone else's turn; in a bubble this takes no time
		}
		return ctx.Err()
	}
	f.add(messages)
	return f.refuse(ctx)
}

func (f *fakeTopic) add(messages []ports.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flaw == "counts appends" {
		f.gaps++
	}
	if len(messages) == 0 {
		return
	}
	if f.flaw == "aliases input" && len(f.log) == 0 {
		f.log = messages
	} else {
		for _, m := range messages {
			f.addOne(m)
		}
	}
	switch f.flaw {
	case "sorted":
		slices.SortFunc(f.log, func(a, b ports.Message) int { return strings.Compare(a.ID, b.ID) })
	case "sleepy":
		return
	case "wakes one":
		if f.waiting > 0 {
			select {
			case f.grown <- struct{}{}:
			default:
			}
		}
		return
	}
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *fakeTopic) addOne(m ports.Message) {
	switch f.flaw {
	case "no trace":
		m.TraceParent = ""
	case "whole seconds":
		m.OccurredAt = m.OccurredAt.Truncate(time.Second)
	case "distinct":
		if slices.ContainsFunc(f.log, func(known ports.Message) bool { return known.ID == m.ID }) {
			return
		}
	case "lossy":
		if len(f.log) == 60 && !f.dropped {
			f.dropped = true
			return
		}
	}
	f.log = append(f.log, m)
}

func (f *fakeTopic) Read(ctx context.Context, after int64, limit int) ([]ports.Message, int64, error) {
	for {
		if err := f.refuse(ctx); err != nil {
			return nil, 0, err
		}
		messages, last, grown := f.read(after, limit)
		if len(messages) > 0 || f.flaw == "returns empty" {
			return messages, last, nil
		}
		if f.flaw == "deaf" {
			select {
			case <-grown:
			case <-time.After(time.Hour): // an end nonetheless, for the sake of the bubble around it
			}
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

func (f *fakeTopic) read(after int64, limit int) (messages []ports.Message, last int64, grown chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := min(int(after), len(f.log))
	switch {
	case f.flaw == "inclusive" && from > 0:
		from--
	case f.flaw == "skips first" && from == 0:
		from = min(1, len(f.log))
	case f.flaw == "consumes" && f.furthest > after:
		from = min(int(f.furthest), len(f.log))
	case f.flaw == "trims" && f.committed["one"] > after:
		from = min(int(f.committed["one"]), len(f.log))
	}
	to := min(from+limit, len(f.log))
	if f.flaw == "no limit" {
		to = len(f.log)
	}
	messages, last = slices.Clone(f.log[from:to]), int64(to)
	f.furthest = max(f.furthest, last)
	switch f.flaw {
	case "aliases output":
		messages = f.log[from:to]
	case "last is end":
		last = int64(len(f.log))
	case "auto commit":
		f.committed["one"] = last
	}
	if len(messages) == 0 {
		f.waiting++
	}
	return messages, last, f.grown
}

func (f *fakeTopic) Begin(ctx context.Context) (id string, before int64, err error) {
	if err := f.refuse(ctx); err != nil {
		return "", 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.flaw {
	case "many ids":
		return rand.Text(), 0, nil
	case "begins at its end":
		return "fake", int64(len(f.log)), nil
	}
	return "fake", 0, nil
}

func (f *fakeTopic) End(ctx context.Context) (int64, error) {
	if err := f.refuse(ctx); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flaw == "end off by one" {
		return int64(len(f.log)) - 1, nil
	}
	return int64(len(f.log)) + f.gaps, nil
}

func (f *fakeTopic) Committed(ctx context.Context, subscriber string) (int64, error) {
	if err := f.refuse(ctx); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if offset, ok := f.committed[f.name(subscriber)]; ok || f.flaw != "starts at end" {
		return offset, nil
	}
	return int64(len(f.log)), nil
}

func (f *fakeTopic) Commit(ctx context.Context, subscriber string, offset int64) error {
	if err := f.refuse(ctx); err != nil && f.flaw != "acts, then says cancelled" {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name := f.name(subscriber)
	switch {
	case f.flaw == "no commit":
	case f.flaw == "ratchet" && offset < f.committed[name]:
	default:
		f.committed[name] = offset
	}
	return f.refuse(ctx)
}

func (f *fakeTopic) name(subscriber string) string {
	if f.flaw == "folds names" {
		return strings.ToLower(strings.TrimSpace(subscriber))
	}
	return subscriber
}
