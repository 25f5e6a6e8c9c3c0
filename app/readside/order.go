package readside

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hexorders/core/order"
)

// Order is an order as it stands after an event. The zero Order stands before the first. Views do not write into Items.
type Order struct {
	ID, Buyer            string
	Items                []order.Item // sorted by product
	Status               order.Status
	Version              int
	CreatedAt, UpdatedAt time.Time
	SubmittedAt          time.Time // zero when it was not, and so the next two
	PaidAt, CancelledAt  time.Time
	document             []byte
}

// TotalAmount is the number of pieces in the order.
func (o Order) TotalAmount() (n int) {
	for _, item := range o.Items {
		n += item.Amount
	}
	return n
}

// Document is the order as a JSON document, as the API shows it in lists. The progress record keeps the same document,
// so the engine encodes an order once.
func (o Order) Document() []byte { return o.document }

// document is the form of Document.
type document struct {
	ID          string         `json:"id"`
	BuyerID     string         `json:"buyerId"`
	Items       []documentItem `json:"items"`
	TotalAmount int            `json:"totalAmount"`
	Status      string         `json:"status"`
	Version     int            `json:"version"`
	CreatedAt   string         `json:"createdAt"`
	UpdatedAt   string         `json:"updatedAt"`
	SubmittedAt string         `json:"submittedAt,omitempty"`
	PaidAt      string         `json:"paidAt,omitempty"`
	CancelledAt string         `json:"cancelledAt,omitempty"`
}

type documentItem struct {
	ProductID string `json:"productId"`
	Amount    int    `json:"amount"`
}

// after is the order after its next event. The core folds it, so that what clients read follows the rules of what they
// command. Error: order.ErrInvalidHistory.
func (o Order) after(id string, event order.Event) (Order, error) {
	var folded *order.Order
	var err error
	if o.Version == 0 {
		folded, err = order.Replay([]order.Event{event})
	} else {
		folded, err = order.ReplayAfter(order.Snapshot{
			ID: o.ID, Buyer: o.Buyer, Items: o.Items, Status: o.Status, Version: o.Version,
			CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
		}, []order.Event{event})
	}
	if err != nil {
		return o, err
	}
	s := folded.Snapshot()
	o.ID, o.Buyer, o.Items, o.Status, o.Version = id, s.Buyer, s.Items, s.Status, s.Version
	o.CreatedAt, o.UpdatedAt = s.CreatedAt, s.UpdatedAt
	slices.SortFunc(o.Items, func(a, b order.Item) int { return cmp.Compare(a.Product, b.Product) })
	switch event.(type) {
	case order.Submitted:
		o.SubmittedAt = s.UpdatedAt
	case order.Paid:
		o.PaidAt = s.UpdatedAt
	case order.Cancelled:
		o.CancelledAt = s.UpdatedAt
	}
	o.document = encodeOrder(o)
	return o, nil
}

// decodeOrder reads an order from its document.
func decodeOrder(text []byte) (Order, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return Order{}, err
	}
	o := Order{ID: d.ID, Buyer: d.BuyerID, Status: order.Status(d.Status), Version: d.Version}
	for _, item := range d.Items {
		o.Items = append(o.Items, order.Item{Product: item.ProductID, Amount: item.Amount})
	}
	for at, text := range map[*time.Time]string{
		&o.CreatedAt: d.CreatedAt, &o.UpdatedAt: d.UpdatedAt,
		&o.SubmittedAt: d.SubmittedAt, &o.PaidAt: d.PaidAt, &o.CancelledAt: d.CancelledAt,
	} {
		if text == "" {
			continue
		}
		var err error
		if *at, err = time.Parse(timestampLayout, text); err != nil {
			return Order{}, err
		}
	}
	return o, nil
}

func encodeOrder(o Order) []byte {
	items := make([]documentItem, len(o.Items)) // never nil: an empty order has [], not null
	for i, item := range o.Items {
		items[i] = documentItem{item.Product, item.Amount}
	}
	return encode(document{
		ID: o.ID, BuyerID: o.Buyer, Items: items, TotalAmount: o.TotalAmount(), Status: string(o.Status), Version: o.Version,
		CreatedAt: timestamp(o.CreatedAt), UpdatedAt: timestamp(o.UpdatedAt),
		SubmittedAt: timestampIfSet(o.SubmittedAt), PaidAt: timestampIfSet(o.PaidAt), CancelledAt: timestampIfSet(o.CancelledAt),
	})
}

// timestamp is RFC 3339 in UTC with milliseconds, always of the same length.
func timestamp(t time.Time) string { return t.UTC().Format(timestampLayout) }

const timestampLayout = "2006-01-02T15:04:05.000Z07:00"

func timestampIfSet(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return timestamp(t)
}

// encode makes the JSON of a body. Clients read it as it is, so < and > stay what they are.
func encode(body any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		panic(fmt.Sprintf("encode %T: %v", body, err)) // strings and numbers can always be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
