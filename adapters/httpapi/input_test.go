package httpapi

import (
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"

	"hexorders/core/order"
	description "hexorders/docs/api"
)

// The description says the same with a pattern.
func TestEntityTagsAreReadByTheBook(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(description.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]struct {
		strong, weak []int
		any, bad     bool
	}{
		`"7"`:                    {strong: []int{7}},
		`"7","8"`:                {strong: []int{7, 8}},
		` "7" ,	"8" `:            {strong: []int{7, 8}},
		`,"7",,`:                 {strong: []int{7}},
		`W/"7", "8"`:             {strong: []int{8}, weak: []int{7}},
		`W/"7"`:                  {weak: []int{7}},
		`W/"07"`:                 {},
		`"a,b", "7"`:             {strong: []int{7}},
		`""`:                     {},
		`"07"`:                   {},
		`"+7"`:                   {},
		`"0"`:                    {},
		`"-1"`:                   {},
		`"99999999999999999999"`: {},
		`"ü"`:                    {},
		` * `:                    {any: true},
		``:                       {},
		`,`:                      {},
		`7`:                      {bad: true},
		`"7`:                     {bad: true},
		`7"`:                     {bad: true},
		`w/"7"`:                  {bad: true},
		`W/ "7"`:                 {bad: true},
		`W/`:                     {bad: true},
		`"7" "8"`:                {bad: true},
		`"7"8`:                   {bad: true},
		`*, "7"`:                 {bad: true},
		`"7", *`:                 {bad: true},
		`"a b"`:                  {bad: true},
		"\"a\x7f\"":              {bad: true},
	} {
		got, ok := parseTags(header)
		if !slices.Equal(got.strong, want.strong) || !slices.Equal(got.weak, want.weak) || got.any != want.any || ok == want.bad {
			t.Errorf("%q: %v %v, want %v", header, got, ok, want)
		}
		for _, name := range []string{"IfMatch", "IfNoneMatch"} { // blanks around a header are no part of it
			pattern := doc.Components.Parameters[name].Value.Schema.Value.Pattern
			if regexp.MustCompile(pattern).MatchString(strings.Trim(header, " \t")) == want.bad {
				t.Errorf("%q: the pattern of %s takes it for another thing than the service does", header, name)
			}
		}
	}
}

func TestETagsAreReadBack(t *testing.T) {
	for _, version := range []int{1, 7, 123456789} {
		if got, ok := parseTags(etag(version)); !ok || !slices.Equal(got.strong, []int{version}) {
			t.Errorf("%s: %v, %v", etag(version), got, ok)
		}
	}
}

func TestWholeNumbers(t *testing.T) {
	for number, want := range map[string]struct {
		value int
		whole bool
	}{
		"0": {0, true}, "-0": {0, true}, "3": {3, true}, "-3": {-3, true}, "3.0": {3, true}, "3e0": {3, true}, "1e3": {1000, true},
		"1500e-2": {15, true}, "1.5e1": {15, true}, "1.5": {0, false}, "15e-1": {0, false}, "1e-3": {0, false},
		"99999999999999999999": {2147483647, true}, "-1e999": {-2147483648, true}, "1e-999": {0, false},
		"0e-999": {0, true}, "": {0, false},
		"0.99999999999999999999": {0, false}, "1000000.00000000001": {0, false}, "1.00000000000000000000": {1, true},
		"1e1000000": {2147483647, true}, "1e-1000000": {0, false}, "0e1000000": {0, true}, "-0.0": {0, true},
		"1e99999999999999999999": {2147483647, true}, "1e-99999999999999999999": {0, false}, "0e99999999999999999999": {0, true},
		"9007199254740993": {2147483647, true}, "1000000": {1000000, true}, "1E+3": {1000, true}, "0.001e3": {1, true},
		"-1000000000000000000000000": {-2147483648, true}, "100000000000e-6": {100000, true},
		"999999999": {999999999, true}, "-999999999": {-999999999, true}, "1000000000": {2147483647, true}, "-1e9": {-2147483648, true},
	} {
		if value, isWhole := parseWhole(number); value != want.value || isWhole != want.whole {
			t.Errorf("%s: %d %v, want %v", number, value, isWhole, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`, `{"buyerId":"9999"} `, `{"buyerId":"a","buyerId":"b"}`,
		`{"items":[{"amount":1e3},{}]}`, `{"buyerId":"\ud800"}`, `{"buyerId":"\ud83d\uDED2\\ud800"}`, `{"x":[[[[]]]]}`, `[]`, `null`, ``,
		`{"buyerId":"1"}}`, `{"buyerId":1,}`, "{\"buyerId\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got orderBody
		err := decode(body, &got)
		if err != nil {
			var input *inputError
			if !errors.As(err, &input) || kindOf(err).status/100 != 4 {
				t.Fatalf("%q: %v is not the client's fault", body, err)
			}
			for _, e := range input.errors {
				if e.Pointer == nil || *e.Pointer != "" && !strings.HasPrefix(*e.Pointer, "/") || !utf8.ValidString(*e.Pointer) {
					t.Fatalf("%q: bad pointer in %v", body, e)
				}
			}
			return
		}
		// What is accepted is JSON that the standard library reads in the same way.
		var want struct {
			BuyerID string
			Items   []struct {
				ProductID string
				Amount    json.Number
			}
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q was accepted: %v", body, err)
		}
		var items []order.Item
		for _, item := range want.Items {
			amount, _ := parseWhole(item.Amount.String())
			items = append(items, order.Item{Product: item.ProductID, Amount: amount})
		}
		if *got.BuyerID != want.BuyerID || !reflect.DeepEqual(got.items(), items) {
			t.Fatalf("%q: got %v, want %q %v", body, got, want.BuyerID, items)
		}
	})
}

// What If-Match and If-None-Match have in common is their value.
func FuzzEntityTags(f *testing.F) {
	for _, seed := range []string{`"7"`, `*`, `W/"7", "8"`, `,"a,b",`, `"`, `""""`, `W/`, `,,`, "\"7\" \t, W/\"7\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tags, ok := parseTags(header)
		if !ok && !reflect.DeepEqual(tags, entityTags{}) || tags.any && len(tags.strong)+len(tags.weak) > 0 {
			t.Fatalf("%q: %v %v", header, tags, ok)
		}
		var written []string
		for _, version := range tags.strong {
			if version < 1 || !strings.Contains(header, etag(version)) {
				t.Fatalf("%q does not name version %d", header, version)
			}
			written = append(written, etag(version))
		}
		for _, version := range tags.weak {
			if version < 1 || !strings.Contains(header, "W/"+etag(version)) {
				t.Fatalf("%q does not name version %d weakly", header, version)
			}
			written = append(written, "W/"+etag(version))
		}
		// What it was taken for is taken for the same.
		if again, ok := parseTags(strings.Join(written, ", ")); len(written) > 0 && (!ok || !reflect.DeepEqual(again, tags)) {
			t.Fatalf("%q is %v, and %v is %v", header, tags, written, again)
		}
	})
}

func TestTheTextOfAnInputErrorHasItsDetail(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"the body is not well-formed JSON":                           &inputError{is: errMalformedJSON},
		"the body is not well-formed JSON: The JSON ends too early.": &inputError{is: errMalformedJSON, detail: "The JSON ends too early."},
	} {
		if got := err.Error(); got != want {
			t.Errorf("the error is %q, want %q", got, want)
		}
	}
}
