package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decode reads one JSON object into a struct. Unlike encoding/json it refuses unknown fields, a field that comes twice,
// another spelling of a name, null, text that is not Unicode, and anything after the object. It says where the fault is,
// and does not follow what is nested deeper than the struct. Every error is an *inputError.
func decode(body []byte, into any) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	if err := json.UnmarshalDecode(d, into, strict); err != nil {
		return refusal(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return &inputError{is: errMalformedJSON, detail: "Something follows the JSON value."}
	}
	if missing := missingFields("", reflect.ValueOf(into).Elem()); len(missing) > 0 {
		return &inputError{is: errMissingField, errors: missing}
	}
	return nil
}

var strict = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.UnmarshalFromFunc(checkKind)),
)

// kindError says that a value has another kind than its field takes.
type kindError struct{ want, got string }

func (e kindError) Error() string { return "must be " + e.want + ", not " + e.got }

// checkKind is called with the target of each value, before the value is read. The library would take null for any
// field, and would read all of a value of the wrong kind.
func checkKind(d *jsontext.Decoder, target any) error {
	t := reflect.TypeOf(target)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	want := kindOfField[t.Kind()]
	got := d.PeekKind()
	if name, known := kinds[got]; known && name != kinds[want] { // what is malformed is left to the library
		return kindError{nameOf(want), name}
	}
	return errors.ErrUnsupported // the library reads it
}

var kindOfField = map[reflect.Kind]jsontext.Kind{
	reflect.String: '"', reflect.Int: '0', reflect.Struct: '{', reflect.Slice: '[',
}

var kinds = map[jsontext.Kind]string{
	'n': "null", 't': "true or false", 'f': "true or false", '"': "a string", '0': "a number", '{': "an object", '[': "an array",
}

func nameOf(want jsontext.Kind) string {
	if want == '0' {
		return "a whole number"
	}
	return kinds[want]
}

// whole is a whole number as JSON Schema has them: 3, 3.0 and 3e0 are the same one.
type whole int

func (w *whole) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	number, err := d.ReadValue()
	if err != nil {
		return err
	}
	value, ok := parseWhole(string(number))
	if !ok {
		return kindError{"a whole number", "a fraction"}
	}
	*w = whole(value)
	return nil
}

// parseWhole reads a JSON number exactly, digit by digit: a float would take 0.99999999999999999999 for 1. A number of
// more than 9 digits is beyond every limit here and comes out as the largest or smallest of 32 bits.
func parseWhole(number string) (int, bool) {
	unsigned, negative := strings.CutPrefix(number, "-")
	mantissa, exponent := unsigned, 0
	if i := strings.IndexAny(unsigned, "eE"); i >= 0 {
		mantissa = unsigned[:i]
		// An exponent that no int holds comes out as the largest or smallest one, and is clamped so that sums cannot overflow.
		exponent, _ = strconv.Atoi(unsigned[i+1:])
		exponent = min(max(exponent, -math.MaxInt32), math.MaxInt32)
	}
	integer, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(integer+fraction, "0")
	significant := strings.TrimRight(digits, "0")
	zeros := exponent - len(fraction) + len(digits) - len(significant) // that follow the significant digits
	switch {
	case mantissa == "" || significant != "" && zeros < 0:
		return 0, false
	case significant == "":
		return 0, true
	case len(significant)+zeros > 9 && negative:
		return math.MinInt32, true
	case len(significant)+zeros > 9:
		return math.MaxInt32, true
	}
	value, err := strconv.Atoi(significant + strings.Repeat("0", zeros))
	if negative {
		value = -value
	}
	return value, err == nil
}

// refusal says in the words of the API what the library refused.
func refusal(err error) error {
	var semantic *json.SemanticError
	var syntax *jsontext.SyntacticError
	var kind kindError
	switch {
	case errors.As(err, &semantic) && errors.As(err, &kind):
		return &inputError{is: errWrongType, errors: []fieldError{atPointer(string(semantic.JSONPointer), kind.Error())}}
	case errors.As(err, &semantic) && errors.Is(err, json.ErrUnknownName):
		return unknownField(semantic.JSONPointer, semantic.GoType)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &inputError{is: errMalformedJSON, detail: "The JSON ends too early."}
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return &inputError{is: errDuplicateField, errors: []fieldError{atPointer(string(syntax.JSONPointer), "stands here twice")}}
	case errors.As(err, &syntax):
		return &inputError{is: errMalformedJSON, detail: fmt.Sprintf("The JSON is malformed at byte %d.", syntax.ByteOffset+1)}
	}
	return &inputError{is: errMalformedJSON, detail: "The JSON cannot be read."}
}

func unknownField(at jsontext.Pointer, body reflect.Type) error {
	detail := "is not known here; no field is"
	if n := body.NumField(); n > 0 {
		names := make([]string, n)
		for i := range names {
			names[i] = nameInJSON(body.Field(i))
		}
		detail = "is not known here; known are " + strings.Join(names, ", ")
	}
	if name := at.LastToken(); name != "" && !echoable(name) {
		return &inputError{is: errUnknownField, errors: []fieldError{atPointer(string(at.Parent()), "has a field that "+detail)}}
	}
	return &inputError{is: errUnknownField, errors: []fieldError{atPointer(string(at), detail)}}
}

// echoable tells whether a name that a client sent is sent back: it must be short and safe to print.
func echoable(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= 64 &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// missingFields finds all required fields that are missing, so that a client need not find them one by one.
func missingFields(pointer string, v reflect.Value) (missing []fieldError) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			missing = append(missing, missingFields(pointer+"/"+strconv.Itoa(i), v.Index(i))...)
		}
	case reflect.Struct:
		var own []fieldError
		for i := range v.NumField() {
			name, field := nameInJSON(v.Type().Field(i)), v.Field(i)
			if field.Kind() == reflect.Pointer && field.IsNil() {
				own = append(own, atPointer(pointer+"/"+name, "is required"))
			}
			missing = append(missing, missingFields(pointer+"/"+name, field)...)
		}
		missing = append(missing, own...)
	}
	return missing
}

func nameInJSON(f reflect.StructField) string { return f.Tag.Get("json") }
