package ports

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// A cursor is the text with which a client asks for the page after one that it has. It names the question that it
// belongs to and the place where the page ended, and it is valid for the same question only.

// EncodeCursor makes a cursor of a question and the values of a place: strings and int64s.
func EncodeCursor(question string, place ...any) string {
	hash := fnv.New64a() // in place of the question, so that a cursor is short
	_, _ = hash.Write([]byte(question))
	text, err := json.Marshal(append([]any{hash.Sum(nil)}, place...))
	if err != nil {
		panic(fmt.Sprintf("a cursor of %v: %v", place, err)) // strings and numbers can always be encoded
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// DecodeCursor reads the place of a cursor into pointers: *string, *int64, or *any for either. It accepts exactly what
// EncodeCursor gave out for the same question. Error: ErrBadCursor.
func DecodeCursor(cursor, question string, place ...any) error {
	bad := fmt.Errorf("cursor %.80q: %w", cursor, ErrBadCursor)
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return bad
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil || len(parts) != 1+len(place) {
		return bad
	}
	values := make([]any, len(place))
	for i, to := range place {
		if values[i], err = decodePart(parts[1+i], to); err != nil {
			return bad
		}
	}
	// Decoding accepts more than encoding produces; only what encodes to the same text was given out.
	if EncodeCursor(question, values...) != cursor {
		return bad
	}
	return nil
}

func decodePart(part json.RawMessage, to any) (value any, err error) {
	either, ok := to.(*any)
	if !ok {
		err = json.Unmarshal(part, to)
		switch to := to.(type) {
		case *string:
			return *to, err
		case *int64:
			return *to, err
		}
		return nil, fmt.Errorf("no part of a cursor: %T", to)
	}
	if bytes.HasPrefix(part, []byte(`"`)) {
		var text string
		err = json.Unmarshal(part, &text)
		*either = text
		return text, err
	}
	var number int64
	err = json.Unmarshal(part, &number)
	*either = number
	return number, err
}
