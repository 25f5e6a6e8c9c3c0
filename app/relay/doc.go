// Package relay publishes committed messages: it reads the outbox, hands each message to the broker and records how far
// it has come. DESIGN.md has the states of a message, the invariants and the failure cases.
//
// Read in this order:
//
//	relay.go       Relay, its options, and Run: acquire the lease, lead, stand by again
//	inflight.go    which message of an order may go next, and how far the checkpoint may move
//	leadership.go  one period of holding the lease: what it starts, what ends it
//	loop.go        the one goroutine that owns all state and takes every decision
//	checkpoint.go  saving progress; redelivery.go: parking an order and sending it again; trim.go: deleting old messages
//	status.go      what metrics may read while the relay works
package relay
