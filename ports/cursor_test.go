package ports

import (
	"encoding/base64"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestACursorIsReadAsItWasGivenOut(t *testing.T) {
	for _, text := range []string{"", "order-1", "заказ-注文-🛒", `"quoted" \ / <&>`, "a\x1f\x00\n", "\u2028", "null", "7"} {
		for _, number := range []int64{0, -1, 1<<53 + 1, math.MinInt64, math.MaxInt64} {
			cursor := EncodeCursor("a question", text, number, text, number)
			var gotText string
			var gotNumber int64
			var eitherText, eitherNumber any
			err := DecodeCursor(cursor, "a question", &gotText, &gotNumber, &eitherText, &eitherNumber)
			if err != nil || gotText != text || gotNumber != number || eitherText != text || eitherNumber != number {
				t.Errorf("the cursor of %q and %d is read as %q, %d, %#v and %#v, error %v", text, number, gotText, gotNumber,
					eitherText, eitherNumber, err)
			}
		}
	}
	if err := DecodeCursor(EncodeCursor("a question"), "a question"); err != nil {
		t.Errorf("a cursor without a place: got error %v", err)
	}
}

func TestACursorIsValidForItsOwnQuestion(t *testing.T) {
	var text, more string
	var number int64
	var either any
	cursor := EncodeCursor("a question", "order-1", int64(7))
	for name, err := range map[string]error{
		"another question":      DecodeCursor(cursor, "another question", &text, &number),
		"fewer parts":           DecodeCursor(cursor, "a question", &text),
		"more parts":            DecodeCursor(cursor, "a question", &text, &number, &more),
		"parts of other types":  DecodeCursor(cursor, "a question", &number, &text),
		"a text for a number":   DecodeCursor(EncodeCursor("a question", "7"), "a question", &number),
		"a number for a text":   DecodeCursor(EncodeCursor("a question", int64(7)), "a question", &text),
		"nothing for a text":    DecodeCursor(EncodeCursor("a question", nil), "a question", &text),
		"nothing for a number":  DecodeCursor(EncodeCursor("a question", nil), "a question", &number),
		"nothing for either":    DecodeCursor(EncodeCursor("a question", nil), "a question", &either),
		"a fraction for either": DecodeCursor(EncodeCursor("a question", 1.5), "a question", &either),
		"a list for either":     DecodeCursor(EncodeCursor("a question", []string{"x"}), "a question", &either),
	} {
		if !errors.Is(err, ErrBadCursor) {
			t.Errorf("%s: got error %v, want %v", name, err, ErrBadCursor)
		}
	}
}

// A client can send anything. What is accepted is the text that EncodeCursor makes of what was read.
func TestOnlyCursorsThatWereGivenOutAreAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		question := rapid.SampledFrom([]string{"", "a question", `["x"]`}).Draw(t, "question")
		given := EncodeCursor(question, rapid.String().Draw(t, "text"), rapid.Int64().Draw(t, "number"))
		document, _ := base64.RawURLEncoding.DecodeString(given)
		inDocument := string(document)
		for _, cursor := range []string{
			given,
			mangled(t, given, "ABCwxyz0189-_=+/ \n"),
			base64.RawURLEncoding.EncodeToString([]byte(mangled(t, inDocument, "\"[]{},:0123456789.eE+- \n\\unltr"))),
			base64.RawURLEncoding.EncodeToString([]byte(
				rapid.StringMatching(`\["[a-z ]*", ?"\\?[a-z"]*", ?-?[0-9.eE]+ ?\]?`).Draw(t, "document"))),
			rapid.String().Draw(t, "any"),
		} {
			var text string
			var number int64
			err := DecodeCursor(cursor, question, &text, &number)
			switch {
			case err != nil && !errors.Is(err, ErrBadCursor):
				t.Errorf("cursor %q: got error %v, want %v", cursor, err, ErrBadCursor)
			case err != nil && cursor == given:
				t.Errorf("cursor %q, which was given out: got error %v", cursor, err)
			case err == nil && EncodeCursor(question, text, number) != cursor:
				t.Errorf("cursor %q was taken for the one of %q and %d, which is another", cursor, text, number)
			}
		}
	})
}

// mangled is a text with one character more, less or exchanged.
func mangled(t *rapid.T, text, with string) string {
	at := rapid.IntRange(0, len(text)).Draw(t, "at")
	more := string(rapid.SampledFrom([]rune(with)).Draw(t, "character"))
	left, right := text[:at], text[at:]
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		return left + more + right
	case 1:
		return left + right[min(1, len(right)):]
	}
	return left + more + right[min(1, len(right)):]
}
