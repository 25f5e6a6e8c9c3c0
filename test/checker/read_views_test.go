package checker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is read over HTTP, page by page, is what stands there.
func TestTheViewsAreReadAsAClientReadsThem(t *testing.T) {
	topic := healthy(t).Topic
	want := healthyViews(t)
	service := httptest.NewServer(serving(want, ""))
	got, err := ReadViews(t.Context(), service.URL, topic)
	if err != nil {
		t.Fatal(err)
	}
	if violations := CheckViews(topic, got); len(violations) > 0 {
		t.Errorf("got %v", violations)
	}
	if err := AwaitViews(t.Context(), service.URL, topic); err != nil {
		t.Error(err)
	}
	service.Close()
	for _, broken := range []string{"is there twice", "is another's", "comes after", "503"} {
		service := httptest.NewServer(serving(want, broken))
		if _, err := ReadViews(t.Context(), service.URL, topic); err == nil || !strings.Contains(err.Error(), broken) {
			t.Errorf("error %v, want one that says %q", err, broken)
		}
		service.Close() // which waits for the requests under way
	}
	delete(want.Summaries, "order-1")
	service = httptest.NewServer(serving(want, ""))
	defer service.Close()
	brief, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := AwaitViews(brief, service.URL, topic); err == nil || !strings.Contains(err.Error(), "order-1") {
		t.Errorf("error %v, want one that names order-1", err)
	}
}

// serving answers from views, with one order or entry a page. broken is what it does wrong.
func serving(v Views, broken string) http.Handler {
	at := func(ms int64) string {
		if ms == 0 {
			return "0001-01-01T00:00:00Z"
		}
		return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
	}
	type object = map[string]any
	page := func(w http.ResponseWriter, r *http.Request, name string, all []object) {
		body, from := object{}, 0
		_, _ = fmt.Sscan(r.URL.Query().Get("cursor"), &from) // the first page has none
		to := min(from+1, len(all))
		if body[name] = all[from:to]; to < len(all) {
			body["nextCursor"] = fmt.Sprint(to)
		}
		_ = json.NewEncoder(w).Encode(body)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		var all []object
		for id, s := range v.Summaries {
			buyer := r.URL.Query().Get("buyerId")
			if buyer != "" && buyer != s.Buyer {
				continue
			}
			if buyer != "" && broken == "is another's" {
				s.Buyer += "0"
			}
			var items []object
			for _, line := range strings.Fields(s.Items) {
				product, amount, _ := strings.Cut(line, "×")
				items = append(items, object{"productId": product, "amount": json.Number(amount)})
			}
			all = append(all, object{"id": id, "buyerId": s.Buyer, "items": items, "totalAmount": s.TotalAmount, "status": s.Status,
				"version": s.Version, "createdAt": at(s.CreatedAt), "updatedAt": at(s.UpdatedAt), "submittedAt": at(s.SubmittedAt),
				"paidAt": at(s.PaidAt), "cancelledAt": at(s.CancelledAt)})
		}
		slices.SortFunc(all, func(a, b object) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
		if broken == "is there twice" {
			all = append(all, all[0])
		}
		page(w, r, "orders", all)
	})
	mux.HandleFunc("GET /buyers/{id}/activity", func(w http.ResponseWriter, r *http.Request) {
		if broken == "503" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		a := v.Activity[r.PathValue("id")]
		_ = json.NewEncoder(w).Encode(object{"pending": a.Pending, "submitted": a.Submitted, "paid": a.Paid,
			"cancelled": a.Cancelled, "lastAt": at(a.LastAt)})
	})
	mux.HandleFunc("GET /products/{id}/sales", func(w http.ResponseWriter, r *http.Request) {
		sold := v.Sales[r.PathValue("id")]
		_ = json.NewEncoder(w).Encode(object{"units": sold.Units, "orders": sold.Orders})
	})
	mux.HandleFunc("GET /orders/{id}/timeline", func(w http.ResponseWriter, r *http.Request) {
		var all []object
		for version := 1; ; version++ {
			e, ok := v.Timeline[messageID(r.PathValue("id"), version)]
			if !ok {
				break
			}
			all = append(all, object{"version": version, "type": e.Type, "occurredAt": at(e.At), "text": e.Text})
		}
		if broken == "comes after" {
			slices.Reverse(all)
		}
		page(w, r, "entries", all)
	})
	return mux
}
