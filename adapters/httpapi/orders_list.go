package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
	"hexorders/ports"
)

// GET /orders lists orders from the view order-summary: those of a buyer or all.

func init() {
	serveView("/orders", (*api).listOrders, "buyerId", "status", "sort", "limit", "cursor")
}

// The values of the parameter sort.
const (
	oldestFirst   = "createdAt"
	newestFirst   = "-createdAt"
	lastChanged   = "-updatedAt"
	largestAmount = "-totalAmount"
)

type ordersPage struct {
	Orders     []json.RawMessage `json:"orders"`
	NextCursor string            `json:"nextCursor,omitempty"` // left out on the last page
}

func (a *api) listOrders(c *gin.Context, query url.Values) error {
	q, err := parseOrdersQuery(query)
	if err != nil {
		return err
	}
	required, err := requiredEvent(query)
	if err != nil {
		return err
	}
	page, freshness, err := a.Views.List(c.Request.Context(), q, required)
	if err != nil {
		return err
	}
	if page.Next != "" {
		linkNext(c, "/orders", query, page.Next)
	}
	freshnessHeaders(c, freshness, required.OrderID)
	return writeJSON(c, http.StatusOK, mediaJSON, ordersPage{bodies(page.Rows), page.Next})
}

// parseOrdersQuery sorts the orders of a buyer with the oldest first and all orders with the newest first, unless the
// client says otherwise. Ids grow with time, so a list by creation is a list by key.
func parseOrdersQuery(query url.Values) (ports.Query, error) {
	q := ports.Query{View: "order-summary"}
	sort := newestFirst
	if query.Has("buyerId") {
		buyer := query.Get("buyerId")
		if err := order.CheckID(buyer); err != nil {
			return q, invalidParameter("buyerId", err.Error())
		}
		q.Equal = ports.Field{Name: "buyer", Value: buyer}
		sort = oldestFirst
	}
	var err error
	if query.Has("sort") {
		if sort, err = oneOf(query, "sort", oldestFirst, newestFirst, lastChanged, largestAmount); err != nil {
			return q, err
		}
	}
	switch sort {
	case newestFirst:
		q.Descending = true
	case lastChanged:
		q.Sort, q.Descending = "updatedAt", true
	case largestAmount:
		q.Sort, q.Descending = "totalAmount", true
	}
	if query.Has("status") {
		status, err := oneOf(query, "status", order.Statuses()...)
		if err != nil {
			return q, err
		}
		narrow := &q.Filter
		if q.Equal == (ports.Field{}) && q.Sort == "" {
			narrow = &q.Equal // all orders by key: the index by status serves them without passing over any
		}
		*narrow = ports.Field{Name: "status", Value: string(status)}
	}
	q.Page, err = parsePage(query)
	return q, err
}
