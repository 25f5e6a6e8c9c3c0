// Package nats publishes committed events to NATS JetStream and reads them back. All events are in one stream, which keeps
// them in the order in which the server has stored them, with CloudEvents 1.0 headers around the JSON of package
// eventjson.
//
// Read options.go first. Then, for publishing: publisher.go and headers.go (a message as one of NATS). For reading:
// subscriber.go (batches and gaps), turn.go (one member of a group reads at a time). Both use connection.go and
// stream.go. DESIGN.md says what an acknowledgement of JetStream is worth.
package nats
