package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// backlog is an outbox that filled up while nobody relayed. Every round drains it anew: the relay's checkpoint is put
// back to what it was, and the topic is another.
type backlog struct {
	lab        *lab
	db         *mongo.Database
	raw        *rawStore
	messages   int
	checkpoint bson.D   // of hexorders, before the first of the messages
	token      bson.Raw // the change stream's, the same
	close      func()
}

// newBacklog fills an outbox with messages of orders that have so many each, a thousand orders at a time
// in turn.
func (l *lab) newBacklog(ctx context.Context, messages, each int) (b *backlog, err error) {
	db, drop, err := l.database(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := l.newRawStore(db.Name())
	if err != nil {
		drop()
		return nil, err
	}
	b = &backlog{lab: l, db: db, raw: raw, messages: messages, close: func() { raw.close(); drop() }}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := b.takePositions(ctx); err != nil {
		return nil, err
	}
	const open = 1000 // orders that change in turn
	ids := make([]string, open)
	now := time.Now()
	return b, fill(ctx, raw.outbox, messages, func(i int) messageDocument {
		turn := i / open
		if turn%each == 0 {
			ids[i%open] = uuid.Must(uuid.NewV7()).String()
		}
		return newMessage(ids[i%open], turn%each+1, "OrderCreated", now, `,"buyerId":"9999","items":[{"productId":"1111","amount":3}]`)
	})
}

// takePositions has the relay publish one message, so that it has a checkpoint to go on from.
func (b *backlog) takePositions(ctx context.Context) error {
	stream, err := b.raw.outbox.Watch(ctx, mongo.Pipeline{})
	if err != nil {
		return err
	}
	b.token = stream.ResumeToken()
	if err := stream.Close(ctx); err != nil {
		return err
	}
	_, first := newDocuments(time.Now())
	if _, err := b.raw.outbox.InsertOne(ctx, first); err != nil {
		return err
	}
	topic := b.lab.newName()
	if err := b.lab.createTopic(ctx, topic); err != nil {
		return err
	}
	defer b.lab.deleteTopic(ctx, topic)
	relay, err := b.lab.serve(ctx, b.db.Name(), topic, "relay")
	if err != nil {
		return err
	}
	err = await(ctx, time.Minute, func() (bool, error) {
		err := b.db.Collection("relay").FindOne(ctx, bson.D{{Key: "_id", Value: "outbox"}}).Decode(&b.checkpoint)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return false, nil
		}
		return err == nil, err
	})
	return errors.Join(err, relay.stop())
}

// ours drains it with the relay, as a process.
func (b *backlog) ours(ctx context.Context) (s sample, err error) {
	byID := bson.D{{Key: "_id", Value: "outbox"}}
	if _, err := b.db.Collection("relay").ReplaceOne(ctx, byID, b.checkpoint, options.Replace().SetUpsert(true)); err != nil {
		return s, err
	}
	return b.into(ctx, b.messages, func(topic string, began time.Time) (s sample, err error) {
		relay, err := b.lab.serve(ctx, b.db.Name(), topic, "relay")
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, relay.stop()) }()
		meter, err := b.lab.startMeter(ctx, relay.command.Process.Pid, relay.mallocs)
		if err != nil {
			return s, err
		}
		if s.rate, err = b.lab.appended(ctx, topic, 0, began, b.messages); err != nil {
			return s, err
		}
		if s.rss, err = peakMemory(relay.command.Process.Pid); err != nil {
			return s, err
		}
		return s, meter.read(ctx, &s, b.messages)
	})
}

// stream drains it with rawTail.
func (b *backlog) stream(ctx context.Context) (sample, error) {
	return b.into(ctx, b.messages+1, func(topic string, began time.Time) (s sample, err error) {
		meter, err := b.lab.startMeter(ctx, os.Getpid(), ownMallocs)
		if err != nil {
			return s, err
		}
		tail, err := b.raw.tail(ctx, b.lab.brokers, topic, b.token)
		if err != nil {
			return s, err
		}
		s.rate, err = b.lab.appended(ctx, topic, 0, began, b.messages+1)
		if err := errors.Join(err, tail.stop()); err != nil {
			return s, err
		}
		return s, meter.read(ctx, &s, b.messages+1)
	})
}

// poll drains it as the outbox does that everybody writes: find what is not marked, produce it, wait for the
// acknowledgements, mark it.
func (b *backlog) poll(ctx context.Context) (sample, error) {
	unmarked := bson.D{{Key: "published", Value: nil}}
	mark := bson.D{{Key: "$set", Value: bson.D{{Key: "published", Value: true}}}}
	if err := b.unmark(ctx); err != nil {
		return sample{}, err
	}
	return b.into(ctx, b.messages+1, func(topic string, began time.Time) (s sample, err error) {
		producer, err := newRawProducer(b.lab.brokers, topic)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, producer.close()) }()
		find := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(chunk)
		outbox := b.db.Collection("polled")
		for {
			cursor, err := outbox.Find(ctx, unmarked, find)
			if err != nil {
				return s, err
			}
			var messages []messageDocument
			if err := cursor.All(ctx, &messages); err != nil {
				return s, err
			}
			if len(messages) == 0 {
				break
			}
			ids := make([]string, len(messages))
			for i := range messages {
				ids[i] = messages[i].ID
				if err := producer.produce(ctx, &messages[i]); err != nil {
					return s, err
				}
			}
			if err := producer.flush(ctx); err != nil {
				return s, err
			}
			if _, err := outbox.UpdateMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, mark); err != nil {
				return s, err
			}
		}
		s.rate, err = b.lab.appended(ctx, topic, 0, began, b.messages+1)
		return s, err
	})
}

// unmark copies the messages to a collection of their own, none of them marked, with the index that the search needs.
func (b *backlog) unmark(ctx context.Context) error {
	polled := b.db.Collection("polled")
	if err := polled.Drop(ctx); err != nil {
		return err
	}
	index := mongo.IndexModel{Keys: bson.D{{Key: "published", Value: 1}, {Key: "_id", Value: 1}}}
	if _, err := polled.Indexes().CreateOne(ctx, index); err != nil {
		return err
	}
	cursor, err := b.raw.outbox.Aggregate(ctx, mongo.Pipeline{{{Key: "$merge", Value: bson.D{{Key: "into", Value: "polled"}}}}})
	if err != nil {
		return err
	}
	return cursor.Close(ctx)
}

// into gives work a new topic.
func (b *backlog) into(ctx context.Context, messages int, work func(topic string, began time.Time) (sample, error)) (sample, error) {
	topic := b.lab.newName()
	if err := b.lab.createTopic(ctx, topic); err != nil {
		return sample{}, err
	}
	defer b.lab.deleteTopic(ctx, topic)
	s, err := work(topic, time.Now())
	if err != nil {
		return s, err
	}
	// None lost and, in a run in which nothing breaks, none twice.
	if records, err := b.lab.end(ctx, topic); err != nil || records != int64(messages) {
		return s, errors.Join(err, fmt.Errorf("the topic has %d records, want %d", records, messages))
	}
	return s, nil
}

// drain is the relay against its peers.
func drain(ctx context.Context, l *lab) (results []result, err error) {
	for _, each := range []int{1, 5} {
		b, err := l.newBacklog(ctx, l.messages, each)
		if err != nil {
			return results, err
		}
		title := fmt.Sprintf("relay of %s messages, an order each", thousands(float64(l.messages)))
		if each > 1 {
			title = fmt.Sprintf("relay of %s messages, %d an order", thousands(float64(l.messages)), each)
		}
		sides := []side{{ours, b.ours}, {raw, b.stream}}
		lines := []line{{title, ours, raw, rate, "messages/s", atLeast(0.85)}}
		if each == 1 {
			sides = append(sides, side{polling, b.poll})
			lines = append(lines,
				line{title, ours, polling, rate, "messages/s", aim{}},
				line{title + ": processor time of the process, a message", ours, raw, cpu, "µs", aim{}},
				line{title + ": allocations a message", ours, raw, mallocs, "", aim{}})
		}
		r, err := l.compare(ctx, title, sides, lines...)
		b.close()
		if err != nil {
			return results, err
		}
		r.group, r.charts = fmt.Sprintf("%d an order", each), []chart{{"drain", "Relay: messages a second", rate}}
		results = append(results, r)
	}
	return results, nil
}

// backlogs is the relay on longer and longer backlogs.
func backlogs(ctx context.Context, l *lab) ([]result, error) {
	var sides []side
	var lines []line
	name := func(n int) string { return thousands(float64(n)) + " messages" }
	for i, n := range l.backlogs {
		b, err := l.newBacklog(ctx, n, 1)
		if err != nil {
			return nil, err
		}
		defer b.close()
		sides = append(sides, side{name(n), b.ours})
		lines = append(lines, line{"relay of a backlog of " + name(n) + ": peak memory", name(n), "", rss, "MiB", below(150, "MiB")})
		if i > 0 {
			speed := line{"relay of a backlog of " + name(n), name(n), name(l.backlogs[0]), rate, "messages/s", aim{}}
			if i == len(l.backlogs)-1 {
				speed.aim = atLeast(0.9)
			}
			lines = append(lines, speed)
		}
	}
	r, err := l.compare(ctx, "backlog", sides, lines...)
	r.group, r.charts = "messages in the backlog", []chart{{"backlog", "Relay: messages a second, by the length of the backlog", rate}}
	return []result{r}, err
}
