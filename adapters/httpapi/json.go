package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
	"hexorders/ports"
)

const (
	mediaJSON    = "application/json"
	mediaProblem = "application/problem+json" // RFC 9457
)

// orderJSON is how an order reads.
type orderJSON struct {
	ID        string     `json:"id"`
	BuyerID   string     `json:"buyerId"`
	Items     []itemJSON `json:"items"`
	Status    string     `json:"status"`
	Version   int        `json:"version"`
	CreatedAt string     `json:"createdAt"`
	UpdatedAt string     `json:"updatedAt"`
}

type itemJSON struct {
	ProductID string `json:"productId"`
	Amount    int    `json:"amount"`
}

// summaryJSON is how an order reads in a list.
type summaryJSON struct {
	ID          string     `json:"id"`
	BuyerID     string     `json:"buyerId"`
	Items       []itemJSON `json:"items"`
	TotalAmount int        `json:"totalAmount"`
	Status      string     `json:"status"`
	Version     int        `json:"version"`
	CreatedAt   string     `json:"createdAt"`
	UpdatedAt   string     `json:"updatedAt"`
	SubmittedAt string     `json:"submittedAt,omitempty"` // left out when it was not, and so the next two
	PaidAt      string     `json:"paidAt,omitempty"`
	CancelledAt string     `json:"cancelledAt,omitempty"`
}

type summaryPage struct {
	Orders     []summaryJSON `json:"orders"`
	NextCursor string        `json:"nextCursor,omitempty"` // left out on the last page
}

// activityJSON is how many of a buyer's orders stand where.
type activityJSON struct {
	BuyerID   string `json:"buyerId"`
	Pending   int    `json:"pending"`
	Submitted int    `json:"submitted"`
	Paid      int    `json:"paid"`
	Cancelled int    `json:"cancelled"`
	LastAt    string `json:"lastAt,omitempty"` // left out when nothing is known of the buyer
}

type timelineJSON struct {
	OrderID    string      `json:"orderId"`
	Entries    []entryJSON `json:"entries"`
	NextCursor string      `json:"nextCursor,omitempty"` // left out on the last page
}

type entryJSON struct {
	Version    int    `json:"version"`
	Type       string `json:"type"`
	OccurredAt string `json:"occurredAt"`
	Text       string `json:"text"`
}

// history is how what has happened to an order reads.
type history struct {
	OrderID    string      `json:"orderId"`
	Version    int         `json:"version"`
	Events     []eventJSON `json:"events"`
	Complete   bool        `json:"complete"`             // false when events that belong here are no longer kept
	NextCursor string      `json:"nextCursor,omitempty"` // left out on the last page
}

type eventJSON struct {
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Version    int             `json:"version"`
	OccurredAt string          `json:"occurredAt"`
	Data       json.RawMessage `json:"data"` // as it is published
}

func toJSON(o *order.Order) orderJSON {
	return orderJSON{
		ID: o.ID(), BuyerID: o.Buyer(), Items: toItemsJSON(o.Items()), Status: string(o.Status()), Version: o.Version(),
		CreatedAt: timestamp(o.CreatedAt()), UpdatedAt: timestamp(o.UpdatedAt()),
	}
}

func toSummaryJSON(s ports.Summary) summaryJSON {
	return summaryJSON{
		ID: s.OrderID, BuyerID: s.Buyer, Items: toItemsJSON(s.Items), TotalAmount: s.TotalAmount, Status: string(s.Status),
		Version: s.Version, CreatedAt: timestamp(s.CreatedAt), UpdatedAt: timestamp(s.UpdatedAt),
		SubmittedAt: timestampIfSet(s.SubmittedAt), PaidAt: timestampIfSet(s.PaidAt), CancelledAt: timestampIfSet(s.CancelledAt),
	}
}

func toItemsJSON(items []order.Item) []itemJSON {
	lines := make([]itemJSON, len(items)) // never nil: an empty order has [], not null
	for i, item := range items {
		lines[i] = itemJSON{item.Product, item.Amount}
	}
	return lines
}

// timestamp is RFC 3339 in UTC with milliseconds, always of the same length.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func timestampIfSet(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return timestamp(t)
}

// writeJSON answers whole or not at all: what cannot be encoded is an error while nothing has been sent.
func writeJSON(c *gin.Context, status int, mediaType string, body any) error {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false) // this is no HTML, and people read it
	if err := encoder.Encode(body); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	write(c, status, mediaType, buffer.Bytes())
	return nil
}

func write(c *gin.Context, status int, mediaType string, body []byte) {
	c.Header("Content-Type", mediaType)
	c.Header("Content-Length", strconv.Itoa(len(body)))
	c.Status(status)
	_, _ = c.Writer.Write(body) // fails when the client is gone
}
