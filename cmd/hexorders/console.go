package main

import (
	"context"
	"net/http"

	"hexorders/adapters/console"
	"hexorders/ports"
)

// console is the handler of the page, nil when it is off. A process without the role api serves it too: it shows what this
// process sees.
func (s *Service) console() http.Handler {
	if s.feed == nil {
		return nil
	}
	o := console.Options{
		Feed: s.feed, Spans: s.spans, Roles: s.roles, Store: s.config.Store.name, Broker: s.config.Broker.name, Logger: s.log,
		Ports: console.Adapters{
			OrderStore: s.storage.orders, Outbox: part[ports.Outbox](s.storage), Parking: s.storage.parking,
			ReadModelStore: s.storage.views, Publisher: s.publisher, Subscriber: s.subscriber,
		},
		Unread: s.storage.unread,
	}
	if s.demo != nil {
		o.Ports.OrderStore, o.Ports.Outbox = s.demo.orders, s.demo.outbox
		o.Demo = &console.Demo{
			State: func(ctx context.Context) (any, error) { return s.demo.state(ctx) }, Press: s.demo.press,
		}
	}
	if s.relay != nil {
		o.Relay = s.relay.Status
	}
	if s.views != nil {
		o.Views = s.views.Status
	}
	return console.New(o)
}
