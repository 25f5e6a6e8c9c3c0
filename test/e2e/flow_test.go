package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hexorders/test/checker"
)

// What the README's reader does with curl: every answer whole, then every message whole.
func TestAnOrderPlacedOverHTTPReachesKafka(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	p := w.serve("serve")
	placeAndPay(t, w)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
}

func placeAndPay(t testing.TB, w *world) {
	t.Helper()
	f := &flow{t: t, client: w.client()}

	const items1 = `[{"productId":"1111","amount":3}]`
	const items2 = `[{"productId":"1111","amount":3},{"productId":"2222","amount":8}]`
	const items3 = `[{"productId":"1111","amount":1},{"productId":"2222","amount":8}]`
	const items4 = `[{"productId":"2222","amount":8}]`
	f.does("POST", "/orders", `{"buyerId":"9999","items":`+items1+`}`, 201, "pending", items1)
	f.does("POST", "/orders/ID/items", `{"productId":"2222","amount":8}`, 200, "pending", items2)
	f.does("PUT", "/orders/ID/items/1111", `{"amount":1}`, 200, "pending", items3)
	f.does("DELETE", "/orders/ID/items/1111", ``, 200, "pending", items4)
	f.does("POST", "/orders/ID/submit", ``, 200, "submitted", items4)
	f.refused("POST", "/orders/ID/items", `{"productId":"3333","amount":1}`, "order-already-submitted",
		"Order already submitted", "A submitted order can be paid or cancelled; its items are final.")
	f.does("POST", "/orders/ID/pay", ``, 200, "paid", items4)
	f.refused("POST", "/orders/ID/cancel", `{"reason":"too late"}`, "order-already-paid",
		"Order already paid", "A paid order can no longer change.")
	f.reads("/orders/ID", f.last)
	summary := strings.Replace(f.last, `"status"`, `"totalAmount":8,"status"`, 1)
	summary = strings.TrimSuffix(summary, "}") + fmt.Sprintf(`,"submittedAt":%q,"paidAt":%q}`, f.times[4], f.times[5])
	f.readsInView("/orders?buyerId=9999&atLeastVersion=ID/6", `{"orders":[`+summary+`]}`)
	f.readsInView("/orders?buyerId=9999&status=pending&atLeastVersion=ID/6", `{"orders":[]}`)
	f.readsInView("/buyers/9999/activity?atLeastVersion=ID/6",
		fmt.Sprintf(`{"buyerId":"9999","pending":0,"submitted":0,"paid":1,"cancelled":0,"lastAt":%q}`, f.times[5]))
	texts := []string{"created for buyer 9999, with 1 item", "8 × 2222 added", "amount of 1111 changed to 1",
		"1111 removed", "submitted with 1 item", "paid"}
	types := []string{"OrderCreated", "OrderItemAdded", "OrderAmountChanged", "OrderItemRemoved", "OrderSubmitted", "OrderPaid"}
	entries := make([]string, len(types))
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"version":%d,"type":%q,"occurredAt":%q,"text":%q}`, i+1, types[i], f.times[i], texts[i])
	}
	f.readsInView("/orders/ID/timeline?atLeastVersion=6", fmt.Sprintf(`{"orderId":%q,"entries":[%s]}`, f.id, strings.Join(entries, ",")))

	given := &flow{t: t, client: f.client}
	given.does("POST", "/orders", `{"buyerId":"9999"}`, 201, "pending", `[]`)
	given.does("POST", "/orders/ID/cancel", `{"by":"system","reason":"not paid in time"}`, 200, "cancelled", `[]`)

	w.complete()
	h, _ := w.judge(0, map[string]int{f.id: 6, given.id: 2})
	given.published(h.Topic, []published{
		{"OrderCreated", `"buyerId":"9999","items":[]`},
		{"OrderCancelled", `"schema":2,"by":"system","reason":"not paid in time"`},
	})
	f.published(h.Topic, []published{
		{"OrderCreated", `"buyerId":"9999","items":` + items1},
		{"OrderItemAdded", `"productId":"2222","amount":8`},
		{"OrderAmountChanged", `"productId":"1111","amount":1`},
		{"OrderItemRemoved", `"productId":"1111"`},
		{"OrderSubmitted", `"buyerId":"9999","items":` + items4},
		{"OrderPaid", ``},
	})
	if h.Partitions != 12 {
		t.Errorf("the topic has %d partitions, want 12", h.Partitions)
	}
}

// flow is one order's way through the API.
type flow struct {
	t       testing.TB
	client  *client
	id      string
	created string   // createdAt
	times   []string // updatedAt of each version
	last    string   // the order as the API last answered it
}

// traceParent is sent with every command and must come out of Kafka.
func traceParent(version int) string {
	return fmt.Sprintf("00-0af7651916cd43dd8448eb211c80319c-%016x-01", version)
}

var (
	uuidV7    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
)

// does sends a command that is carried out and compares the whole answer.
func (f *flow) does(method, path, body string, status int, wantStatus, wantItems string) {
	f.t.Helper()
	version := len(f.times) + 1
	a := f.send(method, path, body, "Traceparent", traceParent(version))
	if a.status != status {
		f.t.Fatalf("%s %s: answer %s, want %d", method, path, a, status)
	}
	var got struct{ ID, CreatedAt, UpdatedAt string }
	if err := json.Unmarshal(a.body, &got); err != nil {
		f.t.Fatalf("%s %s: answer %s: %v", method, path, a, err)
	}
	if version == 1 {
		f.id, f.created = got.ID, got.CreatedAt
		if !uuidV7.MatchString(f.id) {
			f.t.Errorf("id %q is no UUIDv7", f.id)
		}
		if location := a.header.Get("Location"); location != "/orders/"+f.id {
			f.t.Errorf("Location is %q, want /orders/%s", location, f.id)
		}
	}
	if !timestamp.MatchString(got.UpdatedAt) || got.UpdatedAt < f.created {
		f.t.Errorf("updatedAt is %q, want a time from %s on", got.UpdatedAt, f.created)
	}
	f.times = append(f.times, got.UpdatedAt)
	f.last = fmt.Sprintf(`{"id":%q,"buyerId":"9999","items":%s,"status":%q,"version":%d,"createdAt":%q,"updatedAt":%q}`,
		f.id, wantItems, wantStatus, version, f.created, got.UpdatedAt)
	f.same(method+" "+path, string(a.body), f.last)
	f.header(a, "ETag", strconv.Quote(strconv.Itoa(version)))
	f.header(a, "Content-Type", "application/json")
}

// refused sends a command that a rule of the domain forbids.
func (f *flow) refused(method, path, body, code, title, detail string) {
	f.t.Helper()
	a := f.send(method, path, body, "X-Request-Id", "request-1")
	if a.status != http.StatusConflict {
		f.t.Errorf("%s %s: answer %s, want 409", method, path, a)
	}
	f.same(method+" "+path, string(a.body), fmt.Sprintf(
		`{"type":"/problems/%s","title":%q,"status":409,"detail":%q,"code":%q,"requestId":"request-1"}`,
		code, title, detail, code))
	f.header(a, "Content-Type", "application/problem+json")
}

func (f *flow) reads(path, want string) {
	f.t.Helper()
	a := f.send("GET", path, "")
	if a.status != http.StatusOK {
		f.t.Errorf("GET %s: answer %s, want 200", path, a)
	}
	f.same("GET "+path, string(a.body), want)
}

// readsInView waits until the view knows version 6.
func (f *flow) readsInView(path, want string) {
	f.t.Helper()
	var a answer
	eventually(f.t, patience, "the view of "+path+" knows the order", func() bool {
		a = f.send("GET", path, "")
		return a.header.Get("View-Version") == "6"
	})
	if age := a.header.Get("View-Age"); a.status != http.StatusOK || age == "" {
		f.t.Errorf("GET %s: answer %s with View-Age %q, want 200 and an age", path, a, age)
	}
	f.same("GET "+path, string(a.body), want)
}

func (f *flow) send(method, path, body string, header ...string) answer {
	f.t.Helper()
	path = regexp.MustCompile(`\bID\b`).ReplaceAllString(path, f.id)
	a, err := f.client.do(f.t.Context(), method, path, body, header...)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func (f *flow) header(a answer, name, want string) {
	f.t.Helper()
	if got := a.header.Get(name); got != want {
		f.t.Errorf("header %s is %q, want %q", name, got, want)
	}
}

func (f *flow) same(what, got, want string) {
	f.t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		f.t.Errorf("%s: %q: %v", what, got, err)
		return
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		f.t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		f.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// published is a message's type and what its payload has beside the envelope.
type published struct{ typeName, body string }

// published compares the topic with the order's history. The checker has compared it with the outbox; here is what a
// consumer is promised, in full.
func (f *flow) published(records []checker.Record, want []published) {
	f.t.Helper()
	records = slices.DeleteFunc(slices.Clone(records), func(r checker.Record) bool { return r.Key != f.id })
	if len(records) != len(want) {
		f.t.Fatalf("%d records of the order are in the topic, want %d", len(records), len(want))
	}
	for i, r := range records {
		version, at := i+1, instant(f.t, f.times[i])
		body := ""
		if want[i].body != "" {
			body = "," + want[i].body
		}
		f.same("value of record "+strconv.Itoa(version), r.Value, fmt.Sprintf(`{"orderId":%q,"version":%d,"occurredAt":%q%s}`,
			f.id, version, at.Format(time.RFC3339Nano), body))
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Name] = h.Value
		}
		if wantHeaders := map[string]string{
			"ce_specversion":      "1.0",
			"ce_id":               f.id + "/" + strconv.Itoa(version),
			"ce_source":           "/hexorders",
			"ce_type":             want[i].typeName,
			"ce_time":             at.Format(time.RFC3339Nano),
			"ce_subject":          f.id,
			"ce_aggregateversion": strconv.Itoa(version),
			"content-type":        "application/json",
			"traceparent":         traceParent(version),
		}; !reflect.DeepEqual(headers, wantHeaders) {
			f.t.Errorf("headers of record %d:\n got %v\nwant %v", version, headers, wantHeaders)
		}
	}
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
