// Package kafka publishes committed events to Apache Kafka and reads them back. All events are in one topic, with the
// order id as the key, so that an order's events stay in sequence, and with CloudEvents 1.0 headers around the JSON of
// package eventjson.
//
// Read options.go first. Then, for publishing: publisher.go (waits for the broker and the topic), session.go (what
// happens when the broker rejects a batch), producer.go (one librdkafka producer and its settings), headers.go (a
// message as a record). For reading: subscriber.go (replaces a broken consumer), consumer_loop.go (batches, the
// handler, rebalances). Both use topic_admin.go, errors.go (what each error code means) and logs.go (librdkafka's
// log).
//
// The package uses librdkafka through confluent-kafka-go and therefore needs cgo. Without cgo it still compiles, and
// NewPublisher and NewSubscriber return an error that says what to do (nocgo.go).
package kafka
