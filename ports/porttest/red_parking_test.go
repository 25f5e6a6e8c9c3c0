package porttest_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hexorders/adapters/memory"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

var parkingFlaws = []flaw[porttest.Storage]{
	parkingFlaw("forgets the trace parent", "a parked message reads back whole"),
	parkingFlaw("parks again as if for the first time", "parking a message again changes nothing but the reason"),
	parkingFlaw("keeps the first reason", "parking a message again changes nothing but the reason"),
	parkingFlaw("orders versions as text", "an order's messages come in version order"),
	parkingFlaw("calls an order without messages not found", "an order with nothing parked has no messages, and that is no error"),
	parkingFlaw("lists orders backwards", "parked orders are listed by id, each with its own messages"),
	parkingFlaw("tells the reason of the newest message", "an order's first message gives its version, reason and time"),
	parkingFlaw("loses every seventh message", "messages parked at the same moment are all kept"),
	parkingFlaw("forgets a retry when more is parked", "Retry is remembered, also when more is parked"),
	parkingFlaw("takes a retry of nothing", "Retry of an order with nothing parked is ErrNotFound"),
	parkingFlaw("ignores that a retry was refused", "Refused ends a retry, and the order stays parked with the new reason"),
	parkingFlaw("unparks what was refused", "Refused ends a retry, and the order stays parked with the new reason"),
	parkingFlaw("never unparks", "Unpark forgets a message, and the order with its last one"),
	parkingFlaw("cannot unpark what is not parked", "unparking a message that is not parked is no error"),
	parkingFlaw("never forgets a retry", "an order parked again waits for another Retry"),
	parkingFlaw("has the driver's error while it is away", "while the store cannot be reached, every call is ErrUnavailable"),
	parkingFlaw("keeps in each handle what is parked", "two handles share what is parked"),
	parkingFlaw("forgets a retry when it stops", "after a restart messages, reason, time and retry are kept"),
	parkingFlaw("ignores a cancelled context", "a cancelled context ends every call"),
}

func soundParking() porttest.Storage { return openParking("") }

func parkingFlaw(name string, red ...string) flaw[porttest.Storage] {
	return flaw[porttest.Storage]{name, func() porttest.Storage { return openParking(name) }, red}
}

func openParking(flaw string) porttest.Storage {
	p := &parking{Parking: memory.NewParking(), flaw: flaw, retried: map[string]bool{}}
	storage := porttest.Storage{Parking: p, Break: p.breakDown(flaw)}
	storage.Again = func(testing.TB) porttest.Storage {
		if p.has("keeps in each handle what is parked") {
			return openParking(flaw)
		}
		return storage
	}
	storage.Restart = func(t testing.TB) porttest.Storage {
		if p.has("forgets a retry when it stops") {
			if err := p.Refused(t.Context(), "order-000001", "too large"); err != nil {
				t.Error(err)
			}
		}
		return storage
	}
	return storage
}

// outage makes a fake unreachable, with the right error or with another.
type outage struct {
	away atomic.Bool
	hide bool
}

func (o *outage) breakDown(flaw string) func(testing.TB) func() {
	o.hide = flaw == "has the driver's error while it is away"
	return func(testing.TB) func() {
		o.away.Store(true)
		return func() { o.away.Store(false) }
	}
}

func (o *outage) reach() error {
	switch {
	case !o.away.Load():
		return nil
	case o.hide:
		return errors.New("connection refused")
	}
	return ports.ErrUnavailable
}

// parking spoils what goes into a sound one and what comes out of it.
type parking struct {
	ports.Parking
	outage
	flaw string

	mu      sync.Mutex
	parked  int
	newest  string // reason
	retried map[string]bool
}

func (p *parking) has(flaw string) bool { return p.flaw == flaw }

func (p *parking) context(ctx context.Context) context.Context {
	if p.has("ignores a cancelled context") {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func (p *parking) Park(ctx context.Context, m ports.Message, reason string) error {
	if err := p.reach(); err != nil {
		return err
	}
	ctx = p.context(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked++
	p.newest = reason
	switch p.flaw {
	case "forgets the trace parent":
		m.TraceParent = ""
	case "parks again as if for the first time":
		if err := p.Parking.Unpark(ctx, m); err != nil {
			return err
		}
	case "keeps the first reason":
		messages, err := p.Parking.Messages(ctx, m.OrderID)
		if err != nil || slices.ContainsFunc(messages, func(e ports.Message) bool { return e.ID == m.ID }) {
			return err
		}
	case "loses every seventh message":
		if p.parked%7 == 0 {
			return nil
		}
	case "forgets a retry when more is parked":
		list, err := p.Parking.Parked(ctx)
		if err != nil {
			return err
		}
		for _, o := range list {
			if err := p.Parking.Refused(ctx, o.OrderID, o.Reason); err != nil {
				return err
			}
		}
	}
	return p.Parking.Park(ctx, m, reason)
}

func (p *parking) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	if err := p.reach(); err != nil {
		return nil, err
	}
	list, err := p.Parking.Parked(p.context(ctx))
	for i := range list {
		switch p.flaw {
		case "tells the reason of the newest message":
			list[i].Reason = p.newest
		case "never forgets a retry":
			list[i].Retry = p.retried[list[i].OrderID]
		}
	}
	if p.has("lists orders backwards") {
		slices.Reverse(list)
	}
	return list, err
}

func (p *parking) Messages(ctx context.Context, orderID string) ([]ports.Message, error) {
	if err := p.reach(); err != nil {
		return nil, err
	}
	messages, err := p.Parking.Messages(p.context(ctx), orderID)
	switch p.flaw {
	case "orders versions as text":
		slices.SortFunc(messages, func(a, b ports.Message) int {
			return cmp.Or(strings.Compare(a.OrderID, b.OrderID), strings.Compare(a.ID, b.ID))
		})
	case "calls an order without messages not found":
		if len(messages) == 0 {
			return nil, ports.ErrNotFound
		}
	}
	return messages, err
}

func (p *parking) Retry(ctx context.Context, orderID string) error {
	if err := p.reach(); err != nil {
		return err
	}
	p.retried[orderID] = true
	err := p.Parking.Retry(p.context(ctx), orderID)
	if p.has("takes a retry of nothing") && errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	return err
}

func (p *parking) Unpark(ctx context.Context, m ports.Message) error {
	if err := p.reach(); err != nil {
		return err
	}
	ctx = p.context(ctx)
	switch p.flaw {
	case "never unparks":
		return nil
	case "cannot unpark what is not parked":
		messages, err := p.Parking.Messages(ctx, m.OrderID)
		if err == nil && !slices.ContainsFunc(messages, func(e ports.Message) bool { return e.ID == m.ID }) {
			return ports.ErrNotFound
		}
	}
	return p.Parking.Unpark(ctx, m)
}

func (p *parking) Refused(ctx context.Context, orderID, reason string) error {
	if err := p.reach(); err != nil {
		return err
	}
	ctx = p.context(ctx)
	switch p.flaw {
	case "ignores that a retry was refused":
		return nil
	case "unparks what was refused":
		messages, err := p.Parking.Messages(ctx, orderID)
		if err != nil {
			return err
		}
		if err := p.Parking.Unpark(ctx, messages[0]); err != nil {
			return err
		}
	}
	return p.Parking.Refused(ctx, orderID, reason)
}
