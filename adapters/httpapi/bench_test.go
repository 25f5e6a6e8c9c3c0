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

	"github.com/google/uuid"

	"hexorders/adapters/httpapi"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// BenchmarkRequest is all that the program does of a request between the connection and the store, which is memory: the
// JSON in and out, the use case, the access log.
func BenchmarkRequest(b *testing.B) {
	for _, lines := range []int{1, 100} {
		store := memory.NewStore()
		handler := httpapi.New(httpapi.Options{
			Orders: app.NewOrders(store, app.OrdersOptions{Now: time.Now,
				NewID: func() string { return uuid.Must(uuid.NewV7()).String() }}),
			Logger: slog.New(slog.NewJSONHandler(io.Discard, nil)),
		})
		items, parts := make([]order.Item, lines), make([]string, lines)
		for i := range lines {
			items[i] = order.Item{Product: fmt.Sprintf("product-%d", i), Amount: 3}
			parts[i] = fmt.Sprintf(`{"productId":"product-%d","amount":3}`, i)
		}
		o, err := order.New("order-1", "9999", items, time.Now())
		if err == nil {
			err = store.Save(b.Context(), o, ports.IdempotencyKey{})
		}
		if err != nil {
			b.Fatal(err)
		}
		body := `{"buyerId":"9999","items":[` + strings.Join(parts, ",") + `]}`
		for _, x := range []struct {
			name, method, path, body string
			status                   int
		}{
			{"POST", http.MethodPost, "/orders", body, http.StatusCreated},
			{"GET", http.MethodGet, "/orders/order-1", "", http.StatusOK},
			{"404", http.MethodGet, "/orders/order-2", "", http.StatusNotFound},
		} {
			b.Run(fmt.Sprintf("%s/lines=%d", x.name, lines), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					request := httptest.NewRequest(x.method, x.path, strings.NewReader(x.body))
					request.Header.Set("Content-Type", "application/json")
					answer := httptest.NewRecorder()
					handler.ServeHTTP(answer, request)
					if answer.Code != x.status {
						b.Fatalf("status %d, want %d: %s", answer.Code, x.status, answer.Body)
					}
				}
			})
		}
	}
}
