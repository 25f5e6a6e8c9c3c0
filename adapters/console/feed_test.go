package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (f *Feed) all(t *testing.T) (steps []Step) {
	t.Helper()
	texts, _ := f.since(0, ringSize, "")
	for _, text := range texts {
		var s Step
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		steps = append(steps, s)
	}
	return steps
}

func TestTheFeedKeepsTheNewestSteps(t *testing.T) {
	f := NewFeed()
	for i := range ringSize + 10 {
		f.step(atOutbox, Step{Order: fmt.Sprint("o", i%2), Version: i + 1}, time.Now(), nil)
	}
	steps, last := f.since(0, ringSize, "")
	if len(steps) != ringSize || last != ringSize+10 {
		t.Fatalf("%d steps up to %d, want %d up to %d", len(steps), last, ringSize, ringSize+10)
	}
	if all := f.all(t); all[0].Version != 11 || all[len(all)-1].Version != ringSize+10 {
		t.Errorf("kept are versions %d to %d, want 11 to %d", all[0].Version, all[len(all)-1].Version, ringSize+10)
	}
	if steps, last := f.since(ringSize+8, ringSize, ""); len(steps) != 2 || last != ringSize+10 {
		t.Errorf("after all but two: %d steps up to %d", len(steps), last)
	}
	if steps, _ := f.since(ringSize+10, ringSize, ""); len(steps) != 0 {
		t.Errorf("after all: %d steps", len(steps))
	}
	if steps, _ := f.since(0, 7, ""); len(steps) != 7 {
		t.Errorf("at most 7: %d steps", len(steps))
	}
	if steps, _ := f.since(0, ringSize, "o1"); len(steps) != ringSize/2 {
		t.Errorf("of one of two orders: %d steps", len(steps))
	}
}

func TestAStepSaysWhatHappened(t *testing.T) {
	f, start := NewFeed(), time.Now().Add(-time.Second)
	f.step(atPublisher, Step{Method: "Publish", Order: "o", Version: 3, Message: wire([]byte(`{"a": 1}`))}, start, errors.New("no"))
	s := f.all(t)[0]
	if s.Port != "Publisher" || s.Method != "Publish" || s.Order != "o" || s.Version != 3 || s.Error != "no" ||
		string(s.Message) != `{"a":1}` || s.Start != start.UnixMicro() || s.Took < 1e6 || s.Took > 60e6 {
		t.Errorf("got %+v", s)
	}
	if failed := f.counts[atPublisher].failed.Load(); failed != 1 {
		t.Errorf("%d failed, want 1", failed)
	}
}

func TestAMessageThatIsNoJSONOrTooLongIsAText(t *testing.T) {
	for payload, want := range map[string]string{
		"": "", `{"a":1}`: `{"a":1}`, "no \x00 JSON": `"no \u0000 JSON"`,
		`"` + strings.Repeat("x", longestMessage) + `"`: `"\"` + strings.Repeat("x", longestMessage-1) + `…"`,
	} {
		if got := string(wire([]byte(payload))); got != want {
			t.Errorf("%.20q is shown as %.40q of %d bytes, want %.40q of %d", payload, got, len(got), want, len(want))
		}
	}
}

// load makes steps of many orders, spread over some windows, and returns how many orders of the last one were shown whole.
func load(f *Feed, perWindow int) (shown int) {
	for range 4 {
		shown = 0
		for i := range perWindow {
			if f.shows(atOutbox, fmt.Sprint("order-", i), time.Now()) {
				shown++
				f.step(atOutbox, Step{}, time.Now(), nil)
			}
		}
		time.Sleep(windowIs + time.Millisecond)
	}
	return shown
}

func TestAboveTheBudgetWholeOrdersAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFeed()
		if shown := load(f, budget); shown != budget {
			t.Errorf("of %d steps a window %d are shown, want all", budget, shown)
		}
		for _, much := range []int{10 * budget, 1000 * budget} {
			if shown := load(f, much); shown > 2*budget || shown < budget/8 {
				t.Errorf("of %d steps a window %d are shown, want about %d", much, shown, budget)
			}
		}
		sampled := map[bool]int{}
		for i := range 100 { // the same orders at every port
			order := fmt.Sprint("order-", i)
			now := time.Now()
			sampled[f.shows(atOutbox, order, now) == f.shows(atViews, order, now)]++
		}
		if sampled[false] > 0 {
			t.Errorf("%d of 100 orders are shown at one port and not at the other", sampled[false])
		}
		load(f, 1000*budget)
		time.Sleep(3 * windowIs)
		if one := f.oneIn(); one != 1 {
			t.Errorf("after a pause 1 in %d orders is shown, want all", one)
		}
		for i := range budget {
			if !f.shows(atOutbox, fmt.Sprint("order-", i), time.Now()) {
				t.Fatalf("after a pause order %d is not shown", i)
			}
		}
	})
}

// A burst in the first window, before anything was measured, is bounded too.
func TestABurstIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, shown := NewFeed(), 0
		for i := range 100 * budget {
			if f.shows(atOutbox, fmt.Sprint(i), time.Now()) {
				shown++
				f.step(atOutbox, Step{}, time.Now(), nil)
			}
		}
		if shown > 4*budget {
			t.Errorf("%d steps are shown, want at most %d", shown, 4*budget)
		}
		if calls := f.counts[atOutbox].calls.Load(); calls != 100*budget {
			t.Errorf("%d calls are counted, want all %d", calls, 100*budget)
		}
	})
}

// What a call costs that is not shown, and what one costs that is.
func BenchmarkShows(b *testing.B) {
	f := NewFeed()
	f.window.Store(&window{until: time.Now().Add(time.Hour).UnixNano(), mask: 1<<31 - 1})
	for b.Loop() {
		f.shows(atOutbox, "01a22752-faca-7ccf-a386-1e4940db7860", time.Now())
	}
}

func BenchmarkStep(b *testing.B) {
	f := NewFeed()
	payload := []byte(`{"orderId":"01a22752-faca-7ccf-a386-1e4940db7860","version":1,"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`)
	for b.Loop() {
		f.step(atOutbox, Step{Method: "Tail", Order: "01a22752-faca-7ccf-a386-1e4940db7860", Message: wire(payload)}, time.Now(), nil)
	}
}
