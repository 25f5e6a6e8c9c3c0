package memory

import (
	"errors"
	"testing"
	"unicode/utf8"

	"hexorders/ports"
)

// A cursor is read as it was given out and in no other spelling, and every id makes one.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "order-1", cursorAfter("order-1"), cursorAfter(""), cursorAfter("order-1") + "\n", "b3JkZXI6eB", "\xff", "é/+ "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := parseCursor(text)
		switch {
		case err != nil && (text == "" || !errors.Is(err, ports.ErrBadCursor)):
			t.Errorf("cursor %q: got error %v", text, err)
		case err == nil && text != "" && cursorAfter(id) != text:
			t.Errorf("cursor %q is taken for %q, the cursor after %q", text, cursorAfter(id), id)
		}
		if !utf8.ValidString(text) {
			return // no id
		}
		if id, err := parseCursor(cursorAfter(text)); err != nil || id != text {
			t.Errorf("the cursor after %q is read back as %q, %v", text, id, err)
		}
	})
}
