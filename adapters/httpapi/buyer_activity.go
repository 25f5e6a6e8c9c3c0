package httpapi

import (
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
)

// GET /buyers/{buyerId}/activity counts a buyer's orders by status, from the view buyer-activity.

func init() { serveView("/buyers/:buyerId/activity", (*api).buyerActivity) }

type activityJSON struct {
	BuyerID   string `json:"buyerId"`
	Pending   int64  `json:"pending"`
	Submitted int64  `json:"submitted"`
	Paid      int64  `json:"paid"`
	Cancelled int64  `json:"cancelled"`
	LastAt    string `json:"lastAt,omitempty"` // left out when the buyer has no orders
}

func (a *api) buyerActivity(c *gin.Context, query url.Values) error {
	buyer, err := pathValue(c, "buyerId")
	if err != nil {
		return errNoSuchPath
	}
	if err := order.CheckID(buyer); err != nil { // an unknown buyer has no orders yet; this one cannot have any
		return &inputError{is: errNoSuchPath, detail: "There is no buyer with this id: an " + err.Error() + "."}
	}
	required, err := requiredEvent(query)
	if err != nil {
		return err
	}
	row, freshness, err := a.Views.Row(c.Request.Context(), "buyer-activity", buyer, required)
	if err != nil {
		return err
	}
	body := activityJSON{
		BuyerID: buyer, Pending: row.Counter("pending"), Submitted: row.Counter("submitted"), Paid: row.Counter("paid"),
		Cancelled: row.Counter("cancelled"),
	}
	if lastAt := row.Counter("lastAt"); lastAt > 0 {
		body.LastAt = timestamp(time.UnixMilli(lastAt))
	}
	freshnessHeaders(c, freshness, required.OrderID)
	return writeJSON(c, http.StatusOK, mediaJSON, body)
}
