package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"hexorders/core/order"
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

func toItemsJSON(items []order.Item) []itemJSON {
	lines := make([]itemJSON, len(items)) // never nil: an empty order has [], not null
	for i, item := range items {
		lines[i] = itemJSON{item.Product, item.Amount}
	}
	return lines
}

// timestamp is RFC 3339 in UTC with milliseconds, always of the same length.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// writeJSON answers whole or not at all: what cannot be encoded is an error while nothing has been sent.
func writeJSON(c *gin.Context, status int, mediaType string, body any) error {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false) // this is no HTML, and people read it
	if err := encoder.Encode(body); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	write(c, status, mediaType, compressed(c, buffer.Bytes()))
	return nil
}

func write(c *gin.Context, status int, mediaType string, body []byte) {
	c.Header("Content-Type", mediaType)
	c.Header("Content-Length", strconv.Itoa(len(body)))
	c.Status(status)
	_, _ = c.Writer.Write(body) // fails when the client is gone
}
