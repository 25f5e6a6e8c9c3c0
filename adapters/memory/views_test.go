package memory

import (
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestInbox(t *testing.T) { porttest.Inbox(t, openReadingSide) }

func TestOrderViews(t *testing.T) { porttest.OrderViews(t, openReadingSide) }

func TestGenerations(t *testing.T) { porttest.Generations(t, openReadingSide) }

func openReadingSide(testing.TB) porttest.ReadingSide {
	v := NewViews()
	setFailure := func(err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.failCommit = err
	}
	return porttest.ReadingSide{
		Inbox: v, Views: v, Generations: v,
		FailCommits: func(testing.TB) func() {
			setFailure(errors.New("the disk is full"))
			return func() { setFailure(nil) }
		},
		Age: func(_ testing.TB, by time.Duration) {
			v.mu.Lock()
			defer v.mu.Unlock()
			for _, all := range v.generations {
				for _, g := range all.copies {
					for id, at := range g.received {
						g.received[id] = at.Add(-by)
					}
				}
			}
		},
	}
}

// A cursor of the views is good for its own list alone, and read as it was given out.
func FuzzViewCursor(f *testing.F) {
	list := []string{"order-summary", "9999", "", "-updatedAt"}
	for _, seed := range []string{"", "x", viewCursor(list, place{value: 7, id: "order-1"}),
		viewCursor(list[:2], place{}), "WyJhIl0", "\xff", "bnVsbA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseViewCursor(text, list)
		switch {
		case err != nil && (text == "" || !errors.Is(err, ports.ErrBadCursor)):
			t.Errorf("cursor %q: got error %v", text, err)
		case err == nil && text != "" && viewCursor(list, *p) != text:
			t.Errorf("cursor %q is taken for %q, the cursor after %+v", text, viewCursor(list, *p), *p)
		}
		if !utf8.ValidString(text) {
			return // no id
		}
		want := place{value: int64(len(text)), id: text}
		if p, err := parseViewCursor(viewCursor(list, want), list); err != nil || *p != want {
			t.Errorf("the cursor after %+v is read back as %+v, %v", want, p, err)
		}
		if _, err := parseViewCursor(viewCursor(list, want),
			[]string{"order-summary", "9999", "paid", "-updatedAt"}); !errors.Is(err, ports.ErrBadCursor) {
			t.Errorf("in another list the cursor after %+v gets error %v, want %v", want, err, ports.ErrBadCursor)
		}
	})
}
