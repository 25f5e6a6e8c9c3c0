package httpapi_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// Every command is sent, then the order goes on, then the same command is sent again, and again.
func TestARequestSentAgainGetsTheFirstAnswer(t *testing.T) {
	key := map[string]string{"Idempotency-Key": `"key-1"`}
	for _, command := range []string{
		"POST /orders " + basket,
		`POST /orders/order-1/items {"productId":"2222","amount":8}`,
		`PUT /orders/order-1/items/1111 {"amount":9}`,
		"DELETE /orders/order-1/items/1111",
		"POST /orders/order-1/submit",
		"POST /orders/order-1/pay",
		`POST /orders/order-1/cancel {"reason":"changed my mind"}`,
	} {
		t.Run(command, func(t *testing.T) {
			api := newAPI()
			if !strings.HasPrefix(command, "POST /orders {") {
				do(api, "POST /orders "+basket, nil)
			}
			first := do(api, command, key)
			if first.Code/100 != 2 {
				t.Fatalf("%d %s", first.Code, first.Body)
			}
			for _, next := range []string{`POST /orders/order-1/items {"productId":"3333","amount":1}`, "POST /orders/order-1/cancel"} {
				before := do(api, "GET /orders/order-1", nil).Body.String()
				sameAnswer(t, do(api, command, key), first)
				if after := do(api, "GET /orders/order-1", nil).Body.String(); after != before {
					t.Errorf("the order was\n%sand is\n%s", before, after)
				}
				do(api, next, nil) // some orders refuse it, and that is as good
			}
			list := do(api, "GET /orders?buyerId=9999", nil).Body.String()
			if n := strings.Count(list, `"id"`); n != 1 {
				t.Errorf("%d orders, want 1: %s", n, list)
			}
		})
	}
}

// Whoever changes the order between the two is no reason for another answer, whatever If-Match says.
func TestIfMatchIsOfTheFirstRequest(t *testing.T) {
	for _, match := range []string{`"1"`, `"1", "7"`, `*`} {
		api := newAPI()
		do(api, "POST /orders "+basket, nil)
		const command = `POST /orders/order-1/items {"productId":"2222","amount":8}`
		first := do(api, command, map[string]string{"Idempotency-Key": "key-1", "If-Match": match})
		if first.Code != 200 {
			t.Fatalf("If-Match: %s: %d %s", match, first.Code, first.Body)
		}
		do(api, "POST /orders/order-1/submit", nil)
		for _, again := range []string{match, `"3"`, `W/"1"`} {
			sameAnswer(t, do(api, command, map[string]string{"Idempotency-Key": "key-1", "If-Match": again}), first)
		}
	}
}

func TestWhoCancelsIsPartOfTheRequest(t *testing.T) {
	api := newAPI()
	do(api, "POST /orders "+basket, nil)
	for command, status := range map[string]int{`{"by":"buyer"}`: 422, ``: 422, `{"by":"system"}`: 200} {
		key := map[string]string{"Idempotency-Key": "key-1"}
		first := do(api, `POST /orders/order-1/cancel {"by":"system"}`, key)
		again := do(api, "POST /orders/order-1/cancel "+command, key)
		if first.Code != 200 || again.Code != status {
			t.Errorf("cancelled by the system: %d, then with %q: %d, want 200 and %d", first.Code, command, again.Code, status)
		}
	}
}

func TestADefaultThatIsWrittenOutMakesNoOtherRequest(t *testing.T) {
	for _, x := range []struct {
		path        string
		same, other []string
	}{
		{"/orders/order-1/cancel",
			[]string{"", "{}", `{"by":"buyer"}`, `{"reason":""}`, `{"reason":"","by":"buyer"}`},
			[]string{`{"by":"system"}`, `{"reason":"x"}`, `{"by":"buyer","reason":" "}`}},
		{"/orders",
			[]string{`{"buyerId":"9999"}`, `{"items":[],"buyerId":"9999"}`},
			[]string{`{"buyerId":"999"}`, `{"buyerId":"9999","items":[{"productId":"1111","amount":1}]}`}},
	} {
		api := newAPI()
		do(api, "POST /orders "+basket, nil)
		key := map[string]string{"Idempotency-Key": "key-1"}
		first := do(api, "POST "+x.path+" "+x.same[0], key)
		if first.Code/100 != 2 {
			t.Fatalf("POST %s %s: %d %s", x.path, x.same[0], first.Code, first.Body)
		}
		for _, body := range x.same {
			sameAnswer(t, do(api, "POST "+x.path+" "+body, key), first)
		}
		for _, body := range x.other {
			if answer := do(api, "POST "+x.path+" "+body, key); answer.Code != 422 {
				t.Errorf("POST %s %s with the key of another: %d %s", x.path, body, answer.Code, answer.Body)
			}
		}
	}
}

// Stores keep fingerprints for a day: those of earlier versions must not become wrong.
func TestFingerprintsKeepTheirForm(t *testing.T) {
	for command, canonical := range map[string]string{
		`POST /orders {"buyerId":"<9>","items":[{"productId":"1111","amount":3e0}]}`: `["POST","/orders",{"buyerId":"\u003c9\u003e",` +
			`"items":[{"amount":3,"productId":"1111"}]}]`,
		`POST /orders/o/items {"productId":"ü","amount":20}`: `["POST","/orders/o/items",{"amount":20,"productId":"ü"}]`,
		`PUT /orders/o/items/%2F {"amount":1}`:               `["PUT","/orders/o/items/%2F",{"amount":1}]`,
		`POST /orders/o/cancel {"by":"system","reason":"x"}`: `["POST","/orders/o/cancel",{"by":"system","reason":"x"}]`,
		`POST /orders/o/pay`:                                 `["POST","/orders/o/pay",{}]`,
		`POST /orders/o/cancel`:                              `["POST","/orders/o/cancel",{}]`,
		`POST /orders {"buyerId":"9","items":[]}`:            `["POST","/orders",{"buyerId":"9"}]`,
	} {
		orders := &fakeOrders{order: sample(t)}
		do(newHandler(orders, nil), command, map[string]string{"Idempotency-Key": "key-1"})
		if want := fmt.Sprintf("%x", sha256.Sum256([]byte(canonical))); orders.key.Fingerprint != want {
			t.Errorf("%s: fingerprint %q, want that of %s", command, orders.key.Fingerprint, canonical)
		}
	}
}

func TestAKeyIsOfOneRequest(t *testing.T) {
	api := newAPI()
	for _, x := range []struct {
		key, command string
		status       int
		code         string
	}{
		{"key-1", `POST /orders {"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`, 201, ""},
		// the same, spelled otherwise
		{`"key-1"`, `POST /orders {"items" : [{"amount":3.0,"productId":"1111"}], "buyerId":"9999"}`, 201, ""},
		{"key-1", `POST /orders {"buyerId":"9999","items":[{"productId":"1111","amount":4}]}`, 422, "idempotency-key-reused"},
		{"key-1", `POST /orders {"buyerId":"9999"}`, 422, "idempotency-key-reused"},
		{"key-1", `POST /orders {"buyerId":"9999","items":[{"productId":"1111","amount":0}]}`, 422, "idempotency-key-reused"},
		{"key-1", `POST /orders/order-1/pay`, 422, "idempotency-key-reused"},
		{"key-1", `POST /orders {"buyerId":9999}`, 400, "wrong-type"}, // not looked at: this never is a request
		{"KEY-1", `POST /orders/order-1/submit`, 200, ""},
		{"KEY-1", `POST /orders/order-1/submit {}`, 200, ""},
		{"KEY-1", `POST /orders/order-1/pay`, 422, "idempotency-key-reused"},
		{"key-2", `POST /orders/order-1/pay`, 200, ""},
	} {
		answer := do(api, x.command, map[string]string{"Idempotency-Key": x.key})
		code := ""
		if answer.Code >= 400 {
			code = readProblem(t, answer).Code
		}
		if answer.Code != x.status || code != x.code {
			t.Errorf("%s with %s: %d %s, want %d %s", x.command, x.key, answer.Code, code, x.status, x.code)
		}
	}
	if got := do(api, "GET /orders?buyerId=9999", nil).Body.String(); strings.Count(got, `"id"`) != 1 {
		t.Errorf("more than one order: %s", got)
	}
}

// A refused command has had no effect. Once there is no more reason to refuse it, it is carried out.
func TestOnlyWhatWasCarriedOutIsRemembered(t *testing.T) {
	api, key := newAPI(), map[string]string{"Idempotency-Key": "key-1"}
	do(api, `POST /orders {"buyerId":"9999"}`, nil)
	if answer := do(api, "POST /orders/order-1/pay", key); answer.Code != 409 || readProblem(t, answer).Code != "order-empty" {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	do(api, `POST /orders/order-1/items {"productId":"1111","amount":3}`, nil)
	if answer := do(api, "POST /orders/order-1/pay", key); answer.Code != 200 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestKeysHaveAForm(t *testing.T) {
	long := strings.Repeat("k", 255)
	for _, x := range []struct{ header, key string }{
		{`"key-1"`, "key-1"}, {`key-1`, "key-1"}, {"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"},
		{`"!#$%&'()*+,-./:;<=>?@[]^_{|}~"`, `!#$%&'()*+,-./:;<=>?@[]^_{|}~`}, {long, long}, {`"` + long + `"`, long}, {" a ", "a"},
		{"", ""}, {`""`, ""}, {`"`, ""}, {`"a`, ""}, {`a"`, ""}, {`a"b`, ""}, {`"a\"b"`, ""}, {`a\b`, ""}, {"a b", ""}, {`"a b"`, ""},
		{"ü", ""}, {"a\x7f", ""}, {"a\tb", ""}, {long + "k", ""}, {`"` + long + `k"`, ""}, {`"a";p=1`, ""},
	} {
		orders := &fakeOrders{order: sample(t)}
		r := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(basket))
		r.Header.Set("Content-Type", "application/json")
		r.Header["Idempotency-Key"] = []string{strings.TrimSpace(x.header)} // as the server trims it
		answer := httptest.NewRecorder()
		newHandler(orders, nil).ServeHTTP(answer, r)
		if want := map[bool]int{true: 201, false: 400}[x.key != ""]; answer.Code != want || orders.key.Value != x.key {
			t.Errorf("Idempotency-Key: %q: %d, key %q, want %d, %q", x.header, answer.Code, orders.key.Value, want, x.key)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/orders/o/pay", nil)
	r.Header["Idempotency-Key"] = []string{"key-1", "key-2"}
	answer := httptest.NewRecorder()
	newHandler(&fakeOrders{order: sample(t)}, nil).ServeHTTP(answer, r)
	if answer.Code != 400 || readProblem(t, answer).Code != "bad-idempotency-key" {
		t.Errorf("two keys: %d %s", answer.Code, answer.Body)
	}
}

// A number that no float holds is refused for what it is, with a key or without.
func TestAKeyDoesNotChangeWhatIsRefused(t *testing.T) {
	const command = `POST /orders {"buyerId":"9","items":[{"productId":"1","amount":1e999}]}`
	with := do(newAPI(), command, map[string]string{"Idempotency-Key": "key-1"})
	sameAnswer(t, with, do(newAPI(), command, nil))
	if with.Code != 422 {
		t.Errorf("%d %s", with.Code, with.Body)
	}
}

// The first of 200 requests with one key is held in the store until the others have been answered.
func TestARequestInFlightIsSaidToBe(t *testing.T) {
	store := &slowStore{Store: memory.NewStore(), reached: make(chan struct{}), goOn: make(chan struct{})}
	options := app.OrdersOptions{NewID: func() string { return "order-1" }, Idempotency: store, MaxCommands: 200}
	api := newHandler(app.NewOrders(store, options), nil)
	key := map[string]string{"Idempotency-Key": "key-1"}
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- do(api, "POST /orders "+basket, key) }()
	<-store.reached

	var others sync.WaitGroup
	answers := make([]*httptest.ResponseRecorder, 199)
	for i := range answers {
		others.Go(func() { answers[i] = do(api, "POST /orders "+basket, key) })
	}
	others.Wait()
	for _, answer := range answers {
		if answer.Code != 409 || readProblem(t, answer).Code != "request-in-flight" || answer.Header().Get("Retry-After") != "1" {
			t.Errorf("%d %s", answer.Code, answer.Body)
			break
		}
	}
	close(store.goOn)
	answered := <-first
	if answered.Code != 201 {
		t.Fatalf("%d %s", answered.Code, answered.Body)
	}
	sameAnswer(t, do(api, "POST /orders "+basket, key), answered)
}

// slowStore holds the first save.
type slowStore struct {
	*memory.Store
	held          atomic.Bool
	reached, goOn chan struct{}
}

func (s *slowStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if s.held.CompareAndSwap(false, true) {
		close(s.reached)
		<-s.goOn
	}
	return s.Store.Save(ctx, o, key)
}

func TestAStoreWithoutStoredResultsRefusesKeys(t *testing.T) {
	api := newHandler(app.NewOrders(memory.NewStore(), app.OrdersOptions{NewID: func() string { return "order-1" }}), nil)
	answer := do(api, "POST /orders "+basket, map[string]string{"Idempotency-Key": "key-1"})
	if answer.Code != 501 || readProblem(t, answer).Code != "no-idempotency" {
		t.Errorf("with a key: %d %s", answer.Code, answer.Body)
	}
	if answer := do(api, "POST /orders "+basket, nil); answer.Code != 201 {
		t.Errorf("without: %d %s", answer.Code, answer.Body)
	}
}

func sample(t *testing.T) *order.Order {
	t.Helper()
	o, err := order.New("o", "9999", nil, mustTime(noon))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// sameAnswer compares all of two answers: status, body and every header.
func sameAnswer(t *testing.T, got, want *httptest.ResponseRecorder) {
	t.Helper()
	if got.Code != want.Code || got.Body.String() != want.Body.String() {
		t.Errorf("answer %d %swant %d %s", got.Code, got.Body, want.Code, want.Body)
	}
	for name, values := range want.Header() {
		if !slices.Equal(got.Header()[name], values) {
			t.Errorf("header %s: %q, want %q", name, got.Header()[name], values)
		}
	}
	if len(got.Header()) != len(want.Header()) {
		t.Errorf("headers %v, want %v", got.Header(), want.Header())
	}
}
