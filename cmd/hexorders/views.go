package main

import (
	"context"
	"fmt"
	"time"

	"hexorders/ports"
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
		oldest, err := oldestView(ctx, s.storage.views)
		if err != nil {
			continue // the store is away; a request for a list gets that as its error
		}
		if oldest.Before(began) {
			oldest = began // a process that starts beside us gets as long
		}
		switch was := stale; {
		case !was && time.Since(oldest) > viewsStaleAfter:
			stale = true
			s.log.Warn("no process updates the views, and lists are old: start a process with the role projections", "asOf", oldest)
		case was && time.Since(oldest) <= viewsStaleAfter:
			stale = false
			s.log.Info("the views are up to date again")
		}
	}
}

// oldestView is the time as of which all views are up to date, zero when one of them has no such time.
func oldestView(ctx context.Context, views ports.OrderViews) (oldest time.Time, err error) {
	for i, view := range ports.AllViews {
		freshness, err := views.Freshness(ctx, view, "")
		if err != nil {
			return time.Time{}, fmt.Errorf("%s: %w", view, err)
		}
		if i == 0 || freshness.AsOf.Before(oldest) {
			oldest = freshness.AsOf
		}
	}
	return oldest, nil
}
