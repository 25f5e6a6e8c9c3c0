package readside

import (
	"fmt"

	"hexorders/core/order"
	"hexorders/ports"
)

// Fold makes of an order's messages what the engine makes of them, one message after the other and without a store, for
// those who compare it with what is stored.
type Fold struct {
	views  []View
	decode func(ports.Message) (order.Event, error)
	rows   []Rows
	order  Order
}

// NewFold stands before the first message of an order.
func NewFold(views []View, decode func(ports.Message) (order.Event, error)) *Fold {
	return &Fold{views: views, decode: decode, rows: make([]Rows, len(views))}
}

// Apply takes the order's next message. After an error, for which the engine parks the order, nothing has changed.
func (f *Fold) Apply(m ports.Message) error {
	if m.Version != f.order.Version+1 {
		return fmt.Errorf("version %d stands where %d should be", m.Version, f.order.Version+1)
	}
	event, err := f.decode(m)
	if err != nil {
		return err
	}
	after, err := f.order.after(m.OrderID, event)
	if err != nil {
		return err
	}
	for i, v := range f.views {
		v.Apply(f.order, after, Event{m.Type, event}, &f.rows[i])
	}
	f.order = after
	return nil
}

// Order is the order after the messages so far.
func (f *Fold) Order() Order { return f.order }

// Changes are what the messages since the last call change in the rows of the views, by the views' places in the list.
func (f *Fold) Changes() []ports.RowChanges {
	changes := make([]ports.RowChanges, len(f.rows))
	for i := range f.rows {
		changes[i], _ = f.rows[i].collected()
		f.rows[i] = Rows{}
	}
	return changes
}

// Skip goes to a state without the events that led to it. Changes are then not what the views have; their keys are those
// of rows that an order in this state has a part in.
func (f *Fold) Skip(s order.Snapshot) {
	after := Order{
		ID: s.ID, Buyer: s.Buyer, Items: s.Items, Status: s.Status, Version: s.Version,
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}
	after.document = encodeOrder(after)
	for i, v := range f.views {
		v.Apply(Order{}, after, Event{"", order.Created{ID: s.ID, Buyer: s.Buyer, Items: s.Items, At: s.CreatedAt}}, &f.rows[i])
	}
	f.order = after
}

// WellFormed tells whether a message is one of an order: the engine skips all others.
func WellFormed(m ports.Message) bool { return wellFormed(m) }
