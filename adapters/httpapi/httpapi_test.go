package httpapi_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hexorders/adapters/httpapi"
	"hexorders/adapters/memory"
	"hexorders/ports"
)

// The table below is the API as a client meets it: the real use cases over each of the stores, whole bodies, and every
// header that means something. Ids are order-1, order-2, ..., the clock stands still at noon, and every request has
// the id req-1.
const (
	noon   = "2026-03-01T12:00:00.000Z"
	basket = `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`
)

type exchange struct {
	name   string
	given  []string // "METHOD path body" of the requests before, each of which succeeds
	when   string   // "METHOD path body"
	header map[string]string
	status int
	sent   map[string]string // headers that the answer has
	want   string            // the whole answer; "" for none
}

var exchanges = []exchange{
	// POST /orders
	{
		name: "an order is created", when: "POST /orders " + basket,
		status: 201, sent: map[string]string{"Location": "/orders/order-1", "ETag": `"1"`, "Content-Type": "application/json",
			"X-Request-Id": "req-1"},
		want: orderJSON("pending", 1, `{"productId":"1111","amount":3}`),
	},
	{
		name: "an order may start without items", when: `POST /orders {"buyerId":"9999"}`,
		status: 201, want: orderJSON("pending", 1, ""),
	},
	{
		name: "lines of one product become one",
		when: `POST /orders {"buyerId":"9999","items":[{"productId":"1","amount":1},{"productId":"1",` +
			`"amount":2}]}`,
		status: 201, want: orderJSON("pending", 1, `{"productId":"1","amount":3}`),
	},
	{
		name: "the charset may be named", when: "POST /orders " + basket,
		header: map[string]string{"Content-Type": "application/json; charset=UTF-8"},
		status: 201, want: orderJSON("pending", 1, `{"productId":"1111","amount":3}`),
	},
	{
		name: "text is not HTML", when: `POST /orders {"buyerId":"9999","items":[{"productId":"<b>&ü","amount":1}]}`,
		status: 201, want: orderJSON("pending", 1, `{"productId":"<b>&ü","amount":1}`),
	},
	{
		name:   "a whole number is one however it is written",
		when:   `POST /orders {"buyerId":"9999","items":[{"productId":"1","amount":1e3},{"productId":"2","amount":2.0}]}`,
		status: 201, want: orderJSON("pending", 1, `{"productId":"1","amount":1000},{"productId":"2","amount":2}`),
	},
	{
		name: "a fraction is not an amount",
		when: `POST /orders {"buyerId":"9999","items":[{"productId":"1","amount":1},{"productId":"2",` +
			`"amount":1.5}]}`,
		status: 400, sent: map[string]string{"Content-Type": "application/problem+json"},
		want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"/items/1/amount","detail":"must be a whole number, not a fraction"}`),
	},
	{
		name: "a string is not an amount", when: `POST /orders {"buyerId":"9999","items":[{"productId":"1","amount":"3"}]}`,
		status: 400, want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"/items/0/amount","detail":"must be a whole number, not a string"}`),
	},
	{
		name: "null is no value", when: `POST /orders {"buyerId":null}`,
		status: 400, want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"/buyerId","detail":"must be a string, not null"}`),
	},
	{
		name: "an object is not a list", when: `POST /orders {"buyerId":"9999","items":{}}`,
		status: 400, want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"/items","detail":"must be an array, not an object"}`),
	},
	{
		name: "the body itself must be an object", when: `POST /orders [1]`,
		status: 400, want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"","detail":"must be an object, not an array"}`),
	},
	{
		name:   "unknown fields are refused",
		when:   `POST /orders {"buyerId":"9999","items":[{"productId":"1","amount":1,"colour":{"deep":[1]}}]}`,
		status: 400, want: problem(400, "unknown-field", "Unknown field", "The body has a field that is not known.",
			`{"pointer":"/items/0/colour","detail":"is not known here; known are amount, productId"}`),
	},
	{
		name: "names are spelled exactly", when: `POST /orders {"BuyerID":"9999"}`,
		status: 400, want: problem(400, "unknown-field", "Unknown field", "The body has a field that is not known.",
			`{"pointer":"/BuyerID","detail":"is not known here; known are buyerId, items"}`),
	},
	{
		name: "a pointer escapes what it must", when: `POST /orders {"a/b~c":1}`,
		status: 400, want: problem(400, "unknown-field", "Unknown field", "The body has a field that is not known.",
			`{"pointer":"/a~1b~0c","detail":"is not known here; known are buyerId, items"}`),
	},
	{
		name: "a long name is sent back", when: `POST /orders {"` + strings.Repeat("n", 64) + `":1}`,
		status: 400, want: problem(400, "unknown-field", "Unknown field", "The body has a field that is not known.",
			`{"pointer":"/`+strings.Repeat("n", 64)+`","detail":"is not known here; known are buyerId, items"}`),
	},
	{
		name: "an endless name is not sent back", when: `POST /orders {"` + strings.Repeat("n", 65) + `":1}`,
		status: 400, want: problem(400, "unknown-field", "Unknown field", "The body has a field that is not known.",
			`{"pointer":"","detail":"has a field that is not known here; known are buyerId, items"}`),
	},
	{
		name: "a field stands once", when: `POST /orders {"buyerId":"9999","buyerId":"8888"}`,
		status: 400, want: problem(400, "duplicate-field", "Duplicate field", "The body has a field twice.",
			`{"pointer":"/buyerId","detail":"stands here twice"}`),
	},
	{
		name: "JSON must be well-formed", when: `POST /orders {"buyerId":9999,}`,
		status: 400, want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"/buyerId","detail":"must be a string, not a number"}`),
	},
	{
		name: "a comma too many is malformed", when: `POST /orders {"buyerId":"9999",}`,
		status: 400, want: problem(400, "malformed-json", "Malformed JSON", "The JSON is malformed at byte 18.", ""),
	},
	{
		name: "JSON that ends early is malformed", when: `POST /orders {"buyerId":"9999"`,
		status: 400, want: problem(400, "malformed-json", "Malformed JSON", "The JSON ends too early.", ""),
	},
	{
		name: "nothing may follow the JSON", when: `POST /orders {"buyerId":"9999"} {}`,
		status: 400, want: problem(400, "malformed-json", "Malformed JSON", "Something follows the JSON value.", ""),
	},
	{
		name: "not even a bracket may follow", when: `POST /orders {"buyerId":"9999"}}`,
		status: 400, want: problem(400, "malformed-json", "Malformed JSON", "Something follows the JSON value.", ""),
	},
	{
		name: "text is UTF-8", when: "POST /orders {\"buyerId\":\"\xff\"}",
		status: 400, want: problem(400, "malformed-json", "Malformed JSON", "The JSON is malformed at byte 13.", ""),
	},
	{
		name: "half a surrogate pair is no text", when: `POST /orders {"buyerId":"\\\ud83d\udED2\ud800"}`,
		status: 400, want: problem(400, "malformed-json", "Malformed JSON", "The JSON is malformed at byte 27.", ""),
	},
	{
		name: "a whole one is", when: `POST /orders {"buyerId":"9999","items":[{"productId":"\\ud800\ud83d\udED2","amount":3}]}`,
		status: 201, want: orderJSON("pending", 1, `{"productId":"\\ud800🛒","amount":3}`),
	},
	{
		name: "what is nested deeply is not followed", when: "POST /orders " + `{"buyerId":"9999","items":` + strings.Repeat("[", 30_000) +
			strings.Repeat("]", 30_000) + "}",
		status: 400, want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"/items/0","detail":"must be an object, not an array"}`),
	},
	{
		name:   "nor in a field that is not known",
		when:   "POST /orders " + `{"x":` + strings.Repeat(`{"x":`, 10_000) + strings.Repeat("}", 10_001),
		status: 400, want: problem(400, "unknown-field", "Unknown field", "The body has a field that is not known.",
			`{"pointer":"/x","detail":"is not known here; known are buyerId, items"}`),
	},
	{
		name: "a body is needed", when: "POST /orders",
		status: 400, want: problem(400, "malformed-json", "Malformed JSON", "The body is empty; a JSON object is needed.", ""),
	},
	{
		name: "the body must be declared", when: "POST /orders " + basket, header: map[string]string{"Content-Type": ""},
		status: 415, want: problem(415, "not-json", "Not JSON",
			"Send the body as Content-Type: application/json, in UTF-8 and not compressed.", ""),
	},
	{
		name: "a form is not JSON", when: "POST /orders " + basket,
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
		status: 415, want: problem(415, "not-json", "Not JSON",
			"Send the body as Content-Type: application/json, in UTF-8 and not compressed.", ""),
	},
	{
		name: "a charset means nothing", when: "POST /orders " + basket,
		header: map[string]string{"Content-Type": "application/json; charset=utf8"},
		status: 201, want: orderJSON("pending", 1, `{"productId":"1111","amount":3}`),
	},
	{
		name: "nor does any other parameter", when: "POST /orders " + basket,
		header: map[string]string{"Content-Type": `Application/JSON; charset=latin1; profile="x y"`},
		status: 201, want: orderJSON("pending", 1, `{"productId":"1111","amount":3}`),
	},
	{
		name: "text in another charset is malformed", when: "POST /orders {\"buyerId\":\"caf\xe9\"}",
		header: map[string]string{"Content-Type": "application/json; charset=latin1"},
		status: 400, want: problem(400, "malformed-json", "Malformed JSON", "The JSON is malformed at byte 16.", ""),
	},
	{
		name: "a media type that cannot be read is not JSON", when: "POST /orders " + basket,
		header: map[string]string{"Content-Type": "application/json; charset"},
		status: 415, want: problem(415, "not-json", "Not JSON",
			"Send the body as Content-Type: application/json, in UTF-8 and not compressed.", ""),
	},
	{
		name: "compressed bodies are not taken", when: "POST /orders " + basket, header: map[string]string{"Content-Encoding": "gzip"},
		status: 415, want: problem(415, "not-json", "Not JSON",
			"Send the body as Content-Type: application/json, in UTF-8 and not compressed.", ""),
	},
	{
		name: "a body has a limit", when: "POST /orders " + strings.Repeat(" ", 64<<10) + basket,
		status: 413, want: problem(413, "body-too-large", "Body too large", "A body may have at most 65536 bytes.", ""),
	},
	{
		name: "all missing fields are named at once", when: `POST /orders {"items":[{"amount":1},{"productId":"1"}]}`,
		status: 422, want: problem(422, "missing-field", "Missing field", "The body lacks a field.",
			`{"pointer":"/items/0/productId","detail":"is required"},{"pointer":"/items/1/amount","detail":"is required"},{"pointer":"/buyerId",`+
				`"detail":"is required"}`),
	},
	{
		name: "a buyer has a name", when: `POST /orders {"buyerId":""}`,
		status: 422, want: problem(422, "invalid-id", "Invalid id", "Id must have 1 to 64 characters.",
			`{"pointer":"/buyerId","detail":"id must have 1 to 64 characters"}`),
	},
	{
		name: "a product id has a limit", when: `POST /orders {"buyerId":"9","items":[{"productId":"` + strings.Repeat("p", 65) +
			`","amount":1}]}`,
		status: 422, want: problem(422, "invalid-id", "Invalid id", "Id must have 1 to 64 characters.",
			`{"pointer":"/items/0/productId","detail":"id must have 1 to 64 characters"}`),
	},
	{
		name: "a buyer's name is not blank", when: `POST /orders {"buyerId":" \u3000"}`,
		status: 422, want: problem(422, "invalid-id", "Invalid id", "Id must not consist of blanks.",
			`{"pointer":"/buyerId","detail":"id must not consist of blanks"}`),
	},
	{
		name: "a product id has no blank at its end", when: `POST /orders {"buyerId":"9","items":[{"productId":"1 ","amount":1}]}`,
		status: 422, want: problem(422, "invalid-id", "Invalid id", "Id must not begin or end with a blank.",
			`{"pointer":"/items/0/productId","detail":"id must not begin or end with a blank"}`),
	},
	{
		name: "a product id has no byte order mark", when: `POST /orders {"buyerId":"9","items":[{"productId":"\ufeff1","amount":1}]}`,
		status: 422, want: problem(422, "invalid-id", "Invalid id", "Id must not have an invisible space (U+200B, U+2060, U+FEFF).",
			`{"pointer":"/items/0/productId","detail":"id must not have an invisible space (U+200B, U+2060, U+FEFF)"}`),
	},
	{
		name: "a buyer is no step in a path", when: `POST /orders {"buyerId":".."}`,
		status: 422, want: problem(422, "invalid-id", "Invalid id", `Id must not be \".\" or \"..\".`,
			`{"pointer":"/buyerId","detail":"id must not be \".\" or \"..\""}`),
	},
	{
		name: "é in two forms is two products", when: `POST /orders {"buyerId":"9999","items":[{"productId":"\u00e9","amount":1},` +
			`{"productId":"e\u0301","amount":2}]}`,
		status: 201, want: orderJSON("pending", 1, "{\"productId\":\"\u00e9\",\"amount\":1},{\"productId\":\"e\u0301\",\"amount\":2}"),
	},
	{
		name:   "a number just below an amount is a fraction",
		when:   `POST /orders {"buyerId":"9","items":[{"productId":"1","amount":0.99999999999999999999}]}`,
		status: 400, want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"/items/0/amount","detail":"must be a whole number, not a fraction"}`),
	},
	{
		name: "an exponent may be huge", when: `POST /orders {"buyerId":"9","items":[{"productId":"1","amount":1e1000000}]}`,
		status: 422, want: problem(422, "invalid-amount", "Invalid amount", "Amount must be from 1 to 1000000.",
			`{"pointer":"/items/0/amount","detail":"amount must be from 1 to 1000000"}`),
	},
	{
		name:   "amounts are positive",
		when:   `POST /orders {"buyerId":"9","items":[{"productId":"1","amount":1},{"productId":"2","amount":0}]}`,
		status: 422, want: problem(422, "invalid-amount", "Invalid amount", "Amount must be from 1 to 1000000.",
			`{"pointer":"/items/1/amount","detail":"amount must be from 1 to 1000000"}`),
	},
	{
		name:   "an amount that no computer word holds is too large, not malformed",
		when:   `POST /orders {"buyerId":"9","items":[{"productId":"1","amount":123456789012345678901234567890}]}`,
		status: 422, want: problem(422, "invalid-amount", "Invalid amount", "Amount must be from 1 to 1000000.",
			`{"pointer":"/items/0/amount","detail":"amount must be from 1 to 1000000"}`),
	},
	{
		name: "so is one that no float holds", when: `POST /orders {"buyerId":"9","items":[{"productId":"1","amount":-1e999}]}`,
		status: 422, want: problem(422, "invalid-amount", "Invalid amount", "Amount must be from 1 to 1000000.",
			`{"pointer":"/items/0/amount","detail":"amount must be from 1 to 1000000"}`),
	},
	{
		name: "an order has at most 500 lines", when: `POST /orders {"buyerId":"9","items":[` + lines(501) + `]}`,
		status: 422, want: problem(422, "too-many-items", "Too many items", "Order may have at most 500 items.",
			`{"pointer":"/items/500","detail":"order may have at most 500 items"}`),
	},

	// GET /orders/{id}
	{
		name: "an order is read", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1",
		status: 200, sent: map[string]string{"ETag": `"1"`, "Content-Type": "application/json"}, want: orderJSON("pending", 1,
			`{"productId":"1111","amount":3}`),
	},
	{
		name: "HEAD is GET without the body", given: []string{"POST /orders " + basket}, when: "HEAD /orders/order-1",
		status: 200, sent: map[string]string{"ETag": `"1"`, "Content-Length": "185"},
	},
	{
		name: "an unknown order is not found", when: "GET /orders/order-1",
		status: 404, want: problem(404, "order-not-found", "Order not found", "There is no order with this id.", ""),
	},
	{
		name: "an id that is too long is not found", when: "GET /orders/" + strings.Repeat("o", 65),
		status: 404, want: problem(404, "order-not-found", "Order not found",
			"There is no order with this id: an id must have 1 to 64 characters.", ""),
	},
	{
		name: "an id that is no text is not found", when: "GET /orders/%ff",
		status: 404, want: problem(404, "order-not-found", "Order not found",
			"There is no order with this id: an id must be valid UTF-8.", ""),
	},
	{
		name: "an empty id is no path", when: "GET /orders/",
		status: 404, want: problem(404, "no-such-path", "No such path", "Nothing is served under this path.", ""),
	},
	{
		name: "an empty id in the middle is not found", when: "POST /orders//pay",
		status: 404, want: problem(404, "order-not-found", "Order not found",
			"There is no order with this id: an id must have 1 to 64 characters.", ""),
	},

	// GET /orders; orders_list_test.go has the rest
	{
		name: "a buyer without orders has an empty list", when: "GET /orders?buyerId=9999",
		status: 200, sent: map[string]string{"Link": ""}, want: `{"orders":[]}`,
	},
	{
		name: "a list has a buyer's orders and no others", given: []string{"POST /orders " + basket, `POST /orders {"buyerId":"8888"}`},
		when:   "GET /orders?buyerId=9999",
		status: 200, sent: map[string]string{"Link": ""}, want: `{"orders":[` + strings.Replace(orderJSON("pending", 1,
			`{"productId":"1111","amount":3}`), `"status"`, `"totalAmount":3,"status"`, 1) + `]}`,
	},
	{
		name: "a list without a buyer has all orders", given: []string{"POST /orders " + basket}, when: "GET /orders",
		status: 200, sent: map[string]string{"Link": ""}, want: `{"orders":[` + strings.Replace(orderJSON("pending", 1,
			`{"productId":"1111","amount":3}`), `"status"`, `"totalAmount":3,"status"`, 1) + `]}`,
	},
	{
		name: "an empty buyer is not none", when: "GET /orders?buyerId=",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"buyerId","detail":"id must have 1 to 64 characters"}`),
	},
	{
		name: "a limit is a number", when: "GET /orders?buyerId=9999&limit=ten",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"limit","detail":"must be a whole number from 1 to 200"}`),
	},
	{
		name: "a limit is at least 1", when: "GET /orders?buyerId=9999&limit=0",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"limit","detail":"must be a whole number from 1 to 200"}`),
	},
	{
		name: "a limit is at most 200", when: "GET /orders?buyerId=9999&limit=201",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"limit","detail":"must be a whole number from 1 to 200"}`),
	},
	{
		name: "a limit may be 200", when: "GET /orders?buyerId=9999&limit=200",
		status: 200, sent: map[string]string{"Link": ""}, want: `{"orders":[]}`,
	},
	{
		name: "an empty limit is not none", when: "GET /orders?buyerId=9999&limit=",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"limit","detail":"must be a whole number from 1 to 200"}`),
	},
	{
		name: "a parameter comes once", when: "GET /orders?buyerId=9999&buyerId=8888",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"buyerId","detail":"may be given once"}`),
	},
	{
		name: "an empty cursor is not none", when: "GET /orders?buyerId=9999&cursor=",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"cursor","detail":"must not be empty"}`),
	},
	{
		name: "a buyer's id is one that a buyer can have", when: "GET /orders?buyerId=a%E2%80%AEb",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"buyerId","detail":"id must not have a character that sets the direction of text (U+061C, U+200E, U+200F, U+202A to `+
				`U+202E, U+2066 to U+2069)"}`),
	},
	{
		name: "an unknown parameter is refused", when: "GET /orders?buyerId=9999&statuss=paid",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"statuss","detail":"is not known here; known are buyerId, status, sort, limit, cursor, atLeastVersion"}`),
	},
	{
		name: "an unknown parameter of a command is refused", given: []string{"POST /orders " + basket},
		when:   "POST /orders/order-1/pay?by=buyer",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"by","detail":"is not known here; no parameter is"}`),
	},
	{
		name: "a parameter that cannot be printed is not sent back", when: "GET /orders/order-1?%E2%80%AE=1",
		status: 400, want: problem(400, "invalid-query", "Invalid query",
			"The query has a parameter that is not known here; known are version.", ""),
	},
	{
		name: "nor is a parameter without a name", when: "GET /orders/order-1?=1",
		status: 400, want: problem(400, "invalid-query", "Invalid query",
			"The query has a parameter that is not known here; known are version.", ""),
	},
	{
		name: "a query is well-formed", when: "GET /orders?buyerId=%zz",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "The query is not well-formed.", ""),
	},
	{
		name: "a cursor is one that was given out", when: "GET /orders?buyerId=9999&cursor=%20nonsense%20",
		status: 400, want: problem(400, "bad-cursor", "Bad cursor",
			"Use the cursor of the page before as it was given, for the same list.", ""),
	},

	// GET /orders/{id}?version=
	{
		name: "an order is shown as it was, for ever",
		given: []string{"POST /orders " + basket, "POST /orders/order-1/items {\"productId\":\"2222\",\"amount\":8}",
			"POST /orders/order-1/pay"}, when: "GET /orders/order-1?version=2",
		status: 200, sent: map[string]string{"ETag": `"2"`, "Cache-Control": "private, max-age=31536000, immutable"},
		want: orderJSON("pending", 2, `{"productId":"1111","amount":3},{"productId":"2222","amount":8}`),
	},
	{
		name: "its first version is as it was created",
		given: []string{"POST /orders " + basket, "POST /orders/order-1/items {\"productId\":\"2222\",\"amount\":8}",
			"POST /orders/order-1/pay"}, when: "GET /orders/order-1?version=1",
		status: 200, sent: map[string]string{"ETag": `"1"`}, want: orderJSON("pending", 1, `{"productId":"1111","amount":3}`),
	},
	{
		name: "its newest version is as it is",
		given: []string{"POST /orders " + basket, "POST /orders/order-1/items {\"productId\":\"2222\",\"amount\":8}",
			"POST /orders/order-1/pay"}, when: "GET /orders/order-1?version=3",
		status: 200, sent: map[string]string{"ETag": `"3"`, "Cache-Control": "private, max-age=31536000, immutable"},
		want: orderJSON("paid", 3, `{"productId":"1111","amount":3},{"productId":"2222","amount":8}`),
	},
	{
		name: "who has that version need not get it again",
		given: []string{"POST /orders " + basket, "POST /orders/order-1/items {\"productId\":\"2222\",\"amount\":8}",
			"POST /orders/order-1/pay"}, when: "GET /orders/order-1?version=2", header: map[string]string{"If-None-Match": `"2"`},
		status: 304, sent: map[string]string{"ETag": `"2"`, "Cache-Control": "private, max-age=31536000, immutable", "Content-Type": ""},
	},
	{
		name: "who has another version gets it, be it the newest",
		given: []string{"POST /orders " + basket, "POST /orders/order-1/items {\"productId\":\"2222\",\"amount\":8}",
			"POST /orders/order-1/pay"}, when: "GET /orders/order-1?version=2", header: map[string]string{"If-None-Match": `"3"`},
		status: 200, sent: map[string]string{"ETag": `"2"`}, want: orderJSON("pending", 2,
			`{"productId":"1111","amount":3},{"productId":"2222","amount":8}`),
	},
	{
		name: "who had a version is not told that the order is still at it",
		given: []string{"POST /orders " + basket, "POST /orders/order-1/items {\"productId\":\"2222\",\"amount\":8}",
			"POST /orders/order-1/pay"}, when: "GET /orders/order-1", header: map[string]string{"If-None-Match": `"2"`},
		status: 200, sent: map[string]string{"ETag": `"3"`, "Cache-Control": "private, no-cache"},
		want: orderJSON("paid", 3, `{"productId":"1111","amount":3},{"productId":"2222","amount":8}`),
	},
	{
		name: "a version that is to be another is none",
		given: []string{"POST /orders " + basket, "POST /orders/order-1/items {\"productId\":\"2222\",\"amount\":8}",
			"POST /orders/order-1/pay"}, when: "GET /orders/order-1?version=2", header: map[string]string{"If-Match": `"3"`},
		status: 412, want: problem(412, "version-mismatch", "Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""),
	},
	{
		name: "there is no version to come, not for who has it either", given: []string{"POST /orders " + basket},
		when: "GET /orders/order-1?version=2", header: map[string]string{"If-None-Match": `"2"`},
		status: 404, want: problem(404, "version-not-found", "No such version",
			"The order never was at this version. Read it without one: its version is the highest.", ""),
	},
	{
		name: "an order that is not there has no versions", when: "GET /orders/order-1?version=1",
		status: 404, want: problem(404, "order-not-found", "Order not found", "There is no order with this id.", ""),
	},
	{
		name: "there is no version 0", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1?version=0",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"version","detail":"must be a whole number from 1 to 999999999"}`),
	},
	{
		name: "a version is written in one way", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1?version=01",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"version","detail":"must be a whole number from 1 to 999999999"}`),
	},
	{
		name: "a version has at most nine digits", given: []string{"POST /orders " + basket},
		when: "GET /orders/order-1?version=1000000000", status: 400,
		want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"version","detail":"must be a whole number from 1 to 999999999"}`),
	},
	{
		name: "a version may have nine digits", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1?version=999999999",
		status: 404, want: problem(404, "version-not-found", "No such version",
			"The order never was at this version. Read it without one: its version is the highest.", ""),
	},
	{
		name: "an empty version is not none", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1?version=",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"version","detail":"must be a whole number from 1 to 999999999"}`),
	},
	{
		name: "a version comes once", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1?version=1&version=1",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"version","detail":"may be given once"}`),
	},

	// GET /orders/{id}/events
	{
		name: "what has happened to an order is told as it was published",
		given: []string{`POST /orders {"buyerId":"9999","items":[{"productId":"<ü>","amount":3}]}`,
			"POST /orders/order-1/cancel {\"reason\":\"no\"}"}, when: "GET /orders/order-1/events",
		status: 200, sent: map[string]string{"Link": "", "Content-Type": "application/json", "Cache-Control": "no-store"},
		want: `{"orderId":"order-1","version":2,"events":[` +
			event(1, "OrderCreated",
				`,"buyerId":"9999","items":[{"productId":"\u003cü\u003e","amount":3}]`) + "," + event(2,
			"OrderCancelled",
			`,"schema":2,"by":"buyer","reason":"no"`) + `],"complete":true}`,
	},
	{
		name:   "it comes in pages",
		given:  []string{"POST /orders " + basket, "POST /orders/order-1/submit", "POST /orders/order-1/pay"},
		when:   "GET /orders/order-1/events?limit=1&cursor=" + eventsCursor(1),
		status: 200, sent: map[string]string{"Link": "</orders/order-1/events?cursor=" + eventsCursor(2) + `&limit=1>; rel="next"`},
		want: `{"orderId":"order-1","version":3,"events":[` + event(2, "OrderSubmitted",
			`,"buyerId":"9999","items":[{"productId":"1111","amount":3}]`) + `],"complete":true,"nextCursor":"` + eventsCursor(2) + `"}`,
	},
	{
		name:   "the last of them leads to no other",
		given:  []string{"POST /orders " + basket, "POST /orders/order-1/pay"},
		when:   "GET /orders/order-1/events?limit=1&cursor=" + eventsCursor(1),
		status: 200, sent: map[string]string{"Link": ""}, want: `{"orderId":"order-1","version":2,"events":[` + event(2, "OrderPaid", "") +
			`],"complete":true}`,
	},
	{
		name: "HEAD tells nothing of it", given: []string{"POST /orders " + basket}, when: "HEAD /orders/order-1/events",
		status: 200, sent: map[string]string{"Content-Type": "application/json"},
	},
	{
		name: "an order that is not there has no history", when: "GET /orders/order-1/events",
		status: 404, want: problem(404, "order-not-found", "Order not found", "There is no order with this id.", ""),
	},
	{
		name: "a page of a history has a limit", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1/events?limit=201",
		status: 400, want: problem(400, "invalid-query", "Invalid query", "A query parameter is missing or invalid.",
			`{"parameter":"limit","detail":"must be a whole number from 1 to 200"}`),
	},
	{
		name: "a history has cursors of its own", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1/events?cursor=1",
		status: 400, want: problem(400, "bad-cursor", "Bad cursor",
			"Use the cursor of the page before as it was given, for the same list.", ""),
	},
	{
		name: "none of which is beyond its end", given: []string{"POST /orders " + basket},
		when:   "GET /orders/order-1/events?cursor=" + eventsCursor(2),
		status: 400, want: problem(400, "bad-cursor", "Bad cursor",
			"Use the cursor of the page before as it was given, for the same list.", ""),
	},
	{
		name: "a history cannot be written", when: "POST /orders/order-1/events",
		status: 405, sent: map[string]string{"Allow": "GET, HEAD, OPTIONS"}, want: problem(405, "method-not-allowed", "Method not allowed",
			"The header Allow lists the methods of this path.", ""),
	},

	// POST /orders/{id}/items
	{
		name: "an item is added", given: []string{"POST /orders " + basket},
		when:   `POST /orders/order-1/items {"productId":"2222","amount":8}`,
		status: 200, sent: map[string]string{"ETag": `"2"`}, want: orderJSON("pending", 2,
			`{"productId":"1111","amount":3},{"productId":"2222","amount":8}`),
	},
	{
		name: "amounts of a product add up", given: []string{"POST /orders " + basket},
		when:   `POST /orders/order-1/items {"productId":"1111","amount":8}`,
		status: 200, want: orderJSON("pending", 2, `{"productId":"1111","amount":11}`),
	},
	{
		name: "amounts add up to a limit", given: []string{"POST /orders " + basket},
		when:   `POST /orders/order-1/items {"productId":"1111","amount":1000000}`,
		status: 422, want: problem(422, "invalid-amount", "Invalid amount", "Amount must be from 1 to 1000000.",
			`{"pointer":"/amount","detail":"amount must be from 1 to 1000000"}`),
	},
	{
		name: "an added item has a product", given: []string{"POST /orders " + basket},
		when:   `POST /orders/order-1/items {"productId":"","amount":1}`,
		status: 422, want: problem(422, "invalid-id", "Invalid id", "Id must have 1 to 64 characters.",
			`{"pointer":"/productId","detail":"id must have 1 to 64 characters"}`),
	},
	{
		name: "an added item is whole", given: []string{"POST /orders " + basket}, when: `POST /orders/order-1/items {}`,
		status: 422, want: problem(422, "missing-field", "Missing field", "The body lacks a field.",
			`{"pointer":"/amount","detail":"is required"},{"pointer":"/productId","detail":"is required"}`),
	},
	{
		name: "a full order takes no other product", given: []string{`POST /orders {"buyerId":"9999","items":[` + lines(500) + `]}`},
		when:   `POST /orders/order-1/items {"productId":"other","amount":1}`,
		status: 422, want: problem(422, "too-many-items", "Too many items", "Order may have at most 500 items.", ""),
	},
	{
		name: "an item is added to an order", when: `POST /orders/order-1/items {"productId":"2222","amount":8}`,
		status: 404, want: problem(404, "order-not-found", "Order not found", "There is no order with this id.", ""),
	},
	{
		name: "a submitted order takes no items", given: []string{"POST /orders " + basket, "POST /orders/order-1/submit"},
		when:   `POST /orders/order-1/items {"productId":"2222","amount":8}`,
		status: 409, want: problem(409, "order-already-submitted", "Order already submitted",
			"A submitted order can be paid or cancelled; its items are final.", ""),
	},

	// PUT and DELETE /orders/{id}/items/{productId}
	{
		name: "an amount is changed", given: []string{"POST /orders " + basket}, when: `PUT /orders/order-1/items/1111 {"amount":1}`,
		status: 200, sent: map[string]string{"ETag": `"2"`}, want: orderJSON("pending", 2, `{"productId":"1111","amount":1}`),
	},
	{
		name: "an amount is changed within the limits", given: []string{"POST /orders " + basket},
		when:   `PUT /orders/order-1/items/1111 {"amount":0}`,
		status: 422, want: problem(422, "invalid-amount", "Invalid amount", "Amount must be from 1 to 1000000.",
			`{"pointer":"/amount","detail":"amount must be from 1 to 1000000"}`),
	},
	{
		name: "an amount is needed", given: []string{"POST /orders " + basket}, when: `PUT /orders/order-1/items/1111 {}`,
		status: 422, want: problem(422, "missing-field", "Missing field", "The body lacks a field.",
			`{"pointer":"/amount","detail":"is required"}`),
	},
	{
		name: "only an item that is there is changed", given: []string{"POST /orders " + basket},
		when:   `PUT /orders/order-1/items/2222 {"amount":1}`,
		status: 409, want: problem(409, "no-such-item", "Order has no such item", "The order has no item of this product.", ""),
	},
	{
		name: "an item is removed", given: []string{"POST /orders " + basket}, when: "DELETE /orders/order-1/items/1111",
		status: 200, sent: map[string]string{"ETag": `"2"`}, want: orderJSON("pending", 2, ""),
	},
	{
		name: "only an item that is there is removed", given: []string{"POST /orders " + basket}, when: "DELETE /orders/order-1/items/2222",
		status: 409, want: problem(409, "no-such-item", "Order has no such item", "The order has no item of this product.", ""),
	},
	{
		name: "no order has an item whose id is no text", given: []string{"POST /orders " + basket},
		when:   "DELETE /orders/order-1/items/%ff",
		status: 409, want: problem(409, "no-such-item", "Order has no such item", "The order has no item of this product.", ""),
	},
	{
		name: "a product id may hold a slash", given: []string{`POST /orders {"buyerId":"9999","items":[{"productId":"a/b","amount":3}]}`},
		when:   `PUT /orders/order-1/items/a%2Fb {"amount":1}`,
		status: 200, want: orderJSON("pending", 2, `{"productId":"a/b","amount":1}`),
	},
	{
		name: "a plus in a product id is a plus", given: []string{`POST /orders {"buyerId":"9999","items":[{"productId":"a+b c",` +
			`"amount":3}]}`}, when: `PUT /orders/order-1/items/a+b%20c {"amount":1}`,
		status: 200, want: orderJSON("pending", 2, `{"productId":"a+b c","amount":1}`),
	},
	{
		name:   "a percent sign in a product id is unescaped once",
		given:  []string{`POST /orders {"buyerId":"9999","items":[{"productId":"%41","amount":3}]}`},
		when:   `DELETE /orders/order-1/items/%2541`,
		status: 200, want: orderJSON("pending", 2, ""),
	},

	// POST /orders/{id}/submit
	{
		name: "an order is submitted", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/submit",
		status: 200, sent: map[string]string{"ETag": `"2"`}, want: orderJSON("submitted", 2, `{"productId":"1111","amount":3}`),
	},
	{
		name: "an empty object says as much as no body", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/submit {}",
		status: 200, want: orderJSON("submitted", 2, `{"productId":"1111","amount":3}`),
	},
	{
		name: "submitting takes no fields", given: []string{"POST /orders " + basket}, when: `POST /orders/order-1/submit {"now":true}`,
		status: 400, want: problem(400, "unknown-field", "Unknown field", "The body has a field that is not known.",
			`{"pointer":"/now","detail":"is not known here; no field is"}`),
	},
	{
		name: "an empty order is not submitted", given: []string{`POST /orders {"buyerId":"9999"}`}, when: "POST /orders/order-1/submit",
		status: 409, want: problem(409, "order-empty", "Order has no items",
			"Add an item first: an order without items can be neither submitted nor paid.", ""),
	},
	{
		name: "an order is submitted once", given: []string{"POST /orders " + basket, "POST /orders/order-1/submit"},
		when:   "POST /orders/order-1/submit",
		status: 409, want: problem(409, "order-already-submitted", "Order already submitted",
			"A submitted order can be paid or cancelled; its items are final.", ""),
	},

	// POST /orders/{id}/pay
	{
		name: "an order is paid", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/pay",
		status: 200, sent: map[string]string{"ETag": `"2"`}, want: orderJSON("paid", 2, `{"productId":"1111","amount":3}`),
	},
	{
		name: "an order is paid once", given: []string{"POST /orders " + basket, "POST /orders/order-1/pay"},
		when:   "POST /orders/order-1/pay",
		status: 409, want: problem(409, "order-already-paid", "Order already paid", "A paid order can no longer change.", ""),
	},
	{
		name: "an empty order is not paid", given: []string{`POST /orders {"buyerId":"9999"}`}, when: "POST /orders/order-1/pay",
		status: 409, want: problem(409, "order-empty", "Order has no items",
			"Add an item first: an order without items can be neither submitted nor paid.", ""),
	},

	// POST /orders/{id}/cancel
	{
		name: "an order is cancelled without a reason", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/cancel",
		status: 200, sent: map[string]string{"ETag": `"2"`}, want: orderJSON("cancelled", 2, `{"productId":"1111","amount":3}`),
	},
	{
		name: "null is no body where none is needed", given: []string{"POST /orders " + basket},
		when: "POST /orders/order-1/cancel  null\r\n", status: 200,
		want: orderJSON("cancelled", 2, `{"productId":"1111","amount":3}`),
	},
	{
		name: "null is no body where one is needed", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/items null",
		status: 400, want: problem(400, "wrong-type", "Wrong type", "The body has a value of the wrong type.",
			`{"pointer":"","detail":"must be an object, not null"}`),
	},
	{
		name: "an order is cancelled for a reason", given: []string{"POST /orders " + basket},
		when:   `POST /orders/order-1/cancel {"reason":"changed my mind"}`,
		status: 200, want: orderJSON("cancelled", 2, `{"productId":"1111","amount":3}`),
	},
	{
		name:   "an order is cancelled by the system",
		given:  []string{"POST /orders " + basket, `POST /orders/order-1/cancel {"by":"system"}`},
		when:   "GET /orders/order-1/events?cursor=" + eventsCursor(1),
		status: 200, want: `{"orderId":"order-1","version":2,"events":[` + event(2, "OrderCancelled",
			`,"schema":2,"by":"system","reason":""`) + `],"complete":true}`,
	},
	{
		name: "nobody else cancels", given: []string{"POST /orders " + basket}, when: `POST /orders/order-1/cancel {"by":"admin"}`,
		status: 422, want: problem(422, "invalid-cancelled-by", "Invalid canceller", "By must be buyer or system.",
			`{"pointer":"/by","detail":"by must be buyer or system"}`),
	},
	{
		name: "an empty word is nobody", given: []string{"POST /orders " + basket},
		when:   `POST /orders/order-1/cancel {"by":"","reason":"no"}`,
		status: 422, want: problem(422, "invalid-cancelled-by", "Invalid canceller", "By must be buyer or system.",
			`{"pointer":"/by","detail":"by must be buyer or system"}`),
	},
	{
		name: "a reason has no terminal's commands", given: []string{"POST /orders " + basket},
		when:   `POST /orders/order-1/cancel {"reason":"\u001b[2J"}`,
		status: 422, want: problem(422, "invalid-reason", "Invalid reason",
			"Reason may have at most 500 characters of valid UTF-8, no control characters but line breaks and tabs.",
			`{"pointer":"/reason","detail":"reason may have at most 500 characters of valid UTF-8, no control characters but line breaks and `+
				`tabs"}`),
	},
	{
		name: "a reason has a limit", given: []string{"POST /orders " + basket}, when: `POST /orders/order-1/cancel {"reason":"` +
			strings.Repeat("r", 501) + `"}`,
		status: 422, want: problem(422, "invalid-reason", "Invalid reason",
			"Reason may have at most 500 characters of valid UTF-8, no control characters but line breaks and tabs.",
			`{"pointer":"/reason","detail":"reason may have at most 500 characters of valid UTF-8, no control characters but line breaks and `+
				`tabs"}`),
	},
	{
		name: "a cancelled order is not paid", given: []string{"POST /orders " + basket, "POST /orders/order-1/cancel"},
		when:   "POST /orders/order-1/pay",
		status: 409, want: problem(409, "order-already-cancelled", "Order already cancelled",
			"A cancelled order can no longer change.", ""),
	},

	// If-Match
	{
		name: "a command with the current version is carried out", given: []string{"POST /orders " + basket},
		when:   "POST /orders/order-1/pay",
		header: map[string]string{"If-Match": `"1"`},
		status: 200, want: orderJSON("paid", 2, `{"productId":"1111","amount":3}`),
	},
	{
		name: "a command with a stale version is not", given: []string{"POST /orders " + basket, "POST /orders/order-1/submit"},
		when: "POST /orders/order-1/pay", header: map[string]string{"If-Match": `"1"`},
		status: 412, want: problem(412, "version-mismatch", "Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""),
	},
	{
		name: "a star is any version", given: []string{"POST /orders " + basket, "POST /orders/order-1/submit"},
		when: "POST /orders/order-1/pay", header: map[string]string{"If-Match": "*"},
		status: 200, want: orderJSON("paid", 3, `{"productId":"1111","amount":3}`),
	},
	{
		name: "one of several versions will do", given: []string{"POST /orders " + basket, "POST /orders/order-1/submit"},
		when: "POST /orders/order-1/pay", header: map[string]string{"If-Match": `"1", "2"`},
		status: 200, want: orderJSON("paid", 3, `{"productId":"1111","amount":3}`),
	},
	{
		name: "none of several versions will not", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/pay",
		header: map[string]string{"If-Match": `"2", "3"`},
		status: 412, want: problem(412, "version-mismatch", "Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""),
	},
	{
		name: "a weak tag never matches", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/pay",
		header: map[string]string{"If-Match": `W/"1"`},
		status: 412, want: problem(412, "version-mismatch", "Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""),
	},
	{
		name: "a tag of another kind never matches", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/pay",
		header: map[string]string{"If-Match": `"abc"`},
		status: 412, want: problem(412, "version-mismatch", "Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""),
	},
	{
		name: "a tag has quotes", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/pay",
		header: map[string]string{"If-Match": "1"},
		status: 400, want: problem(400, "bad-if-match", "Malformed If-Match",
			`If-Match takes the ETag of an order as it was given, such as \"7\" with its quotes, or *.`, ""),
	},
	{
		name: "an order that is not there has no version", when: "POST /orders/order-1/pay", header: map[string]string{"If-Match": `W/"1"`},
		status: 404, want: problem(404, "order-not-found", "Order not found", "There is no order with this id.", ""),
	},

	{
		name: "a read may ask for a version too", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1",
		header: map[string]string{"If-Match": `"2"`},
		status: 412, want: problem(412, "version-mismatch", "Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""),
	},

	// If-None-Match
	{
		name: "an order that is known already is not sent", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1",
		header: map[string]string{"If-None-Match": `"1"`},
		status: 304, sent: map[string]string{"ETag": `"1"`, "Cache-Control": "private, no-cache", "Content-Type": "",
			"X-Request-Id": "req-1"},
	},
	{
		name: "nor its head", given: []string{"POST /orders " + basket}, when: "HEAD /orders/order-1",
		header: map[string]string{"If-None-Match": `"1"`},
		status: 304, sent: map[string]string{"ETag": `"1"`},
	},
	{
		name: "a weak tag will do to know it", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1",
		header: map[string]string{"If-None-Match": `"7", W/"1"`},
		status: 304, sent: map[string]string{"ETag": `"1"`},
	},
	{
		name: "a star is every order", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1",
		header: map[string]string{"If-None-Match": "*"},
		status: 304, sent: map[string]string{"ETag": `"1"`},
	},
	{
		name: "an order that has changed is sent", given: []string{"POST /orders " + basket, "POST /orders/order-1/pay"},
		when: "GET /orders/order-1", header: map[string]string{"If-None-Match": `"1"`},
		status: 200, sent: map[string]string{"ETag": `"2"`, "Cache-Control": "private, no-cache"}, want: orderJSON("paid", 2,
			`{"productId":"1111","amount":3}`),
	},
	{
		name: "an order that is not there is not known", when: "GET /orders/order-1", header: map[string]string{"If-None-Match": "*"},
		status: 404, want: problem(404, "order-not-found", "Order not found", "There is no order with this id.", ""),
	},
	{
		name: "a tag has quotes here as well", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1",
		header: map[string]string{"If-None-Match": "1"},
		status: 400, want: problem(400, "bad-if-none-match", "Malformed If-None-Match",
			`If-None-Match takes the ETag of an order as it was given, such as \"7\" with its quotes, or *.`, ""),
	},
	{
		name: "a command may exclude a version", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/pay",
		header: map[string]string{"If-None-Match": `"1"`},
		status: 412, want: problem(412, "version-mismatch", "Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""),
	},
	{
		name: "and is carried out at another", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/pay",
		header: map[string]string{"If-None-Match": `"2"`},
		status: 200, want: orderJSON("paid", 2, `{"productId":"1111","amount":3}`),
	},
	{
		name: "If-Match comes first", given: []string{"POST /orders " + basket}, when: "GET /orders/order-1",
		header: map[string]string{"If-Match": `"2"`, "If-None-Match": `"1"`},
		status: 412, want: problem(412, "version-mismatch", "Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""),
	},

	// Idempotency-Key
	{
		name: "a key has a form", when: "POST /orders " + basket, header: map[string]string{"Idempotency-Key": `"a" "b"`},
		status: 400, sent: map[string]string{"Content-Type": "application/problem+json"},
		want: problem(400, "bad-idempotency-key", "Malformed Idempotency-Key",
			`Idempotency-Key takes one string of 1 to 255 visible ASCII characters, none of them a quote or a backslash, such as `+
				`\"8e03978e-40d5-43dd-bc93-6894a57f9324\"; its quotes may be left out.`, ""),
	},
	{
		name: "a command may come with a key", given: []string{"POST /orders " + basket}, when: "POST /orders/order-1/pay",
		header: map[string]string{"Idempotency-Key": `"key-1"`},
		status: 200, sent: map[string]string{"ETag": `"2"`}, want: orderJSON("paid", 2, `{"productId":"1111","amount":3}`),
	},

	// Paths and methods
	{
		name: "an unknown path is a problem too", when: "GET /order",
		status: 404, sent: map[string]string{"Content-Type": "application/problem+json", "X-Request-Id": "req-1"},
		want: problem(404, "no-such-path", "No such path", "Nothing is served under this path.", ""),
	},
	{
		name: "a path is not redirected", when: "POST /orders/order-1/pay/",
		status: 404, want: problem(404, "no-such-path", "No such path", "Nothing is served under this path.", ""),
	},
	{
		name: "an item has a path", when: "DELETE /orders/order-1/items/",
		status: 404, want: problem(404, "no-such-path", "No such path", "Nothing is served under this path.", ""),
	},
	{
		name: "a wrong method names the right ones", when: "PATCH /orders/order-1",
		status: 405, sent: map[string]string{"Allow": "GET, HEAD, OPTIONS", "Content-Type": "application/problem+json"},
		want: problem(405, "method-not-allowed", "Method not allowed", "The header Allow lists the methods of this path.", ""),
	},
	{
		name: "a wrong method of the list names the right ones", when: "DELETE /orders",
		status: 405, sent: map[string]string{"Allow": "GET, HEAD, POST, OPTIONS"},
		want: problem(405, "method-not-allowed", "Method not allowed", "The header Allow lists the methods of this path.", ""),
	},
	{
		name: "a wrong method of an item names the right ones", when: "GET /orders/order-1/items/1111",
		status: 405, sent: map[string]string{"Allow": "PUT, DELETE, OPTIONS"},
		want: problem(405, "method-not-allowed", "Method not allowed", "The header Allow lists the methods of this path.", ""),
	},
	{
		name: "a command is posted", when: "GET /orders/order-1/pay",
		status: 405, sent: map[string]string{"Allow": "POST, OPTIONS"},
		want: problem(405, "method-not-allowed", "Method not allowed", "The header Allow lists the methods of this path.", ""),
	},

	{
		name: "OPTIONS asks for the methods of a path", when: "OPTIONS /orders/order-1",
		status: 204, sent: map[string]string{"Allow": "GET, HEAD, OPTIONS", "Content-Type": ""},
	},
	{
		name: "OPTIONS of a path that is not served is not found", when: "OPTIONS /order",
		status: 404, want: problem(404, "no-such-path", "No such path", "Nothing is served under this path.", ""),
	},

	// Health
	{name: "the process lives", when: "GET /livez", status: 200, want: `{"status":"ok"}`},
	{name: "the service is ready", when: "GET /readyz", status: 200, want: `{"status":"ready"}`},
}

func TestEveryEndpointAndStatus(t *testing.T) {
	overEachStore(t, func(t *testing.T, fresh func(*testing.T) opened) {
		for _, x := range exchanges {
			t.Run(x.name, func(t *testing.T) {
				api := newAPIOver(fresh(t).OrderStore, httpapi.Options{})
				for _, line := range x.given {
					if answer := do(api, line, nil); answer.Code/100 != 2 {
						t.Fatalf("given %s: %d %s", line, answer.Code, answer.Body)
					}
				}
				before := ""
				if x.status >= 300 {
					before = everything(api)
				}
				answer := do(api, x.when, x.header)
				wantAnswer(t, answer, x.status, x.want)
				for name, want := range x.sent {
					if got := answer.Header().Get(name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				if x.status < 300 {
					return
				}
				if after := everything(api); after != before { // what is refused is refused as a whole
					t.Errorf("before the refusal there was\n%s\nand after it\n%s", before, after)
				}
			})
		}
	})
}

// everything that the orders of an exchange are.
func everything(api http.Handler) string {
	var all strings.Builder
	for _, path := range []string{"/orders?buyerId=9999", "/orders?buyerId=9", "/orders/order-1/events", "/orders/order-2/events"} {
		all.WriteString(do(api, "GET "+path, nil).Body.String())
	}
	return all.String()
}

func TestPagesFollowTheirLinks(t *testing.T) {
	api := newAPI()
	var want, got []string
	for i := range 5 {
		do(api, `POST /orders {"buyerId":"a&b ü"}`, nil)
		want = append(want, fmt.Sprintf("order-%d", i+1))
	}
	path, pages := "/orders?buyerId=a%26b+%C3%BC&limit=2", 0
	for path != "" {
		answer := do(api, "GET "+path, nil)
		var page struct {
			Orders     []struct{ ID string }
			NextCursor string
		}
		unmarshal(t, answer.Body.Bytes(), &page)
		for _, o := range page.Orders {
			got = append(got, o.ID)
		}
		link := answer.Header().Get("Link")
		if (link == "") != (page.NextCursor == "") {
			t.Fatalf("Link %q and nextCursor %q do not agree", link, page.NextCursor)
		}
		path = nextPath(answer)
		if pages++; pages > 5 {
			t.Fatal("the links go round in circles")
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("pages held %v, want %v", got, want)
	}
	if pages < 3 {
		t.Errorf("5 orders in %d pages of at most 2", pages)
	}
}

func newAPI() http.Handler { return newAPIOver(memory.NewStore(), httpapi.Options{}) }

func newHandler(orders ports.Orders, log io.Writer) http.Handler {
	if log == nil {
		log = io.Discard
	}
	return described.watch(httpapi.New(httpapi.Options{
		Orders: orders,
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}))
}

// do sends "METHOD path body". A body is declared as JSON; header can say otherwise, "" takes a header away.
func do(h http.Handler, line string, header map[string]string) *httptest.ResponseRecorder {
	method, rest, _ := strings.Cut(line, " ")
	path, body, _ := strings.Cut(rest, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Request-Id", "req-1")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		if value == "" {
			r.Header.Del(name)
		} else {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	described.watch(h).ServeHTTP(w, r)
	if method == http.MethodHead {
		w.Body.Reset() // as the server does
	}
	return w
}

// eventsCursor is the cursor after a version of order-1.
func eventsCursor(version int64) string {
	return ports.EncodeCursor("events of order order-1", version)
}

func orderJSON(status string, version int, items string) string {
	return fmt.Sprintf(`{"id":"order-1","buyerId":"9999","items":[%s],"status":%q,"version":%d,"createdAt":%q,"updatedAt":%q}`,
		items, status, version, noon, noon)
}

func event(version int, typeName, rest string) string {
	return fmt.Sprintf(`{"id":"order-1/%d","type":%q,"version":%d,"occurredAt":%q,"data":{"orderId":"order-1","version":%d,`+
		`"occurredAt":"2026-03-01T12:00:00Z"%s}}`,
		version, typeName, version, noon, version, rest)
}

func problem(status int, code, title, detail, errors string) string {
	if errors != "" {
		errors = `,"errors":[` + errors + `]`
	}
	return fmt.Sprintf(`{"type":"/problems/%s","title":"%s","status":%d,"detail":"%s","code":"%s","requestId":"req-1"%s}`,
		code, title, status, detail, code, errors)
}

func lines(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"productId":"p%d","amount":1}`, i)
	}
	return strings.Join(all, ",")
}

func mustTime(s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return at
}
