package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"hexorders/ports"
)

// GET /orders/{id}/timeline tells what happened to an order in a few words, from the view timeline.

func init() { serveView("/orders/:id/timeline", (*api).timeline, "limit", "cursor") }

type timelineJSON struct {
	OrderID    string            `json:"orderId"`
	Entries    []json.RawMessage `json:"entries"`
	NextCursor string            `json:"nextCursor,omitempty"` // left out on the last page
}

func (a *api) timeline(c *gin.Context, query url.Values) error {
	id, err := orderID(c)
	if err != nil {
		return err
	}
	// The keys of an order's entries begin with its id and a character that no id has.
	q := ports.Query{View: "timeline", Prefix: id + "\x1f"}
	if q.Page, err = parsePage(query); err != nil {
		return err
	}
	required := ports.EventRef{OrderID: id}
	if required.Version, err = requiredVersion(query); err != nil {
		return err
	}
	page, freshness, err := a.Views.List(c.Request.Context(), q, required)
	if err != nil {
		return err
	}
	if page.Next != "" {
		linkNext(c, "/orders/"+url.PathEscape(id)+"/timeline", query, page.Next)
	}
	freshnessHeaders(c, freshness, id)
	return writeJSON(c, http.StatusOK, mediaJSON, timelineJSON{id, bodies(page.Rows), page.Next})
}
