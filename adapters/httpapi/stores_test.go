package httpapi_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/httpapi"
	"hexorders/adapters/memory"
	"hexorders/adapters/mongodb"
	"hexorders/adapters/postgres"
	"hexorders/adapters/postgres/postgrestest"
	"hexorders/adapters/sqlite"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// opened is an empty store.
type opened struct {
	ports.OrderStore
	lose func(*testing.T) // makes it unreachable; nil for memory, which cannot be
}

// overEachStore runs a test over every store that the service has. fresh may be called many times, for one store after
// the other.
func overEachStore(t *testing.T, test func(t *testing.T, fresh func(*testing.T) opened)) {
	t.Run("memory", func(t *testing.T) {
		test(t, func(*testing.T) opened { return opened{OrderStore: memory.NewStore()} })
	})
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t *testing.T) opened {
			db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "orders.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() }) // again, where a test has lost it
			return opened{sqlite.NewStore(db), func(t *testing.T) {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}}
		})
	})
	inMongoDB(t, "mongodb", test, func(db *mongo.Database) closable { return mongodb.NewStore(db, mongodb.Options{}) })
	inMongoDB(t, "mongodb-events", test, func(db *mongo.Database) closable { return mongodb.NewEventStore(db, mongodb.Options{}) })
	t.Run("postgres", func(t *testing.T) {
		test(t, func(t *testing.T) opened {
			db, err := postgres.Open(t.Context(), postgrestest.Schema(t), postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			lose := func(t *testing.T) {
				if err := db.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
			t.Cleanup(func() { lose(t) }) // again, where a test has lost it
			return opened{postgres.NewStore(db), lose}
		})
	})
}

type closable interface {
	ports.OrderStore
	Close(ctx context.Context) error
}

func inMongoDB(t *testing.T, store string, test func(t *testing.T, fresh func(*testing.T) opened), open func(*mongo.Database) closable) {
	t.Run(store, func(t *testing.T) {
		name := "hexorders_test_" + strings.ToLower(rand.Text()[:12])
		own, db := connect(t, name), connect(t, name) // the second may be lost
		t.Cleanup(func() {
			if err := own.Drop(context.Background()); err != nil {
				t.Errorf("drop %s: %v", name, err)
			}
		})
		test(t, func(t *testing.T) opened {
			for _, collection := range []string{"orders", "outbox", "order_events", "order_snapshots", "receipts"} {
				if _, err := own.Collection(collection).DeleteMany(t.Context(), bson.D{}); err != nil {
					t.Fatal(err)
				}
			}
			store := open(db)
			t.Cleanup(func() {
				if err := store.Close(context.Background()); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			return opened{store, func(t *testing.T) {
				if err := db.Client().Disconnect(t.Context()); err != nil {
					t.Fatal(err)
				}
			}}
		})
	})
}

// newAPIOver is the real use cases over a store. Ids are order-1, order-2, ..., and the clock stands still at noon.
func newAPIOver(store ports.OrderStore, o httpapi.Options) http.Handler {
	var made atomic.Int64
	idempotency, _ := store.(ports.IdempotencyStore)
	history, _ := store.(ports.History)
	o.Orders = app.NewOrders(store, app.OrdersOptions{
		Now:         func() time.Time { return mustTime(noon) },
		NewID:       func() string { return fmt.Sprintf("order-%d", made.Add(1)) },
		Idempotency: idempotency,
		History:     history,
		Decode:      eventjson.Event,
	})
	o.Views = listed{store: store, made: &made}
	o.Logger = slog.New(slog.DiscardHandler)
	return httpapi.New(o)
}

// connect fails the test without a server: what is not tested over MongoDB is not tested.
func connect(t *testing.T, database string) *mongo.Database {
	t.Helper()
	uri := os.Getenv("HEXORDERS_TEST_MONGODB_URI")
	if uri == "" {
		uri = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
	}
	uri += "&heartbeatFrequencyMS=500" // closing a client may take as long as a heartbeat
	db, err := mongodb.Connect(t.Context(), uri, database, nil)
	if err != nil {
		t.Fatalf("%v\nThese tests need MongoDB: run scripts/services up", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		_ = db.Client().Disconnect(ctx) // again, where a test has lost it
	})
	return db
}

// overtaken is a store in which somebody else is always a little faster.
type overtaken struct{ ports.OrderStore }

func (s overtaken) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if o.Version() > len(o.Changes()) { // there already
		rival, err := s.Get(ctx, o.ID())
		if err == nil {
			err = rival.AddItem("rival", 1, mustTime(noon))
		}
		if err == nil {
			err = s.OrderStore.Save(ctx, rival, ports.IdempotencyKey{})
		}
		if err != nil {
			return err
		}
	}
	return s.OrderStore.Save(ctx, o, key)
}

func TestALostRaceIsAConflict(t *testing.T) {
	overEachStore(t, func(t *testing.T, fresh func(*testing.T) opened) {
		api := newAPIOver(overtaken{fresh(t).OrderStore}, httpapi.Options{})
		do(api, "POST /orders "+basket, nil)
		wantAnswer(t, do(api, "POST /orders/order-1/pay", nil), 409, problem(409, "version-conflict", "Order changed meanwhile",
			"Others kept changing the order at the same moment. Nothing was changed by this request: send it again.", ""))
		if got := do(api, "GET /orders/order-1", nil).Body.String(); !strings.Contains(got, `"status":"pending","version":9,`) {
			t.Errorf("after eight lost races the order is %s", got)
		}
		// Whoever named a version hears what became of it.
		wantAnswer(t, do(api, "POST /orders/order-1/pay", map[string]string{"If-Match": `"9"`}), 412, problem(412, "version-mismatch",
			"Order is at another version",
			"The order is not at the version that If-Match asks for. Read it again, then decide.", ""))
	})
}

func TestAStoreThatCannotBeReachedIsUnavailable(t *testing.T) {
	overEachStore(t, func(t *testing.T, fresh func(*testing.T) opened) {
		store := fresh(t)
		api := newAPIOver(store.OrderStore, httpapi.Options{})
		do(api, "POST /orders "+basket, nil)
		if store.lose == nil {
			wantAnswer(t, do(api, "GET /orders/order-1", nil), 200, orderJSON("pending", 1, `{"productId":"1111","amount":3}`))
			return
		}
		store.lose(t)
		for _, line := range []string{"POST /orders " + basket, "GET /orders/order-1", "GET /orders?buyerId=9999",
			"GET /orders/order-1/events", "POST /orders/order-1/pay"} {
			answer := do(api, line, nil)
			wantAnswer(t, answer, 503, problem(503, "unavailable", "Store unavailable",
				"The store cannot be reached. The request may or may not have taken effect: read before you send it again.", ""))
			if got := answer.Header().Get("Retry-After"); got != "1" {
				t.Errorf("%s: Retry-After %q, want 1", line, got)
			}
		}
	})
}

// forgetful is a store whose oldest messages have been deleted.
type forgetful struct {
	*memory.Store
	upTo int
}

func (s forgetful) Messages(ctx context.Context, id string, after, limit int) ([]ports.Message, error) {
	return s.Store.Messages(ctx, id, max(after, s.upTo), limit)
}

func TestAHistorySaysWhatItNoLongerHas(t *testing.T) {
	store := memory.NewStore()
	for _, line := range []string{"POST /orders " + basket, "POST /orders/order-1/submit", "POST /orders/order-1/pay"} {
		do(newAPIOver(store, httpapi.Options{}), line, nil)
	}
	paid := `{"id":"order-1/3","type":"OrderPaid","version":3,"occurredAt":"` + noon +
		`","data":{"orderId":"order-1","version":3,"occurredAt":"2026-03-01T12:00:00Z"}}`
	for upTo, want := range map[int]string{
		2: `{"orderId":"order-1","version":3,"events":[` + paid + `],"complete":false}`,
		3: `{"orderId":"order-1","version":3,"events":[],"complete":false}`,
	} {
		api := newAPIOver(forgetful{store, upTo}, httpapi.Options{})
		wantAnswer(t, do(api, "GET /orders/order-1/events", nil), 200, want)
	}
	// What comes after the part that is gone is whole.
	wantAnswer(t, do(newAPIOver(forgetful{store, 2}, httpapi.Options{}), "GET /orders/order-1/events?cursor="+eventsCursor(2), nil), 200,
		`{"orderId":"order-1","version":3,"events":[`+paid+`],"complete":true}`)
}

// What an order was cannot be told without its first events; what it is can.
func TestAnOrderIsNotShownAsItWasWithoutItsHistory(t *testing.T) {
	store := memory.NewStore()
	for _, line := range []string{"POST /orders " + basket, "POST /orders/order-1/submit", "POST /orders/order-1/pay"} {
		do(newAPIOver(store, httpapi.Options{}), line, nil)
	}
	gone := problem(410, "history-deleted", "History deleted",
		"The service no longer keeps what had happened to the order by then. The order as it is now can be read without a version.", "")
	for _, upTo := range []int{1, 2, 3} {
		api := newAPIOver(forgetful{store, upTo}, httpapi.Options{})
		for _, version := range []string{"1", "2"} {
			wantAnswer(t, do(api, "GET /orders/order-1?version="+version, nil), 410, gone)
		}
		wantAnswer(t, do(api, "GET /orders/order-1?version=3", nil), 200, orderJSON("paid", 3, `{"productId":"1111","amount":3}`))
	}
	mute := newAPIOver(struct{ ports.OrderStore }{store}, httpapi.Options{})
	wantAnswer(t, do(mute, "GET /orders/order-1?version=2", nil), 501,
		problem(501, "no-history", "No history here", "The store of this service does not tell what has happened to an order.", ""))
	wantAnswer(t, do(mute, "GET /orders/order-1?version=3", nil), 200, orderJSON("paid", 3, `{"productId":"1111","amount":3}`))
}

func TestAStoreWithoutAHistorySaysSo(t *testing.T) {
	store := struct{ ports.OrderStore }{memory.NewStore()}
	wantAnswer(t, do(newAPIOver(store, httpapi.Options{}), "GET /orders/order-1/events", nil), 501,
		problem(501, "no-history", "No history here", "The store of this service does not tell what has happened to an order.", ""))
}

// await waits for what must come.
func await[T any](t *testing.T, from <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(time.Minute):
		t.Fatalf("%s never came", what)
	}
	return got
}

func wantAnswer(t *testing.T, answer *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if answer.Code != status {
		t.Errorf("status %d, want %d", answer.Code, status)
	}
	if got := strings.TrimSuffix(answer.Body.String(), "\n"); got != body {
		t.Errorf("body\n%s\nwant\n%s", got, body)
	}
}

// nextPath is where the answer's Link leads to, "" on the last page.
func nextPath(answer *httptest.ResponseRecorder) string {
	path, _ := strings.CutSuffix(strings.TrimPrefix(answer.Header().Get("Link"), "<"), `>; rel="next"`)
	return path
}
