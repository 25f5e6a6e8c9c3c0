package main

import (
	"net/http"
	"strings"

	"hexorders/adapters/console"
)

// The console stands beside the API, not behind it: its streams outlive the time that a request may take, and what it
// answers costs the store little, however many ask.

// newFeed is nil without the console.
func newFeed(c *Config) *console.Feed {
	if !c.Console {
		return nil
	}
	return console.NewFeed()
}

func (s *Service) withConsole(api http.Handler) http.Handler {
	if s.feed == nil {
		return api
	}
	options := console.Options{
		Feed: s.feed, Roles: s.roles, Store: s.config.Store.name, Broker: s.config.Broker.name, Logger: s.log,
		Ports: console.Adapters{
			OrderStore: s.storage.orders, Outbox: s.storage.outbox, Parking: s.storage.parking,
			ReadModelStore: s.storage.views, Publisher: s.publisher, Subscriber: s.subscriber,
		},
		Unread: s.storage.unread,
	}
	if s.relay != nil {
		options.Relay = s.relay.Status
	}
	if s.views != nil {
		options.Views = s.views.Status
	}
	page, watched := console.New(options), console.Requests(api, s.feed)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/console" || strings.HasPrefix(r.URL.Path, "/console/") {
			page.ServeHTTP(w, r)
			return
		}
		watched.ServeHTTP(w, r)
	})
}
