// Package readside makes the read model: it follows the topic, applies each event once and in order, and lets the views
// write their rows. DESIGN.md has the idea and the invariants.
//
// Read view.go first, then a view (order_summary.go, buyer_activity.go, timeline.go) with order.go and rows.go, which
// it uses. Then engine.go, consumer.go (from the subscriber to the store) and batch.go (the rules, without I/O); then
// retry.go (parked orders), rebuild.go, queries.go and status.go.
package readside
