package porttest

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// check is one promise of a port: the sentence, what proves it on a fresh fixture, and where to look when it is red.
type check[F any] struct {
	name  string
	prove func(t testing.TB, fixture F)
	hint  string
}

// demanding is a check of a store that needs more of its Storage than the ports.
type demanding struct {
	needs need
	name  string
	prove func(t testing.TB, s storage)
	hint  string
}

// need is a field of Storage that a check cannot do without.
type need string

const (
	needsBreak   need = "Break"
	needsAgain   need = "Again"
	needsRestart need = "Restart" // or Again
)

// numbered is a check under the title that it is run and spoken of by: "07 a saved order ...".
type numbered[F any] struct {
	check[F]
	title string
}

func number[F any](checks []check[F]) (all []numbered[F]) {
	for i, c := range checks {
		all = append(all, numbered[F]{c, fmt.Sprintf("%02d %s", i+1, c.name)})
	}
	return all
}

// lift makes checks of a port into checks of the store that has it.
func lift[P any](port func(storage) P, checks []check[P]) (lifted []check[storage]) {
	for _, c := range checks {
		lifted = append(lifted, check[storage]{c.name, func(t testing.TB, s storage) { c.prove(t, port(s)) }, c.hint})
	}
	return lifted
}

func runNumbered[F any](t *testing.T, checks []numbered[F], open func(testing.TB) F) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.title, func(t *testing.T) { c.run(t, open) })
	}
}

func (c check[F]) run(t *testing.T, open func(testing.TB) F) {
	b := &brief{TB: t}
	defer func() { // also after FailNow
		if t.Failed() {
			b.summary()
			t.Log("hint: " + c.hint)
		}
	}()
	c.prove(b, open(b))
}

// brief is a testing.TB that prints the first failures of a check and counts the others: one mistake in a store makes
// hundreds of orders wrong.
type brief struct {
	testing.TB
	mu     sync.Mutex
	failed int
}

const printed = 5

func (b *brief) more() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed++
	return b.failed <= printed
}

func (b *brief) Errorf(format string, args ...any) {
	b.TB.Helper()
	if b.more() {
		b.TB.Errorf(format, args...)
	}
}

func (b *brief) Error(args ...any) {
	b.TB.Helper()
	if b.more() {
		b.TB.Error(args...)
	}
}

func (b *brief) summary() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed > printed {
		b.TB.Logf("and %d more failures after these %d", b.failed-printed, printed)
	}
}

// patience is how long a check waits for something that must come. It is long, because only a broken adapter or a very
// busy machine ever needs it. Who writes an adapter sets PORTTEST_PATIENCE to a few seconds.
var patience = patienceOf(os.Getenv("PORTTEST_PATIENCE"))

func patienceOf(setting string) time.Duration {
	if setting == "" {
		return 2 * time.Minute
	}
	d, err := time.ParseDuration(setting)
	if err != nil || d <= 0 {
		panic(fmt.Sprintf("PORTTEST_PATIENCE=%q is not a duration: set it to something like 5s or 2m", setting))
	}
	return d
}

const (
	// prompt is how soon a call must return once its context has ended: a second, and another for a busy machine.
	prompt = 2 * time.Second
	// glance is how long a check looks for something that must not happen.
	glance = 50 * time.Millisecond
)
