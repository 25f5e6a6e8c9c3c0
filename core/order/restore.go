package order

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrInvalidHistory says that stored data cannot be an order: it was damaged or written by something else.
var ErrInvalidHistory = errors.New("stored data is not an order")

// Snapshot is an order's state as plain values, for stores that keep states and for adapters that show them.
type Snapshot struct {
	ID        string
	Buyer     string
	Items     []Item
	Status    Status
	Version   int
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Snapshot shares nothing with the order: changing one leaves the other as it is.
func (o *Order) Snapshot() Snapshot {
	return Snapshot{
		ID: o.id, Buyer: o.buyer, Items: slices.Clone(o.items), Status: o.status,
		Version: o.version, CreatedAt: o.createdAt, UpdatedAt: o.updatedAt,
	}
}

// Restore makes an order of a stored state, without changes. Error: ErrInvalidHistory.
func Restore(s Snapshot) (*Order, error) {
	if _, known := rules[cancel][s.Status]; !known || s.ID == "" || s.Version < 1 {
		return nil, fmt.Errorf("order %q, version %d, status %q: %w", s.ID, s.Version, s.Status, ErrInvalidHistory)
	}
	return &Order{
		id: s.ID, buyer: s.Buyer, items: slices.Clone(s.Items), status: s.Status,
		version: s.Version, createdAt: s.CreatedAt, updatedAt: s.UpdatedAt,
	}, nil
}

// Replay makes an order of its stored events, all of them and in order, without changes. It does not ask whether
// they would be allowed today: they happened. Error: ErrInvalidHistory.
func Replay(events []Event) (*Order, error) {
	o := &Order{}
	if err := o.replay(events); err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("no events: %w", ErrInvalidHistory)
	}
	return o, nil
}

// ReplayAfter is Replay from a stored state on: the events are those after the state's version, all of them. Error:
// ErrInvalidHistory.
func ReplayAfter(s Snapshot, events []Event) (*Order, error) {
	o, err := Restore(s)
	if err != nil {
		return nil, err
	}
	if err := o.replay(events); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *Order) replay(events []Event) error {
	for _, e := range events {
		if _, created := e.(Created); created != (o.version == 0) {
			return fmt.Errorf("event %d is %T: %w", o.version+1, e, ErrInvalidHistory)
		}
		o.apply(e)
	}
	return nil
}
