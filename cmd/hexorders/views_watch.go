package main

import (
	"context"
	"time"
)

const (
	lookAtViewsEvery = 5 * time.Second
	// viewsStaleAfter is long beside the second or so that a view is behind while it is filled, a rebalancing of Kafka's
	// consumers included.
	viewsStaleAfter = 30 * time.Second
)

// watchViews warns once when no process updates the views that this one serves, and reports when one does again.
func (s *Service) watchViews(ctx context.Context) {
	ticker := time.NewTicker(lookAtViewsEvery)
	defer ticker.Stop()
	began, stale := time.Now(), false
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		freshness, err := s.storage.views.Freshness(ctx, "")
		if err != nil {
			continue // the store is away; a request for a list gets that as its error
		}
		if freshness.Incomplete != "" {
			continue // no age can tell whether a process updates them, and the one that found it has said so
		}
		asOf := freshness.AsOf
		if asOf.Before(began) {
			asOf = began // a process that starts beside us gets as long
		}
		switch was := stale; {
		case !was && time.Since(asOf) > viewsStaleAfter:
			stale = true
			s.log.Warn("no process updates the views, and lists are old: start a process with the role views", "asOf", asOf)
		case was && time.Since(asOf) <= viewsStaleAfter:
			stale = false
			s.log.Info("the views are up to date again")
		}
	}
}
