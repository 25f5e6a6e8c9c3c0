//go:build rights

package e2e

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Every right of docs/secure.md is needed: it is taken away, alone, from a shop of its own, and then a server refuses something
// that the flow of the least rights does, and a process or a command says so. `make test-rights` runs it.

func TestRightsInMongoDBAndKafkaAreNeeded(t *testing.T) {
	s := newSecured(t)
	var starting sync.WaitGroup
	for _, server := range []string{"mongodb", "kafka"} {
		starting.Go(func() { s.do(t, "up", server) })
	}
	starting.Wait()
	all := slices.Concat(listedRights(t, ofMongoDB), listedRights(t, ofKafka))
	eachIsNeeded(t, all, func(t testing.TB, without right) {
		leastRights(t, s, newWorld(t, s.servers), slices.DeleteFunc(slices.Clone(all), func(r right) bool { return r == without }))
	})
}

func TestRightsInPostgresAreNeeded(t *testing.T) {
	t.Parallel()
	eachIsNeeded(t, listedRights(t, ofPostgres), func(t testing.TB, without right) { leastRightsInPostgres(t, without) })
}

func TestRightsInNATSAreNeeded(t *testing.T) {
	t.Parallel()
	all := listedRights(t, ofNATS)
	subjects, rights := map[right]string{}, map[string][]right{}
	for _, without := range all {
		subjects[without] = newSubject()
		rights[subjects[without]] = slices.DeleteFunc(slices.Clone(all), func(r right) bool { return r == without })
	}
	n := natsWithUsers(t, rights)
	eachIsNeeded(t, all, func(t testing.TB, without right) {
		leastRightsInNATS(t, newWorldOfSubject(t, n, subjects[without]))
	})
}

func eachIsNeeded(t *testing.T, all []right, flow func(t testing.TB, without right)) {
	t.Helper()
	for _, r := range all {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			newAttempt(t, r).run(func(t testing.TB) { flow(t, r) })
		})
	}
}

// attempt is a test whose failure is the wanted result. The first failure ends it.
type attempt struct {
	testing.TB
	without right
	ctx     context.Context
	end     context.CancelFunc

	unexplained bool // it failed, and not for want of the right

	mu       sync.Mutex
	failures []string
	missed   chan string // the first failure that is about the missing right
	cleanups []func()
}

func newAttempt(t *testing.T, without right) *attempt {
	a := &attempt{TB: t, without: without, missed: make(chan string, 1)}
	a.ctx, a.end = context.WithCancel(t.Context())
	return a
}

// run returns when all that the flow has started has ended.
func (a *attempt) run(flow func(t testing.TB)) {
	began, ended := time.Now(), make(chan struct{})
	go func() {
		defer close(ended)
		flow(a)
	}()
	<-ended
	a.mu.Lock()
	failures := a.failures
	a.mu.Unlock()
	late := time.After(3 * time.Second) // what failed may be seen before the process says why
	if failures == nil {
		a.TB.Errorf("nobody misses this right: take it out of docs/secure.md, or let the flow do what it is for")
	} else {
		select {
		case why := <-a.missed:
			a.TB.Logf("missed after %s: %.500s", time.Since(began).Round(100*time.Millisecond), why)
		case <-late:
			a.unexplained = true
			a.TB.Errorf("without this right something fails, but nothing says that this one is missing: %q", failures)
		}
	}
	a.end()
	for _, cleanup := range slices.Backward(a.cleanups) {
		cleanup()
	}
}

func (a *attempt) failed(why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures = append(a.failures, why)
	if a.without.isMissedIn(why) {
		select {
		case a.missed <- why:
		default: // it is not the first
		}
	}
	a.end()
}

// isMissedIn tells whether it is the role's own process that is refused something, and by that server.
func (r right) isMissedIn(why string) bool {
	says := map[string]string{ofMongoDB: "not authorized on", ofKafka: "authorization failed", ofNATS: "Permissions Violation"}[r.server]
	switch kind, _, _ := strings.Cut(r.on, " "); {
	case r.server == ofKafka && kind == "group":
		says = "Group " + says
	case r.server == ofKafka:
		says = "Topic " + says
	case r.server == ofPostgres && kind == "SCHEMA":
		says = "GRANT USAGE ON SCHEMA"
	case r.server == ofPostgres:
		says = "permission denied for"
	case r.action == "dropCollection": // a rebuild goes on without it
		says = "are still there"
	}
	return strings.HasPrefix(why, r.role+" "+lacksARight) && strings.Contains(why, says)
}

func (a *attempt) Context() context.Context { return a.ctx }
func (a *attempt) Cleanup(f func())         { a.cleanups = append(a.cleanups, f) }
func (a *attempt) Error(args ...any)        { a.failed(fmt.Sprintln(args...)) }

func (a *attempt) Errorf(format string, args ...any) { a.failed(fmt.Sprintf(format, args...)) }

// Failed makes processes show their output where it may explain something.
func (a *attempt) Failed() bool { return a.unexplained }

func (a *attempt) Logf(format string, args ...any) {
	if a.unexplained {
		a.TB.Logf(format, args...)
	}
}

func (a *attempt) FailNow() { a.Fatal("it fails") }

func (a *attempt) Fatal(args ...any) {
	a.Error(args...)
	runtime.Goexit()
}

func (a *attempt) Fatalf(format string, args ...any) {
	a.Errorf(format, args...)
	runtime.Goexit()
}
