// Package order is the core of the service: what an order is and what may happen to it.
//
// Nothing here reads a clock, draws a random number, or knows of HTTP, a database or a broker: a rule gets its input as
// arguments, and a change comes out as events. Read order.go for the commands, rules.go for what is allowed when, id.go
// for the ids, event.go for the events.
package order

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Order is the aggregate: one buyer's basket on its way to being paid or cancelled. Its fields change only through
// events, so that a state built by commands, by Replay and by Restore is the same state.
type Order struct {
	id        string
	buyer     string
	items     []Item
	status    Status
	version   int
	createdAt time.Time
	updatedAt time.Time
	changes   []Event
}

// Item is one line of an order: a product and how many of it.
type Item struct {
	Product string
	Amount  int // whole pieces, 1 to MaxAmount
}

// New starts a pending order. Lines of the same product become one line. The errors are those of AddItem, and
// ErrInvalidID for the order's or the buyer's id: all that is wrong at once, as InputErrors tells.
func New(id, buyer string, items []Item, at time.Time) (*Order, error) {
	refusals := []error{checkID("id", id), checkID("buyer", buyer)}
	var lines []Item
	for i, item := range items {
		err := checkJoin(lines, item)
		refusals = append(refusals, atLine(i, err))
		if errors.Is(err, ErrTooManyItems) {
			break
		}
		lines = join(lines, item)
	}
	if err := all(refusals...); err != nil {
		return nil, err
	}
	o := &Order{}
	o.record(Created{ID: id, Buyer: buyer, Items: lines, At: at})
	return o, nil
}

// AddItem puts amount pieces of a product into the order; pieces of a product already there add up. Errors:
// ErrInvalidID, ErrInvalidAmount, ErrTooManyItems.
func (o *Order) AddItem(product string, amount int, at time.Time) error {
	if err := o.allow(editItems); err != nil {
		return err
	}
	if err := checkJoin(o.items, Item{product, amount}); err != nil {
		return err
	}
	o.record(ItemAdded{Product: product, Amount: amount, At: at})
	return nil
}

// ChangeAmount sets how many pieces of a product the order has. Errors: ErrNoSuchItem, ErrInvalidAmount.
func (o *Order) ChangeAmount(product string, amount int, at time.Time) error {
	if err := o.allow(editItems); err != nil {
		return err
	}
	if find(o.items, product) < 0 {
		return fmt.Errorf("product %q: %w", product, ErrNoSuchItem)
	}
	if err := checkAmount(amount); err != nil {
		return err
	}
	o.record(AmountChanged{Product: product, Amount: amount, At: at})
	return nil
}

// RemoveItem takes a product out of the order. Error: ErrNoSuchItem.
func (o *Order) RemoveItem(product string, at time.Time) error {
	if err := o.allow(editItems); err != nil {
		return err
	}
	if find(o.items, product) < 0 {
		return fmt.Errorf("product %q: %w", product, ErrNoSuchItem)
	}
	o.record(ItemRemoved{Product: product, At: at})
	return nil
}

// Submit closes the basket: the items are final from here on. Error: ErrEmpty.
func (o *Order) Submit(at time.Time) error {
	if err := o.allow(submit); err != nil {
		return err
	}
	if len(o.items) == 0 {
		return ErrEmpty
	}
	o.record(Submitted{Buyer: o.buyer, Items: slices.Clone(o.items), At: at})
	return nil
}

// Pay marks the order as paid, straight from the basket or after it was submitted. Error: ErrEmpty.
func (o *Order) Pay(at time.Time) error {
	if err := o.allow(pay); err != nil {
		return err
	}
	if len(o.items) == 0 {
		return ErrEmpty
	}
	o.record(Paid{At: at})
	return nil
}

// Cancel ends an order that is not paid. The reason may be empty. Errors: ErrInvalidCancelledBy, ErrInvalidReason.
func (o *Order) Cancel(by CancelledBy, reason string, at time.Time) error {
	if err := o.allow(cancel); err != nil {
		return err
	}
	if err := all(checkCancelledBy(by), checkReason(reason)); err != nil {
		return err
	}
	o.record(Cancelled{By: by, Reason: reason, At: at})
	return nil
}

func (o *Order) ID() string           { return o.id }
func (o *Order) Buyer() string        { return o.buyer }
func (o *Order) Items() []Item        { return slices.Clone(o.items) }
func (o *Order) Status() Status       { return o.status }
func (o *Order) CreatedAt() time.Time { return o.createdAt }
func (o *Order) UpdatedAt() time.Time { return o.updatedAt }

// Version counts the events applied so far: the n-th event of an order has version n.
func (o *Order) Version() int { return o.version }

// Changes are the events recorded since the order was made, loaded or last committed. The last of them has version
// Version(). Read the item lists in them, do not write into them.
func (o *Order) Changes() []Event { return slices.Clone(o.changes) }

// Committed forgets the changes. A store calls it once they are safe, so that saving again saves nothing twice.
func (o *Order) Committed() { o.changes = nil }

// record is the only way forward: an event takes effect at once and waits in Changes to be committed.
func (o *Order) record(e Event) {
	o.apply(e)
	o.changes = append(o.changes, e)
}

func (o *Order) apply(e Event) {
	e.apply(o)
	o.version++
	o.updatedAt = e.OccurredAt()
}

// find returns the index of a product's line, or -1.
func find(lines []Item, product string) int {
	return slices.IndexFunc(lines, func(i Item) bool { return i.Product == product })
}

// join adds an item to the lines in place; lines of one product are one line.
func join(lines []Item, item Item) []Item {
	if i := find(lines, item.Product); i >= 0 {
		lines[i].Amount += item.Amount
		return lines
	}
	return append(lines, item)
}
