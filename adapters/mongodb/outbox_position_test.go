package mongodb

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/ports"
)

func TestPositionsReadBack(t *testing.T) {
	moment := bson.Timestamp{T: 1763829382, I: 5}
	for text, p := range map[ports.Position]position{
		"":                           {scanning: true},
		"stream|1763829382.5|8263AB": {moment: moment, token: "8263AB"},
		"stream|1763829382.5|":       {moment: moment},
		"scan|1763829382.5|0|7|0198": {moment: moment, scanning: true, after: messageKey{"0198", 7}},
		"scan|1763829382.5|-1|1|a|b": {moment: moment, scanning: true, since: -1, after: messageKey{"a|b", 1}},
	} {
		got, err := parsePosition(text)
		if err != nil || got != p {
			t.Errorf("parse %q: got %+v, %v, want %+v", text, got, err, p)
		}
		if back := p.text(); text != "" && back != text {
			t.Errorf("encode %+v: got %q, want %q", p, back, text)
		}
	}
}

func TestWhatIsNoPositionIsRefused(t *testing.T) {
	for _, text := range []ports.Position{
		"42", "|", "stream", "stream||", "stream|1|", "stream|1.x|", "stream|1.2|no hex", "stream|4294967296.0|",
		"scan|1.2", "scan|1.2|x|1|a", "scan|1.2|0|x|a", "Scan|1.2|0|1|a",
	} {
		if p, err := parsePosition(text); err == nil {
			t.Errorf("parse %q: got %+v, want an error", text, p)
		}
	}
}

func TestARescanStartsBeforeTheMoment(t *testing.T) {
	p := position{moment: bson.Timestamp{T: 7200, I: 9}, token: "82"}
	want := position{scanning: true, since: 3_600_000}
	if got := p.rescan(time.Hour); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestJustBeforeAMoment(t *testing.T) {
	for moment, want := range map[bson.Timestamp]bson.Timestamp{{T: 7, I: 9}: {T: 7, I: 8}, {T: 7}: {T: 6, I: 1<<32 - 1}} {
		if got := justBefore(moment); got != want {
			t.Errorf("just before %v: got %v, want %v", moment, got, want)
		}
	}
}

func TestWhatAScanHasEmittedIsKnownBySpanAndMoment(t *testing.T) {
	early, late := bson.Timestamp{T: 10}, bson.Timestamp{T: 20}
	fresh := func() *scanned {
		s := &scanned{since: 1000}
		s.startSpan(messageKey{"b", 1}, early)
		s.startSpan(messageKey{"m", 2}, bson.Timestamp{T: 15}) // gave nothing, so the next replaces it
		s.startSpan(messageKey{"m", 2}, late)
		return s
	}
	cases := []struct {
		what      string
		order     string
		version   int
		committed uint32
		occurred  int64
		want      bool
	}{
		{"before the first span", "a", 1, 5, 1000, false},
		{"where the first span begins", "b", 1, 5, 1000, false},
		{"in the first span, at its moment", "b", 2, 10, 1000, true},
		{"in the first span, after its moment", "c", 1, 11, 1000, false},
		{"the last of the first span", "m", 2, 11, 1000, false},
		{"in the second span, at its moment", "m", 3, 20, 1000, true},
		{"in the second span, too old to have been read", "m", 3, 20, 999, false},
		{"in the second span, after its moment", "z", 1, 21, 1000, false},
	}
	for _, c := range cases {
		m := ports.Message{OrderID: c.order, Version: c.version, OccurredAt: time.UnixMilli(c.occurred)}
		if got := fresh().has(m, bson.Timestamp{T: c.committed}); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
	s := fresh()
	s.has(ports.Message{OrderID: "a"}, bson.Timestamp{T: 21})
	if s.spans != nil {
		t.Errorf("once the stream is past the scan, %d spans are still remembered", len(s.spans))
	}
}
