package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The process that this program starts of itself is, in a test, the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == bareCommand {
		main()
		return
	}
	os.Exit(m.Run())
}

// Every row is run, small and short, so that none of them rots. What it measures then means nothing.
func TestEveryRowRuns(t *testing.T) {
	page := filepath.Join(t.TempDir(), "benchmarks.md")
	var table, progress strings.Builder
	if err := run(t.Context(), []string{"-quick", "-out", page}, &table, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"POST /orders, 1 client |", "| raw loop behind net/http |", "POST /orders, 16 clients |",
		"POST /orders, 16 clients: p99 |", "POST /orders, overload: answered with 503 |", "POST /orders/{id}/pay",
		"10 clients add items to one order", "GET /orders/{id}", "relay of 2,000 messages, an order each |",
		"relay of 2,000 messages, 5 an order |", "relay of 2,000 new messages", "from commit to consumer at 100 orders/s: p99 |",
		"relay of a backlog of 1,000 messages: peak memory", "2,000 events into three views |",
		"from commit to view at 100 orders/s: p99", "from the answer to the buyer's list, nothing else to do: p50",
		"POST /orders with all roles, 1 client |", "| role api alone |", "processor time an order, all together without the views |",
		"POST /orders with all roles and SQLite, 16 clients |",
		"POST /orders over PostgreSQL, 16 clients | ", "| raw pgx loop |",
		"from commit to consumer through NATS at 100 orders/s: p99 |", "| hexorders through Kafka |",
		"processor time of mongod an order", "allocations an order",
		"go.mongodb.org/mongo-driver/v2", "This was a quick run",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if strings.Contains(string(text), "NaN") || strings.Contains(string(text), "Inf") {
		t.Errorf("a figure of the page is no number:\n%s", text)
	}
	plots, err := filepath.Glob(filepath.Join(filepath.Dir(page), "benchmarks", "*.svg"))
	if err != nil || len(plots) != 9 {
		t.Errorf("there are the plots %v, %v; want 9", plots, err)
	}
	for _, plot := range plots {
		if !strings.Contains(string(text), "(benchmarks/"+filepath.Base(plot)+")") {
			t.Errorf("the page does not show %s", plot)
		}
		file, err := os.Open(plot)
		if err != nil {
			t.Fatal(err)
		}
		for decoder := xml.NewDecoder(file); err == nil; {
			_, err = decoder.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", plot, err)
		}
		_ = file.Close() // it was only read
	}
}

func TestARowThatDoesNotExistIsAnError(t *testing.T) {
	err := run(t.Context(), []string{"-rows", "post,pots"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), `"pots"`) {
		t.Errorf("error %v, want one that names pots", err)
	}
}

func TestARatioIsTakenRoundByRound(t *testing.T) {
	rates := func(of ...float64) (samples []sample) {
		for _, rate := range of {
			samples = append(samples, sample{rate: rate})
		}
		return samples
	}
	// The machine became ten times slower on the way: the ratio is 2 all the same, once 3.
	r := result{samples: map[string][]sample{ours: rates(2000, 300, 200), raw: rates(1000, 100, 100)}}
	if got, want := r.ratio(line{of: ours, against: raw, value: rate}), (spread{2, 2, 3}); got != want {
		t.Errorf("ratio %v, want %v", got, want)
	}
	if got, want := r.figure(ours, rate), (spread{300, 200, 2000}); got != want {
		t.Errorf("figure %v, want %v", got, want)
	}
}

func TestSidesTakeTurns(t *testing.T) {
	l := &lab{size: size{rounds: 3}, progress: io.Discard}
	var calls []string
	of := func(name string) side {
		return side{name, func(context.Context) (sample, error) {
			calls = append(calls, name)
			return sample{rate: float64(len(calls))}, nil
		}}
	}
	r, err := l.compare(t.Context(), "turns", []side{of("a"), of("b")})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "b", "a", "a", "b", "b", "a"}; !slices.Equal(calls, want) {
		t.Errorf("calls %v, want %v", calls, want)
	}
	if a := r.samples["a"]; len(a) != 3 || a[0].rate != 4 {
		t.Errorf("samples of a: %v, want those of the calls 4, 5 and 8: the first round only warms up", a)
	}

	failed := errors.New("failed")
	_, err = l.compare(t.Context(), "errors", []side{{"a", func(context.Context) (sample, error) { return sample{}, failed }}})
	if !errors.Is(err, failed) {
		t.Errorf("error %v, want %v", err, failed)
	}
	if _, err = l.compare(t.Context(), "idle", []side{{"a", func(context.Context) (sample, error) { return sample{}, nil }}}); err == nil {
		t.Error("a side that did nothing counts as measured")
	}
}

func TestAims(t *testing.T) {
	for _, x := range []struct {
		aim          aim
		value, ratio float64
		want         bool
	}{
		{atLeast(0.9), 0, 0.9, true},
		{atLeast(0.9), 0, 0.89, false},
		{ratioBelow(1.0/3, "1/3"), 0, 0.33, true},
		{ratioBelow(1.0/3, "1/3"), 0, 0.34, false},
		{below(25, "ms"), 24.9, 9, true},
		{below(25, "ms"), 25, 0, false},
	} {
		if got := x.aim.met(x.value, x.ratio); got != x.want {
			t.Errorf("%s with value %v and ratio %v: met is %v", x.aim.text, x.value, x.ratio, got)
		}
	}
}

func TestPercentilesAreOfWhatWasMeasured(t *testing.T) {
	var measured []time.Duration
	for i := range 1000 {
		measured = append(measured, time.Duration((i*7)%1000+1))
	}
	s := latencyOf(measured)
	if s.p50 != 500 || s.p99 != 990 || s.max != 1000 {
		t.Errorf("p50 %d, p99 %d, longest %d; want 700, 990, 1000", s.p50, s.p99, s.max)
	}
	if s := latencyOf([]time.Duration{7}); s.p50 != 7 || s.p99 != 7 || s.max != 7 {
		t.Errorf("of a single one: %v", s)
	}
}

func TestAmountsAreReadable(t *testing.T) {
	for _, x := range []struct {
		value float64
		unit  string
		want  string
	}{{0, "", "0"}, {1.2345, "ms", "1.23 ms"}, {99.96, "%", "100 %"}, {123.4, "", "123"}, {1234567.8, "orders/s", "1,234,568 orders/s"}} {
		if got := amount(x.value, x.unit); got != x.want {
			t.Errorf("amount(%v, %q) is %q, want %q", x.value, x.unit, got, x.want)
		}
	}
}

func TestTheProcessorTimeOfAProcessGrows(t *testing.T) {
	before, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		now, err := processorTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now > before+2*tick {
			return
		}
	}
	t.Error("it stands still, though this test computes")
}
