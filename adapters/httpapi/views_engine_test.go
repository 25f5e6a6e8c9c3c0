package httpapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/httpapi"
	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/ports"
)

// The names of rows, fields and counters stand in two places, in a view and in its handler. Here the real engine writes
// what the real handlers ask for.
func TestTheHandlersReadWhatTheViewsWrite(t *testing.T) {
	store, topic := memory.NewStore(), memory.NewTopic()
	commands := newAPIOver(store, httpapi.Options{})
	for _, line := range []string{
		"POST /orders " + basket, "POST /orders/order-1/submit", "POST /orders/order-1/pay",
		`POST /orders {"buyerId":"8888","items":[{"productId":"<ü>","amount":8}]}`, `POST /orders/order-2/cancel {"reason":"no"}`,
		`POST /orders {"buyerId":"9999"}`,
	} {
		if answer := do(commands, line, nil); answer.Code >= 300 {
			t.Fatalf("%s: %d %s", line, answer.Code, answer.Body)
		}
	}
	for _, id := range []string{"order-1", "order-2", "order-3"} {
		messages, err := store.Messages(t.Context(), id, 0, 10)
		if err == nil {
			err = topic.Append(t.Context(), messages)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	model := memory.NewReadModel(readside.Tables(readside.All))
	quiet := slog.New(slog.DiscardHandler)
	engine := readside.New(readside.Options{
		Subscriber: inproc.NewSubscriber(topic), Store: model, Decode: eventjson.Event, Logger: quiet,
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	defer func() {
		stop()
		if err := await(t, ended, "the engine's end"); err != nil {
			t.Error(err)
		}
	}()
	api := httpapi.New(httpapi.Options{
		Orders: &fakeOrders{err: ports.ErrNotFound}, Logger: quiet,
		Views: readside.NewQueries(model, readside.QueriesOptions{Wait: 9 * time.Second}),
	})

	const at = `"2026-03-01T12:00:00.000Z"`
	order1 := `{"id":"order-1","buyerId":"9999","items":[{"productId":"1111","amount":3}],"totalAmount":3,"status":"paid","version":3,` +
		`"createdAt":` + at + `,"updatedAt":` + at + `,"submittedAt":` + at + `,"paidAt":` + at + `}`
	order2 := `{"id":"order-2","buyerId":"8888","items":[{"productId":"<ü>","amount":8}],"totalAmount":8,"status":"cancelled","version":2,` +
		`"createdAt":` + at + `,"updatedAt":` + at + `,"cancelledAt":` + at + `}`
	order3 := `{"id":"order-3","buyerId":"9999","items":[],"totalAmount":0,"status":"pending","version":1,` +
		`"createdAt":` + at + `,"updatedAt":` + at + `}`
	activity := func(buyer string, pending, paid, cancelled int) string {
		return fmt.Sprintf(`{"buyerId":%q,"pending":%d,"submitted":0,"paid":%d,"cancelled":%d,"lastAt":%s}`,
			buyer, pending, paid, cancelled, at)
	}
	last := do(api, "GET /orders?atLeastVersion=order-3/1", nil)
	wantAnswer(t, last, 200, `{"orders":[`+order3+`,`+order2+`,`+order1+`]}`)
	if got := last.Header().Get("View-Version"); got != "1" {
		t.Errorf("View-Version %q, want 1", got)
	}
	for path, want := range map[string]string{
		"/orders?buyerId=9999":                         `{"orders":[` + order1 + `,` + order3 + `]}`,
		"/orders?buyerId=9999&sort=-createdAt":         `{"orders":[` + order3 + `,` + order1 + `]}`,
		"/orders?buyerId=9999&status=paid":             `{"orders":[` + order1 + `]}`,
		"/orders?buyerId=9999&sort=-totalAmount":       `{"orders":[` + order1 + `,` + order3 + `]}`,
		"/orders?status=cancelled":                     `{"orders":[` + order2 + `]}`,
		"/orders?sort=-totalAmount":                    `{"orders":[` + order2 + `,` + order1 + `,` + order3 + `]}`,
		"/orders?sort=-updatedAt":                      `{"orders":[` + order3 + `,` + order2 + `,` + order1 + `]}`, // at the same time
		"/orders?sort=-updatedAt&status=pending":       `{"orders":[` + order3 + `]}`,
		"/buyers/9999/activity":                        activity("9999", 1, 1, 0),
		"/buyers/8888/activity":                        activity("8888", 0, 0, 1),
		"/buyers/7777/activity":                        `{"buyerId":"7777","pending":0,"submitted":0,"paid":0,"cancelled":0}`,
		"/orders/order-2/timeline?atLeastVersion=2":    `{"orderId":"order-2","entries":[{"version":1,"type":"OrderCreated","occurredAt":` + at + `,"text":"created for buyer 8888, with 1 item"},{"version":2,"type":"OrderCancelled","occurredAt":` + at + `,"text":"cancelled by the buyer: no"}]}`,
		"/orders/order/timeline":                       `{"orderId":"order","entries":[]}`,
		"/orders?buyerId=9999&sort=createdAt&limit=20": `{"orders":[` + order1 + `,` + order3 + `]}`,
	} {
		wantAnswer(t, do(api, http.MethodGet+" "+path, nil), 200, want)
	}
}
