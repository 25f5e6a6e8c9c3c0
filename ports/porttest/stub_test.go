package porttest

import (
	"strings"
	"testing"

	"hexorders/ports"
)

func TestAStubNamesTheCheckToRead(t *testing.T) {
	var s Stub
	_, get := s.Get(t.Context(), "order-1")
	_, position := s.Position(t.Context())
	saved := s.Save(t.Context(), nil, ports.IdempotencyKey{})
	var published error
	PublisherStub{}.Publish(t.Context(), ports.Message{}, func(err error) { published = err })
	for want, err := range map[string]error{
		"not written yet: Get: see check OrderStore/01 an order reads back as it was saved":                get,
		"not written yet: Save: see check OrderStore/01 an order reads back as it was saved":               saved,
		"not written yet: Position: see check Outbox/01 before the first checkpoint the position is empty": position,
		"not written yet: Checkpoint: see check Outbox/02 the position is the last checkpoint":             s.Checkpoint(t.Context(), 1, ""),
		"not written yet: Tail: see check Outbox/05 what was committed before the first Tail is emitted":   s.Tail(t.Context(), "", nil),
		"not written yet: Publish: see check Publisher/01 an acknowledged message is at the broker, whole": published,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

// A hint is of use only if it is one: not empty, and not the sentence again.
func TestEveryCheckHasAHint(t *testing.T) {
	wantHint := func(suite, title, hint string) {
		if len(strings.Fields(hint)) < 3 || strings.Contains(title, hint) {
			t.Errorf("%s/%s has the hint %q", suite, title, hint)
		}
	}
	seen := 0
	for _, s := range suites {
		for _, c := range number(s.all()) {
			wantHint(s.name, c.title, c.hint)
			seen++
		}
	}
	for _, c := range number(publisherChecks) {
		wantHint("Publisher", c.title, c.hint)
	}
	for _, c := range append(number(subscriberChecks), number(replayableChecks)...) {
		wantHint("Subscriber or Replayable", c.title, c.hint)
	}
	for _, c := range number(readModelStoreChecks) {
		wantHint("ReadModelStore", c.title, c.hint)
	}
	if seen == 0 {
		t.Error("there are no suites")
	}
}

func TestPatienceComesFromTheEnvironment(t *testing.T) {
	if got := patienceOf("5s").String(); got != "5s" {
		t.Errorf("PORTTEST_PATIENCE=5s: got %s", got)
	}
	if got := patienceOf("").String(); got != "2m0s" {
		t.Errorf("without PORTTEST_PATIENCE: got %s", got)
	}
	for _, wrong := range []string{"5", "soon", "-1s", "0s"} {
		func() {
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, wrong) {
					t.Errorf("PORTTEST_PATIENCE=%s: got %q, want a panic that names it", wrong, said)
				}
			}()
			patienceOf(wrong)
		}()
	}
}
