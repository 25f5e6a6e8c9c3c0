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

// watchViews warns when nobody fills the views that this process serves, once, and says when somebody does again.
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
			continue // the store is away; whoever asks for a list is told
		}
		if oldest.Before(began) {
			oldest = began // give whoever starts beside us as long
		}
		switch was := stale; {
		case !was && time.Since(oldest) > viewsStaleAfter:
			stale = true
			s.log.Warn("nobody keeps the views up to date, and lists are old: start a process with the role projections", "asOf", oldest)
		case was && time.Since(oldest) <= viewsStaleAfter:
			stale = false
			s.log.Info("the views are kept up to date")
		}
	}
}

// oldestView is a time up to which all views know everything, zero when that cannot be said of one.
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
