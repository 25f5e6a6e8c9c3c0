package console

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"
)

func span(id, parent, service string, ms int, failed bool, links ...string) Span {
	at := time.UnixMilli(1000)
	return Span{Trace: "t", ID: id, Parent: parent, Links: links, Service: service, Start: at,
		End: at.Add(time.Duration(ms) * time.Millisecond), Failed: failed}
}

func TestArrowsAreParentsAndLinksOfOtherServices(t *testing.T) {
	got := fold([]Span{
		span("publish", "save", "relay", 4, true), // the child came first
		span("request", "client", "api", 30, false), span("save", "request", "api", 20, false),
		span("again", "save", "relay", 8, false),
		span("batch", "", "views", 50, false, "publish", "again", "gone"),
		span("lost", "gone", "views", 1, false),
		span("transaction", "save", "api", 2, false, "save", "batch"), // of two services that share a store
	})
	want := []Arrow{{"api", "relay", 2, 1, 8}, {"relay", "views", 2, 0, 50}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := fold(nil); got == nil || len(got) != 0 {
		t.Errorf("of nothing: %#v, want an empty list", got)
	}
}

func TestP95IsTheNearestRank(t *testing.T) {
	for n, want := range map[int]float64{1: 1, 10: 10, 20: 19, 100: 95, 101: 96} {
		spans := []Span{span("parent", "", "a", 0, false)}
		for ms := n; ms >= 1; ms-- {
			spans = append(spans, span(strconv.Itoa(ms), "parent", "b", ms, false))
		}
		if got := fold(spans)[0].P95; got != want {
			t.Errorf("of 1 to %d ms: %v, want %v", n, got, want)
		}
	}
}

func TestTheNewestSpansAreKept(t *testing.T) {
	var s Spans
	for i := range spansKept + 10 {
		s.Add(Span{Trace: "t" + strconv.Itoa(i), ID: strconv.Itoa(i), Order: "o" + strconv.Itoa(i), Start: time.UnixMilli(int64(-i))})
	}
	if all := s.all(); len(all) != spansKept {
		t.Errorf("%d spans are kept, want %d", len(all), spansKept)
	}
	if first, last := s.of("o9"), s.of(fmt.Sprint("o", spansKept+9)); len(first) != 0 || len(last) != 1 {
		t.Errorf("of the oldest order %d spans are kept, of the newest %d", len(first), len(last))
	}
}

func TestTheSpansOfAnOrderAreThoseOfItsTraces(t *testing.T) {
	var s Spans
	s.Add(Span{Trace: "1", ID: "b", Order: "o", Start: time.UnixMilli(2)})
	s.Add(Span{Trace: "1", ID: "a", Start: time.UnixMilli(1)})
	s.Add(Span{Trace: "2", ID: "c", Order: "p"})
	s.Add(Span{ID: "d", Order: "o"})
	var ids []string
	for _, span := range s.of("o") {
		ids = append(ids, span.ID)
	}
	if !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("got %q, want a and b", ids)
	}
	if none := (*Spans)(nil).of("o"); none == nil || len(none) != 0 {
		t.Errorf("without traces: %#v, want an empty list", none)
	}
}

func TestTheMapSaysWhetherThereAreTraces(t *testing.T) {
	type answer struct {
		Traced   bool
		Spans    int
		Services map[string]int
		Arrows   []Arrow
	}
	without := get[answer](t, build(t).serve().URL+"/console/map")
	if without.Traced || without.Arrows == nil {
		t.Errorf("without traces: %+v", without)
	}
	spans := &Spans{}
	spans.Add(span("a", "", "api", 1, false))
	spans.Add(span("b", "a", "relay", 1, false))
	with := get[answer](t, build(t).serve(func(c *console) { c.Spans = spans }).URL+"/console/map")
	if !with.Traced || with.Spans != 2 || with.Services["api"] != 1 || len(with.Arrows) != 1 {
		t.Errorf("with traces: %+v", with)
	}
}
