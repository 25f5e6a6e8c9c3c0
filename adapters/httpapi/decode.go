package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
)

// What can be wrong with a request before the order is asked.
var (
	errNotJSON        = errors.New("the body is not declared as JSON")
	errBodyTooLarge   = errors.New("the body is too large")
	errBodyTimeout    = errors.New("the body did not arrive in time")
	errMalformedJSON  = errors.New("the body is not well-formed JSON")
	errUnknownField   = errors.New("the body has an unknown field")
	errDuplicateField = errors.New("the body has a field twice")
	errWrongType      = errors.New("the body has a value of the wrong type")
	errMissingField   = errors.New("the body lacks a field")
	errInvalidQuery   = errors.New("the query is invalid")
)

// inputError says what is wrong with a request's input, and where.
type inputError struct {
	is     error // one of the above
	detail string
	errors []fieldError
}

func (e *inputError) Error() string {
	if e.detail == "" {
		return e.is.Error()
	}
	return e.is.Error() + ": " + e.detail
}

func (e *inputError) Unwrap() error { return e.is }

// newOrder is the body of POST /orders.
type newOrder struct {
	buyer string
	items []order.Item
}

func (n *newOrder) json() value {
	return object{
		"buyerId": {text(&n.buyer), required},
		"items":   {list(&n.items, itemJSONOf), optional},
	}.value()
}

func itemJSONOf(item *order.Item) value {
	return object{
		"productId": {text(&item.Product), required},
		"amount":    {number(&item.Amount), required},
	}.value()
}

type presence bool

const (
	required presence = true
	optional presence = false
)

// readBody reads a request's body into whatever want points to, and returns it as it came.
func (a *api) readBody(c *gin.Context, want value, p presence) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, a.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &inputError{is: errBodyTooLarge, detail: fmt.Sprintf("A body may have at most %d bytes.", a.MaxBody)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errBodyTimeout
	case err != nil:
		return nil, &inputError{is: errMalformedJSON, detail: "The body ended before it was complete."}
	case len(body) == 0 && p == optional:
		return nil, nil
	case len(body) == 0:
		return nil, &inputError{is: errMalformedJSON, detail: "The body is empty; a JSON object is needed."}
	case !declaredJSON(c.Request.Header):
		return nil, errNotJSON
	}
	return body, decode(body, want)
}

// declaredJSON tells whether the body is plain JSON in UTF-8, the only encoding that JSON between systems has
// (RFC 8259, 8.1).
func declaredJSON(h http.Header) bool {
	mediaType, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != mediaJSON {
		return false
	}
	for name, v := range parameters {
		if name != "charset" || !strings.EqualFold(v, "utf-8") {
			return false
		}
	}
	coding := h.Get("Content-Encoding")
	return coding == "" || strings.EqualFold(coding, "identity")
}

// decode reads one JSON value and nothing after it. Unlike encoding/json by itself it takes no unknown fields, no
// field twice, no other spelling of a name, no null for a value and nothing that is no Unicode, and it says where the
// fault is.
// It builds nothing but what want asks for and does not follow what is nested deeper. Every error is an *inputError.
func decode(body []byte, want value) error {
	if !utf8.Valid(body) {
		return &inputError{is: errMalformedJSON, detail: "The body is not valid UTF-8."}
	}
	if loneSurrogate(body) {
		return &inputError{is: errMalformedJSON, detail: "The body has half a surrogate pair, which is no text."}
	}
	d := &decoder{Decoder: json.NewDecoder(bytes.NewReader(body))}
	d.UseNumber()
	if err := want(d, ""); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &inputError{is: errMalformedJSON, detail: "Something follows the JSON value."}
	}
	if len(d.missing) > 0 {
		return &inputError{is: errMissingField, errors: d.missing}
	}
	return nil
}

// loneSurrogate finds an escape such as \ud800 without its other half. It is JSON in form, but no text (RFC 8259, 8.2), and
// would be read as U+FFFD.
func loneSurrogate(body []byte) bool {
	for {
		at := bytes.IndexByte(body, '\\')
		if at < 0 || at+1 == len(body) {
			return false
		}
		body = body[at:]
		first, ok := unicodeEscape(body)
		if !ok || !utf16.IsSurrogate(first) {
			body = body[2:]
			continue
		}
		second, ok := unicodeEscape(body[6:])
		if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
			return true
		}
		body = body[12:]
	}
}

func unicodeEscape(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}

type decoder struct {
	*json.Decoder
	missing []fieldError // all of them, so that a client need not find them one by one
}

// value reads the JSON value that comes next; at is its JSON pointer (RFC 6901).
type value func(d *decoder, at string) error

func text(into *string) value {
	return func(d *decoder, at string) error {
		token, err := d.next()
		if err != nil {
			return err
		}
		s, ok := token.(string)
		if !ok {
			return wrongType(at, "a string", token)
		}
		*into = s
		return nil
	}
}

func number(into *int) value {
	return func(d *decoder, at string) error {
		token, err := d.next()
		if err != nil {
			return err
		}
		n, isNumber := token.(json.Number)
		i, isWhole := whole(n.String())
		if !isNumber || !isWhole {
			return wrongType(at, "a whole number", token)
		}
		*into = i
		return nil
	}
}

// whole reads a number as JSON Schema does: 3, 3.0 and 3e0 are one whole number, and being too large is another
// matter than being none. What no int holds comes out as one that is as far beyond every limit.
func whole(number string) (int, bool) {
	if i, err := strconv.Atoi(number); err == nil {
		return i, true
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || f != math.Trunc(f) {
		return 0, false
	}
	return int(min(max(f, math.MinInt32), math.MaxInt32)), true
}

func list[T any](into *[]T, element func(*T) value) value {
	return func(d *decoder, at string) error {
		if err := d.open('[', at, "an array"); err != nil {
			return err
		}
		for i := 0; d.More(); i++ {
			var one T
			if err := element(&one)(d, at+"/"+strconv.Itoa(i)); err != nil {
				return err
			}
			*into = append(*into, one)
		}
		_, err := d.next()
		return err
	}
}

// object lists the fields that a JSON object may have.
type object map[string]struct {
	value    value
	presence presence
}

func (o object) value() value {
	return func(d *decoder, at string) error {
		if err := d.open('{', at, "an object"); err != nil {
			return err
		}
		seen := make(map[string]bool, len(o))
		for d.More() {
			token, err := d.next()
			if err != nil {
				return err
			}
			name, _ := token.(string) // the decoder lets nothing else be a name
			field, known := o[name]
			switch {
			case !known:
				return unknownField(at, name, o)
			case seen[name]:
				return &inputError{is: errDuplicateField, errors: []fieldError{atPointer(at+"/"+name, "stands here twice")}}
			}
			seen[name] = true
			if err := field.value(d, at+"/"+name); err != nil {
				return err
			}
		}
		if _, err := d.next(); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(o)) {
			if o[name].presence == required && !seen[name] {
				d.missing = append(d.missing, atPointer(at+"/"+name, "is required"))
			}
		}
		return nil
	}
}

func (d *decoder) open(bracket json.Delim, at, want string) error {
	token, err := d.next()
	if err != nil {
		return err
	}
	if token != bracket {
		return wrongType(at, want, token)
	}
	return nil
}

func (d *decoder) next() (json.Token, error) {
	token, err := d.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return token, nil
	case errors.As(err, &syntax):
		return nil, &inputError{is: errMalformedJSON, detail: fmt.Sprintf("The JSON is malformed at byte %d.", syntax.Offset)}
	default:
		return nil, &inputError{is: errMalformedJSON, detail: "The JSON ends too early."}
	}
}

func wrongType(at, want string, got json.Token) error {
	kind := "null"
	switch t := got.(type) {
	case string:
		kind = "a string"
	case bool:
		kind = "true or false"
	case json.Number:
		kind = "a number"
		if want == "a whole number" {
			kind = "a fraction"
		}
	case json.Delim:
		kind = "an object"
		if t == '[' {
			kind = "an array"
		}
	}
	return &inputError{is: errWrongType, errors: []fieldError{atPointer(at, "must be "+want+", not "+kind)}}
}

func unknownField(at, name string, known object) error {
	detail := "is not known here; no field is"
	if len(known) > 0 {
		detail = "is not known here; known are " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	}
	const longestEcho = 64 // the client knows what it sent: a longer name is not sent back
	if utf8.RuneCountInString(name) > longestEcho {
		return &inputError{is: errUnknownField, errors: []fieldError{atPointer(at, "has a field that "+detail)}}
	}
	return &inputError{is: errUnknownField, errors: []fieldError{atPointer(at+"/"+escapePointer(name), detail)}}
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
