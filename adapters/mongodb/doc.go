// Package mongodb stores orders, their outbox, the relay's checkpoint and lease, parked messages, and the log of
// the in-process broker. DESIGN.md explains the ideas, the invariants and the failure cases on one page.
//
// Read documents.go for what is in the collections. A save runs one way: order_store.go (or order_events.go, the
// event-sourced store), order_save.go encodes, committer.go batches, transaction.go commits, commands.go talks to the
// server; idempotency.go stores results of requests. The relay reads outbox_stream.go, at first outbox_scan.go, with
// the positions of outbox_position.go. Then lease.go and parking.go.
//
// The read model is a room of its own, package readmodel. It uses RunTransaction, RunCommands, Fail and ParkingIn of this
// package; nothing here knows it.
//
// The server must be a replica set, of at least one member: a standalone one has no transactions and no change
// streams.
package mongodb
