package checker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// AwaitViews returns when a service's list of all orders is what the topic adds up to. The other views are committed
// together with it. When ctx ends first, the error says what is missing.
func AwaitViews(ctx context.Context, base string, topic []Record) error {
	want, err := foldTopic(topic)
	if err != nil {
		return err
	}
	api := newAPI(base)
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	found := "nothing was read in time"
	for {
		got, err := api.list(ctx, url.Values{})
		switch {
		case ctx.Err() != nil: // what was found before says more than that time was up
		case err != nil:
			found = err.Error()
		default:
			missing := 0
			compare(want.Summaries, got, func(about, is, should string) {
				missing++
				found = fmt.Sprintf("%d orders of %d, such as %s, which is %s, want %s", missing, len(want.Summaries), about, is, should)
			})
			if missing == 0 {
				return nil
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the views are not complete: %s: %w", found, ctx.Err())
		}
	}
}

// ReadViews asks a service for the list of all orders, and for each order that is in it or in the topic, its buyer and its
// products.
func ReadViews(ctx context.Context, base string, topic []Record) (v Views, err error) {
	api := newAPI(base)
	want, err := foldTopic(topic)
	if err != nil {
		return v, err
	}
	if v.Summaries, err = api.list(ctx, url.Values{}); err != nil {
		return v, err
	}
	orders := maps.Clone(want.Summaries)
	maps.Copy(orders, v.Summaries)
	buyers, products := map[string]bool{}, map[string]bool{}
	for _, s := range orders {
		buyers[s.Buyer] = true
		for product := range s.amounts() {
			products[product] = true
		}
	}
	v.Lists, v.Activity, v.Timeline, v.Sales = map[string]Summary{}, map[string]Activity{}, map[string]Entry{}, map[string]Sales{}
	var mu sync.Mutex // guards the four
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(connections)
	for buyer := range buyers {
		work.Go(func() error {
			list, err := api.list(ctx, url.Values{"buyerId": {buyer}})
			if err != nil {
				return err
			}
			activity, err := api.activity(ctx, buyer)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(v.Lists, list)
			v.Activity[buyer] = activity
			return nil
		})
	}
	for id := range orders {
		work.Go(func() error {
			entries, err := api.timeline(ctx, id)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(v.Timeline, entries)
			return nil
		})
	}
	for product := range products {
		work.Go(func() error {
			sales, err := api.sales(ctx, product)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			v.Sales[product] = sales
			return nil
		})
	}
	return v, work.Wait()
}

// api asks as a client does.
type api struct {
	base   string
	client *http.Client
}

const connections = 16

func newAPI(base string) *api {
	return &api{base, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections}}}
}

// list is a list of orders, all pages of it.
func (a *api) list(ctx context.Context, query url.Values) (map[string]Summary, error) {
	all := map[string]Summary{}
	err := a.pages(ctx, "/orders", query, func(page []byte) (next string, err error) {
		var body struct {
			Orders []struct {
				ID          string    `json:"id"`
				BuyerID     string    `json:"buyerId"`
				Items       []item    `json:"items"`
				TotalAmount int       `json:"totalAmount"`
				Status      string    `json:"status"`
				Version     int       `json:"version"`
				CreatedAt   time.Time `json:"createdAt"`
				UpdatedAt   time.Time `json:"updatedAt"`
				SubmittedAt time.Time `json:"submittedAt"`
				PaidAt      time.Time `json:"paidAt"`
				CancelledAt time.Time `json:"cancelledAt"`
			} `json:"orders"`
			NextCursor string `json:"nextCursor"`
		}
		if err := json.Unmarshal(page, &body); err != nil {
			return "", err
		}
		for _, o := range body.Orders {
			if _, twice := all[o.ID]; twice || query.Has("buyerId") && query.Get("buyerId") != o.BuyerID {
				return "", fmt.Errorf("order %s of buyer %s is there twice, or is another's", o.ID, o.BuyerID)
			}
			amounts := map[string]int{}
			for _, item := range o.Items {
				amounts[item.ProductID] += item.Amount
			}
			s := Summary{
				Version: o.Version, Buyer: o.BuyerID, Status: o.Status, TotalAmount: o.TotalAmount,
				CreatedAt: milli(o.CreatedAt), UpdatedAt: milli(o.UpdatedAt), SubmittedAt: milli(o.SubmittedAt),
				PaidAt: milli(o.PaidAt), CancelledAt: milli(o.CancelledAt),
			}
			s.Items, _ = inWords(amounts)
			all[o.ID] = s
		}
		return body.NextCursor, nil
	})
	return all, err
}

func (a *api) activity(ctx context.Context, buyer string) (Activity, error) {
	path := "/buyers/" + url.PathEscape(buyer) + "/activity"
	text, err := a.get(ctx, path)
	var body struct {
		Pending   int       `json:"pending"`
		Submitted int       `json:"submitted"`
		Paid      int       `json:"paid"`
		Cancelled int       `json:"cancelled"`
		LastAt    time.Time `json:"lastAt"`
	}
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	return Activity{body.Pending, body.Submitted, body.Paid, body.Cancelled, milli(body.LastAt)}, err
}

func (a *api) sales(ctx context.Context, product string) (sales Sales, err error) {
	text, err := a.get(ctx, "/products/"+url.PathEscape(product)+"/sales")
	if err == nil {
		err = json.Unmarshal(text, &sales)
	}
	return sales, err
}

func (a *api) timeline(ctx context.Context, order string) (map[string]Entry, error) {
	entries, last := map[string]Entry{}, 0
	err := a.pages(ctx, "/orders/"+url.PathEscape(order)+"/timeline", url.Values{}, func(page []byte) (next string, err error) {
		var body struct {
			Entries []struct {
				Version    int       `json:"version"`
				Type       string    `json:"type"`
				OccurredAt time.Time `json:"occurredAt"`
				Text       string    `json:"text"`
			} `json:"entries"`
			NextCursor string `json:"nextCursor"`
		}
		if err := json.Unmarshal(page, &body); err != nil {
			return "", err
		}
		for _, e := range body.Entries {
			if e.Version != last+1 {
				return "", fmt.Errorf("version %d comes after %d", e.Version, last)
			}
			last = e.Version
			entries[messageID(order, e.Version)] = Entry{e.Type, milli(e.OccurredAt), e.Text}
		}
		return body.NextCursor, nil
	})
	return entries, err
}

// pages asks for one page after the other.
func (a *api) pages(ctx context.Context, path string, query url.Values, read func(page []byte) (next string, err error)) error {
	query = maps.Clone(query)
	query.Set("limit", "200")
	for {
		text, err := a.get(ctx, path+"?"+query.Encode())
		if err != nil {
			return err
		}
		next, err := read(text)
		if err != nil {
			return fmt.Errorf("GET %s?%s: %w", path, query.Encode(), err)
		}
		if next == "" {
			return nil
		}
		query.Set("cursor", next)
	}
}

func (a *api) get(ctx context.Context, path string) (body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if body, err = io.ReadAll(response.Body); err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: answer %s: %.300s", path, response.Status, body)
	}
	return body, err
}

type item struct {
	ProductID string `json:"productId"`
	Amount    int    `json:"amount"`
}

// milli is 0 for a time that was not told.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
