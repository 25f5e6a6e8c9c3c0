package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

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
		{"buyerId", text(&n.buyer), required},
		{"items", list(&n.items, itemJSONOf), optional},
	}.value()
}

func itemJSONOf(item *order.Item) value {
	return object{
		{"amount", number(&item.Amount), required},
		{"productId", text(&item.Product), required},
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

// decode reads one JSON value and nothing after it. Unlike encoding/json it takes no unknown fields, no field twice, no other
// spelling of a name, no null for a value and nothing that is no Unicode, half a surrogate pair included, and it says
// where the fault is.
// It builds nothing but what want asks for and does not follow what is nested deeper. Every error is an *inputError.
func decode(body []byte, want value) error {
	d := &decoder{Decoder: jsontext.NewDecoder(bytes.NewBuffer(body))}
	if err := want(d); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return &inputError{is: errMalformedJSON, detail: "Something follows the JSON value."}
	}
	if len(d.missing) > 0 {
		return &inputError{is: errMissingField, errors: d.missing}
	}
	return nil
}

type decoder struct {
	*jsontext.Decoder
	missing []fieldError // all of them, so that a client need not find them one by one
}

// value reads the JSON value that comes next. JSON pointers (RFC 6901) in its errors begin at that value.
type value func(d *decoder) error

// in reads a value that stands under a name in another one, which pointers then begin with: they are put together only
// when something is wrong.
func (d *decoder) in(name string, read value) error {
	missing := len(d.missing)
	err := read(d)
	below(name, d.missing[missing:])
	var wrong *inputError
	if err != nil && errors.As(err, &wrong) {
		below(name, wrong.errors)
	}
	return err
}

func below(name string, errors []fieldError) {
	for i := range errors {
		pointer := "/" + name + *errors[i].Pointer
		errors[i].Pointer = &pointer
	}
}

func text(into *string) value {
	return func(d *decoder) error {
		token, err := d.next('"', "a string")
		if err == nil {
			*into = token.String()
		}
		return err
	}
}

func number(into *int) value {
	return func(d *decoder) error {
		token, err := d.next('0', "a whole number")
		if err != nil {
			return err
		}
		i, isWhole := whole(token.String())
		if !isWhole {
			return wrongType("a whole number", "a fraction")
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
	return func(d *decoder) error {
		if _, err := d.next('[', "an array"); err != nil {
			return err
		}
		for i := 0; d.PeekKind() != ']'; i++ {
			*into = append(*into, *new(T))
			if err := d.in(strconv.Itoa(i), element(&(*into)[i])); err != nil {
				return err
			}
		}
		_, err := d.token()
		return err
	}
}

// object lists the fields that a JSON object may have, at most 64, by name.
type object []field

type field struct {
	name     string
	value    value
	presence presence
}

func (o object) value() value {
	return func(d *decoder) error {
		if _, err := d.next('{', "an object"); err != nil {
			return err
		}
		var seen uint64 // a bit a field
		for d.PeekKind() != '}' {
			token, err := d.token() // a name, or an error
			if err != nil {
				return err
			}
			name := token.String()
			i := slices.IndexFunc(o, func(f field) bool { return f.name == name })
			if i < 0 {
				return unknownField(name, o)
			}
			seen |= 1 << i
			if err := d.in(name, o[i].value); err != nil {
				return err
			}
		}
		if _, err := d.token(); err != nil {
			return err
		}
		for i, f := range o {
			if f.presence == required && seen&(1<<i) == 0 {
				d.missing = append(d.missing, atPointer("/"+f.name, "is required"))
			}
		}
		return nil
	}
}

// next reads a value of a kind, which want puts in words. An array or an object is only opened.
func (d *decoder) next(kind jsontext.Kind, want string) (jsontext.Token, error) {
	token, err := d.token()
	if err == nil && token.Kind() != kind {
		err = wrongType(want, kinds[token.Kind()])
	}
	return token, err
}

func (d *decoder) token() (jsontext.Token, error) {
	token, err := d.ReadToken()
	var syntax *jsontext.SyntacticError
	switch {
	case err == nil:
		return token, nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		err = &inputError{is: errMalformedJSON, detail: "The JSON ends too early."}
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		name := syntax.JSONPointer.LastToken()
		err = &inputError{is: errDuplicateField, errors: []fieldError{atPointer("/"+escapePointer(name), "stands here twice")}}
	case errors.As(err, &syntax):
		err = &inputError{is: errMalformedJSON, detail: fmt.Sprintf("The JSON is malformed at byte %d.", syntax.ByteOffset+1)}
	}
	return token, err
}

var kinds = map[jsontext.Kind]string{
	'n': "null", 't': "true or false", 'f': "true or false", '"': "a string", '0': "a number", '{': "an object", '[': "an array",
}

func wrongType(want, got string) error {
	return &inputError{is: errWrongType, errors: []fieldError{atPointer("", "must be "+want+", not "+got)}}
}

func unknownField(name string, known object) error {
	detail := "is not known here; no field is"
	if len(known) > 0 {
		names := make([]string, len(known))
		for i, f := range known {
			names[i] = f.name
		}
		detail = "is not known here; known are " + strings.Join(names, ", ")
	}
	const longestEcho = 64 // the client knows what it sent: a longer name is not sent back
	if utf8.RuneCountInString(name) > longestEcho {
		return &inputError{is: errUnknownField, errors: []fieldError{atPointer("", "has a field that "+detail)}}
	}
	return &inputError{is: errUnknownField, errors: []fieldError{atPointer("/"+escapePointer(name), detail)}}
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
