package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"hexorders/ports"
)

// Parking is a ports.Parking.
type Parking struct {
	mu     sync.Mutex
	orders map[string]*parkedOrder
}

// parkedOrder has at least one message: it is deleted with its last one.
type parkedOrder struct {
	messages []parkedMessage // by version
	retry    bool
}

type parkedMessage struct {
	ports.Message
	reason string
	since  time.Time
}

func NewParking() *Parking { return &Parking{orders: map[string]*parkedOrder{}} }

func (p *Parking) Park(ctx context.Context, m ports.Message, reason string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("park message %s: %w", m.ID, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.orders[m.OrderID]
	if o == nil {
		o = &parkedOrder{}
		p.orders[m.OrderID] = o
	}
	i, parked := o.find(m)
	if parked {
		o.messages[i].reason = reason
		return nil
	}
	o.messages = slices.Insert(o.messages, i, parkedMessage{m, reason, time.Now()})
	return nil
}

func (p *Parking) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list parked orders: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []ports.ParkedOrder
	for _, id := range slices.Sorted(maps.Keys(p.orders)) {
		o := p.orders[id]
		first := o.messages[0]
		list = append(list, ports.ParkedOrder{
			OrderID: id, First: first.Version, Messages: len(o.messages),
			Reason: first.reason, Since: first.since, Retry: o.retry,
		})
	}
	return list, nil
}

func (p *Parking) Messages(ctx context.Context, orderID string) ([]ports.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("parked messages of order %q: %w", orderID, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var messages []ports.Message
	if o := p.orders[orderID]; o != nil {
		for _, m := range o.messages {
			messages = append(messages, m.Message)
		}
	}
	return messages, nil
}

func (p *Parking) Retry(ctx context.Context, orderID string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("retry order %q: %w", orderID, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.orders[orderID]
	if o == nil {
		return fmt.Errorf("order %q has no parked messages: %w", orderID, ports.ErrNotFound)
	}
	o.retry = true
	return nil
}

func (p *Parking) Unpark(ctx context.Context, m ports.Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("unpark message %s: %w", m.ID, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.orders[m.OrderID]
	if o == nil {
		return nil
	}
	if i, parked := o.find(m); parked {
		o.messages = slices.Delete(o.messages, i, i+1)
	}
	if len(o.messages) == 0 {
		delete(p.orders, m.OrderID)
	}
	return nil
}

func (p *Parking) Refused(ctx context.Context, orderID, reason string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("end the retry of order %q: %w", orderID, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.orders[orderID]; o != nil {
		o.retry = false
		o.messages[0].reason = reason
	}
	return nil
}

// find is where a message is, or where it belongs.
func (o *parkedOrder) find(m ports.Message) (i int, parked bool) {
	return slices.BinarySearchFunc(o.messages, m.Version, func(e parkedMessage, version int) int {
		return cmp.Compare(e.Version, version)
	})
}
