package mongodb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// Topic implements inproc.Log: the log behind the in-process broker, and how far its subscribers have come.
//
//	topic        {_id: offset, message: <as in the outbox>}
//	topic_end    {_id: "topic", end: the newest offset, id: of this topic among all that there ever were}
//	subscribers  {_id: name, position}
//
// An append takes its offsets from topic_end in the transaction that inserts the messages, so the appends of all
// processes come one after the other: a reader that sees an offset sees all before it.
type Topic struct {
	db    *mongo.Database
	topic *mongo.Collection
	end   *mongo.Collection
	subs  *mongo.Collection

	appending chan struct{} // one slot: two appends of this process at once would only conflict

	mu    sync.Mutex
	grown chan struct{} // closed, and replaced, after each append of this process
}

const (
	topicID = "topic"
	// topicPage bounds the messages of one query. The server sends at most 16 MB at a time.
	topicPage = 1000
	// lookForMessagesEvery bounds how late this process sees another's append. A query that finds nothing reads one index
	// entry.
	lookForMessagesEvery = 200 * time.Millisecond
)

type topicDocument struct {
	Offset  int64           `bson:"_id"`
	Message messageDocument `bson:"message"`
}

// NewTopic needs a database that Connect has prepared.
func NewTopic(db *mongo.Database) *Topic {
	return &Topic{
		db: db, topic: db.Collection(topicCollection), end: db.Collection(topicEndCollection), subs: db.Collection(subscribersCollection),
		appending: make(chan struct{}, 1), grown: make(chan struct{}),
	}
}

// Append implements inproc.Log.
func (t *Topic) Append(ctx context.Context, messages []ports.Message) error {
	if len(messages) == 0 {
		return ctx.Err()
	}
	err := t.append(ctx, messages)
	return Fail(ctx, fmt.Sprintf("append %d messages to the topic", len(messages)), err)
}

func (t *Topic) append(ctx context.Context, messages []ports.Message) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	select {
	case t.appending <- struct{}{}:
		defer func() { <-t.appending }()
	case <-bounded.Done():
		return bounded.Err()
	}
	err := RunTransaction(bounded, t.db.Client(), nil, untilDeadline, func(ctx context.Context) error {
		more := bson.D{{Key: "$inc", Value: bson.D{{Key: "end", Value: int64(len(messages))}}}}
		var before struct{ End int64 }
		if err := t.end.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: topicID}}, more).Decode(&before); err != nil {
			return err
		}
		documents := make([]bson.Raw, len(messages))
		for i, m := range messages {
			var err error
			if documents[i], err = bson.Marshal(topicDocument{before.End + int64(i) + 1, newMessageDocument(m)}); err != nil {
				return err
			}
		}
		return insertAll(ctx, t.topic, documents)
	})
	if err == nil {
		t.mu.Lock()
		close(t.grown)
		t.grown = make(chan struct{})
		t.mu.Unlock()
	}
	return err
}

// Read implements inproc.Log.
func (t *Topic) Read(ctx context.Context, after int64, limit int) (messages []ports.Message, last int64, err error) {
	const doing = "read the topic"
	for {
		t.mu.Lock()
		grown := t.grown
		t.mu.Unlock()
		messages, last, err = t.page(ctx, after, min(max(limit, 1), topicPage))
		if err != nil || len(messages) > 0 {
			return messages, last, Fail(ctx, doing, err)
		}
		again := time.NewTimer(lookForMessagesEvery)
		select {
		case <-grown:
		case <-again.C:
		case <-ctx.Done():
			err = fmt.Errorf("%s: %w", doing, ctx.Err())
		}
		again.Stop()
		if err != nil {
			return nil, 0, err
		}
	}
}

// page returns the messages that are stored now.
func (t *Topic) page(ctx context.Context, after int64, limit int) (messages []ports.Message, last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	later := bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}}}
	find := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(limit)).SetBatchSize(int32(limit))
	cursor, err := t.topic.Find(ctx, later, find)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = cursor.Close(ctx) }() // if this fails, the server closes the cursor after its idle timeout
	for answered := false; !answered && cursor.Next(ctx); answered = cursor.RemainingBatchLength() == 0 {
		var d topicDocument
		if err := cursor.Decode(&d); err != nil {
			return nil, 0, err
		}
		messages, last = append(messages, d.Message.message()), d.Offset
	}
	if err := cursor.Err(); err != nil {
		return nil, 0, err
	}
	return messages, last, nil
}

// Begin implements inproc.Log.
func (t *Topic) Begin(ctx context.Context) (id string, before int64, err error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var topic struct {
		ID  string `bson:"id"`
		End int64  `bson:"end"`
	}
	var oldest topicDocument
	is := bson.D{{Key: "_id", Value: topicID}}
	err = t.end.FindOne(bounded, is).Decode(&topic)
	if errors.Is(err, mongo.ErrNoDocuments) { // the database was dropped under this process: it gets another topic
		if err = prepareTopicEnd(bounded, t.end); err == nil {
			err = t.end.FindOne(bounded, is).Decode(&topic)
		}
	}
	if err == nil {
		first := options.FindOne().SetSort(bson.D{{Key: "_id", Value: 1}}).SetProjection(bson.D{{Key: "_id", Value: 1}})
		err = t.topic.FindOne(bounded, bson.D{}, first).Decode(&oldest)
	}
	if errors.Is(err, mongo.ErrNoDocuments) {
		oldest.Offset, err = topic.End+1, nil
	}
	return topic.ID, oldest.Offset - 1, Fail(ctx, "read the topic's beginning", err)
}

// End implements inproc.Log.
func (t *Topic) End(ctx context.Context) (int64, error) {
	end, err := number(ctx, t.end, topicID, "end")
	return end, Fail(ctx, "read the topic's end", err)
}

// Committed implements inproc.Log.
func (t *Topic) Committed(ctx context.Context, subscriber string) (int64, error) {
	position, err := number(ctx, t.subs, subscriber, "position")
	return position, Fail(ctx, fmt.Sprintf("read how far subscriber %q has come", subscriber), err)
}

// Commit implements inproc.Log.
func (t *Topic) Commit(ctx context.Context, subscriber string, offset int64) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	set := bson.D{{Key: "$set", Value: bson.D{{Key: "position", Value: offset}}}}
	_, err := t.subs.UpdateByID(bounded, subscriber, set, options.UpdateOne().SetUpsert(true))
	return Fail(ctx, fmt.Sprintf("remember how far subscriber %q has come", subscriber), err)
}

// number reads a field of a document; 0 if there is no document.
func number(ctx context.Context, c *mongo.Collection, id, name string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	document, err := c.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	f := fields{document: document}
	n := f.number(name)
	return int64(n), f.err
}
