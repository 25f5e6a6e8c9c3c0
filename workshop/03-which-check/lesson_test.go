//go:build exercise

package lesson

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/ports/porttest"
)

var stores = map[string]func(*memory.Store) handle{"A": NewA, "B": NewB, "C": NewC, "D": NewD, "E": NewE, "F": NewF}

func TestAnswers(t *testing.T) {
	red := map[string][]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for name := range stores {
		all.Go(func() {
			found := redChecks(t, name)
			mu.Lock()
			defer mu.Unlock()
			red[name] = found
		})
	}
	all.Wait()
	right := 0
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		if len(red[name]) == 0 && answers[name] == "green" || slices.Contains(red[name], answers[name]) {
			right++
		} else {
			t.Logf("store %s: your answer is %q, and that is not what the suites say", name, answers[name])
		}
	}
	if right < len(stores) {
		t.Errorf("%d of %d answers are right", right, len(stores))
	}
}

func TestMyStore(t *testing.T) {
	const want = "Outbox/08"
	if red := redChecks(t, "Mine"); !slices.Equal(red, []string{want}) {
		t.Errorf("red in your store: %s; want %s alone", cmp.Or(strings.Join(red, ", "), "nothing"), want)
	}
}

// TestOneStore runs the suites over the store that LESSON_STORE names:
//
//	PORTTEST_PATIENCE=5s LESSON_STORE=A go test -tags exercise -run TestOneStore ./workshop/03-which-check
func TestOneStore(t *testing.T) {
	name := os.Getenv("LESSON_STORE")
	if name == "" {
		return // the tests above start this one in a process of its own
	}
	newHandle := stores[name]
	if name == "Mine" {
		newHandle = func(s *memory.Store) handle { return NewMine(s) }
	}
	if newHandle == nil {
		t.Fatalf("there is no store %s", name)
	}
	porttest.Store(t, func(t testing.TB) porttest.Storage {
		s, full := memory.NewStore(), &atomic.Bool{}
		storage := porttest.Storage{Encode: eventjson.Messages, FailCommits: func(testing.TB) func() {
			full.Store(true)
			return func() { full.Store(false) }
		}}
		open := func(testing.TB) porttest.Storage {
			again, h := storage, newHandle(s)
			again.Orders, again.Outbox = ordersOf{h, full}, outboxOf{h}
			return again
		}
		storage.Again = open
		return open(t)
	})
}

// redChecks are the checks that are red over a store.
func redChecks(t *testing.T, store string) (red []string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Error(err)
		return nil
	}
	command := exec.CommandContext(t.Context(), program, "-test.run", "^TestOneStore$")
	command.Env = append(os.Environ(), "LESSON_STORE="+store)
	output, err := command.CombinedOutput()
	for _, found := range failed.FindAllStringSubmatch(string(output), -1) {
		red = append(red, found[1])
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || err != nil && len(red) == 0 {
		t.Errorf("the suites over store %s did not run: %v\n%s", store, err, output)
	}
	return red
}

var failed = regexp.MustCompile(`--- FAIL: TestOneStore/(\w+/\d\d)_`)
