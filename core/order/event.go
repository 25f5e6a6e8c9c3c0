package order

import (
	"slices"
	"time"
)

// Event is something that happened to an order. The set is closed: only this package can add one, because applying
// an event is the aggregate's business. How events look outside the process is an adapter's business.
type Event interface {
	OccurredAt() time.Time
	apply(*Order)
}

// Created is always the first event of an order, and only the first.
type Created struct {
	ID    string
	Buyer string
	Items []Item
	At    time.Time
}

// ItemAdded carries what was added, not what it added up to.
type ItemAdded struct {
	Product string
	Amount  int
	At      time.Time
}

// AmountChanged carries the new amount.
type AmountChanged struct {
	Product string
	Amount  int
	At      time.Time
}

type ItemRemoved struct {
	Product string
	At      time.Time
}

// Submitted repeats the buyer and the final items, so that its readers need not look them up.
type Submitted struct {
	Buyer string
	Items []Item
	At    time.Time
}

type Paid struct {
	At time.Time
}

type Cancelled struct {
	By     CancelledBy
	Reason string
	At     time.Time
}

func (e Created) OccurredAt() time.Time       { return e.At }
func (e ItemAdded) OccurredAt() time.Time     { return e.At }
func (e AmountChanged) OccurredAt() time.Time { return e.At }
func (e ItemRemoved) OccurredAt() time.Time   { return e.At }
func (e Submitted) OccurredAt() time.Time     { return e.At }
func (e Paid) OccurredAt() time.Time          { return e.At }
func (e Cancelled) OccurredAt() time.Time     { return e.At }

func (e Created) apply(o *Order) {
	o.id, o.buyer, o.items = e.ID, e.Buyer, slices.Clone(e.Items)
	o.status, o.createdAt = StatusPending, e.At
}

func (e ItemAdded) apply(o *Order) { o.items = join(o.items, Item{e.Product, e.Amount}) }

func (e AmountChanged) apply(o *Order) {
	if i := find(o.items, e.Product); i >= 0 {
		o.items[i].Amount = e.Amount
	}
}

func (e ItemRemoved) apply(o *Order) {
	if i := find(o.items, e.Product); i >= 0 {
		o.items = slices.Delete(o.items, i, i+1)
	}
}

func (e Submitted) apply(o *Order) { o.status = StatusSubmitted }
func (e Paid) apply(o *Order)      { o.status = StatusPaid }
func (e Cancelled) apply(o *Order) { o.status = StatusCancelled }
