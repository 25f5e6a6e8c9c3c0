package main

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// rawTail is the least that carries messages from the outbox to Kafka: the driver's change stream, a document decoded,
// a record produced. It keeps no checkpoint, holds no lease, and does not care what the broker refuses.
type rawTail struct {
	end   context.CancelFunc
	ended chan error
}

// streamBatch is how many events the server sends at a time, as in adapters/mongodb.
const streamBatch = 1000

func (r *rawStore) tail(ctx context.Context, brokers, topic string, after bson.Raw) (*rawTail, error) {
	producer, err := newRawProducer(brokers, topic)
	if err != nil {
		return nil, err
	}
	opts := options.ChangeStream().SetBatchSize(streamBatch)
	if after != nil {
		opts.SetResumeAfter(after)
	}
	inserts := mongo.Pipeline{{{Key: "$match", Value: bson.D{{Key: "operationType", Value: "insert"}}}}}
	stream, err := r.outbox.Watch(ctx, inserts, opts)
	if err != nil {
		return nil, errors.Join(err, producer.close())
	}
	ctx, end := context.WithCancel(ctx)
	t := &rawTail{end: end, ended: make(chan error, 1)}
	go func() {
		t.ended <- copyStream(ctx, stream, producer)
	}()
	return t, nil
}

func copyStream(ctx context.Context, stream *mongo.ChangeStream, producer *rawProducer) error {
	for stream.Next(ctx) {
		var event struct {
			Message messageDocument `bson:"fullDocument"`
		}
		// Not stream.Decode, which makes a buffer of 4 KB for each event.
		err := bson.Unmarshal(stream.Current, &event)
		if err == nil {
			err = producer.produce(ctx, &event.Message)
		}
		if err != nil {
			return errors.Join(err, producer.close())
		}
	}
	err := stream.Err()
	if ctx.Err() != nil {
		err = nil // it was told to stop
	}
	return errors.Join(err, stream.Close(context.WithoutCancel(ctx)), producer.close())
}

// stop ends the loop. What it has produced is with the broker already, or is given up.
func (t *rawTail) stop() error {
	t.end()
	return <-t.ended
}
