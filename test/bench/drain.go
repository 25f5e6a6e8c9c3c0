package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// backlog is an outbox that filled up while nobody relayed. Every round drains it anew: the relay's checkpoint is put
// back to what it was, and the topic is another. Nobody may write meanwhile, to this database or another: a change
// stream reads the whole oplog, and would be timed reading what is not for it.
type backlog struct {
	lab        *lab
	db         *mongo.Database
	raw        *rawStore
	messages   int
	each       int      // messages of an order
	checkpoint bson.D   // of hexorders, before the first of the messages
	token      bson.Raw // of the change stream, the same
	close      func()
}

// newBacklog is an empty one that the relay has a checkpoint for.
func (l *lab) newBacklog(ctx context.Context, each int) (b *backlog, err error) {
	db, drop, err := l.database(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := newRawStore(l.mongoURI, db.Name())
	if err != nil {
		drop()
		return nil, err
	}
	b = &backlog{lab: l, db: db, raw: raw, each: each, close: func() { raw.close(); drop() }}
	_, first := newDocuments(time.Now())
	_, err = raw.outbox.InsertOne(ctx, first)
	if err == nil {
		err = b.catchUp(ctx, 1)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// grow adds messages, those of a thousand orders at a time in turn.
func (b *backlog) grow(ctx context.Context, into *mongo.Collection, messages int) error {
	const open = 1000
	ids := make([]string, open)
	now := time.Now()
	return fill(ctx, into, messages, func(i int) messageDocument {
		turn := i / open
		if turn%b.each == 0 {
			ids[i%open] = uuid.Must(uuid.NewV7()).String()
		}
		return newMessage(ids[i%open], turn%b.each+1, "OrderCreated", now, `,"buyerId":"9999","items":[{"productId":"1111","amount":3}]`)
	})
}

// catchUp has the relay publish what there is, so many messages, and notes where it and a change stream go on.
func (b *backlog) catchUp(ctx context.Context, messages int) error {
	_, err := b.into(ctx, messages, func(topic string) (s sample, err error) {
		relay, err := b.lab.serve(ctx, b.db.Name(), topic, "relay")
		if err != nil {
			return s, err
		}
		_, _, err = b.lab.appended(ctx, topic, 0, time.Time{}, messages)
		return s, errors.Join(err, relay.stop())
	})
	if err != nil {
		return err
	}
	b.checkpoint = nil
	if err := b.db.Collection("relay").FindOne(ctx, checkpointID).Decode(&b.checkpoint); err != nil {
		return err
	}
	b.token, err = b.raw.position(ctx)
	return err
}

var checkpointID = bson.D{{Key: "_id", Value: "outbox"}}

// fresh drains with the relay messages that were written just before.
func (b *backlog) fresh(ctx context.Context) (sample, error) {
	b.checkpoint = nil // it goes on where it is
	if err := b.grow(ctx, b.raw.outbox, b.messages); err != nil {
		return sample{}, err
	}
	return b.ours(ctx)
}

// ours drains it with the relay, as a process.
func (b *backlog) ours(ctx context.Context) (s sample, err error) {
	if b.checkpoint != nil {
		if _, err := b.db.Collection("relay").ReplaceOne(ctx, checkpointID, b.checkpoint); err != nil {
			return s, err
		}
	}
	return b.into(ctx, b.messages, func(topic string) (s sample, err error) {
		relay, err := b.lab.serve(ctx, b.db.Name(), topic, "relay")
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, relay.stop()) }()
		meter, err := b.lab.startMeter(ctx, relay.command.Process.Pid, relay.mallocs)
		if err != nil {
			return s, err
		}
		var ended time.Time
		if s.rate, ended, err = b.lab.appended(ctx, topic, 0, time.Time{}, b.messages); err != nil {
			return s, err
		}
		began, err := relay.logged("relay holds the lease")
		if err != nil {
			return s, err
		}
		s.whole = float64(b.messages) / ended.Sub(began).Seconds()
		if s.rss, err = peakMemory(relay.command.Process.Pid); err != nil {
			return s, err
		}
		return s, meter.read(ctx, &s, b.messages)
	})
}

// stream drains it with rawTail.
func (b *backlog) stream(ctx context.Context) (sample, error) {
	return b.into(ctx, b.messages, func(topic string) (s sample, err error) {
		meter, err := b.lab.startMeter(ctx, os.Getpid(), ownMallocs)
		if err != nil {
			return s, err
		}
		tail, err := b.raw.tail(ctx, b.lab.brokers, topic, b.token)
		if err != nil {
			return s, err
		}
		s.rate, _, err = b.lab.appended(ctx, topic, 0, time.Time{}, b.messages)
		if err := errors.Join(err, tail.stop()); err != nil {
			return s, err
		}
		return s, meter.read(ctx, &s, b.messages)
	})
}

// poll drains it as the outbox does that everybody writes: find what is not marked, produce it, wait for the
// acknowledgements, mark it.
func (b *backlog) poll(ctx context.Context) (sample, error) {
	unmarked := bson.D{{Key: "published", Value: nil}}
	mark := bson.D{{Key: "$set", Value: bson.D{{Key: "published", Value: true}}}}
	outbox, err := b.unmarked(ctx)
	if err != nil {
		return sample{}, err
	}
	return b.into(ctx, b.messages, func(topic string) (s sample, err error) {
		producer, err := newRawProducer(b.lab.brokers, topic)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, producer.close()) }()
		find := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(chunk)
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
		s.rate, _, err = b.lab.appended(ctx, topic, 0, time.Time{}, b.messages)
		return s, err
	})
}

// unmarked is a new collection of messages, none of them marked, with the index that the search needs.
func (b *backlog) unmarked(ctx context.Context) (*mongo.Collection, error) {
	polled := b.db.Collection("polled")
	if err := polled.Drop(ctx); err != nil {
		return nil, err
	}
	index := mongo.IndexModel{Keys: bson.D{{Key: "published", Value: 1}, {Key: "_id", Value: 1}}}
	if _, err := polled.Indexes().CreateOne(ctx, index); err != nil {
		return nil, err
	}
	return polled, b.grow(ctx, polled, b.messages)
}

// into gives work a new topic.
func (b *backlog) into(ctx context.Context, messages int, work func(topic string) (sample, error)) (sample, error) {
	topic := b.lab.newName()
	if err := b.lab.createTopic(ctx, topic); err != nil {
		return sample{}, err
	}
	defer b.lab.deleteTopic(ctx, topic)
	s, err := work(topic)
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
		r, err := l.drainStream(ctx, each)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	b, err := l.newBacklog(ctx, 1)
	if err != nil {
		return results, err
	}
	defer b.close()
	b.messages = l.messages
	title := fmt.Sprintf("relay of %s new messages", thousands(float64(l.messages)))
	r, err := l.compare(ctx, title, []side{{ours, b.fresh}, {polling, b.poll}},
		line{title, ours, polling, rate, "messages/s", aim{}})
	r.group, r.charts = "new messages", drainCharts
	return append(results, r), err
}

var drainCharts = []chart{{"drain", "Relay: messages a second", rate}}

func (l *lab) drainStream(ctx context.Context, each int) (r result, err error) {
	b, err := l.newBacklog(ctx, each)
	if err != nil {
		return r, err
	}
	defer b.close()
	b.messages = l.messages
	if err := b.grow(ctx, b.raw.outbox, b.messages); err != nil {
		return r, err
	}
	group := "an order each"
	if each > 1 {
		group = fmt.Sprintf("%d an order", each)
	}
	title := fmt.Sprintf("relay of %s messages, %s", thousands(float64(l.messages)), group)
	lines := []line{{title, ours, raw, rate, "messages/s", atLeast(0.85)}}
	if each == 1 {
		lines = append(lines,
			line{title + ": processor time of the process, a message", ours, raw, cpu, "µs", aim{}},
			line{title + ": allocations a message", ours, raw, mallocs, "", aim{}})
	}
	r, err = l.compare(ctx, title, []side{{ours, b.ours}, {raw, b.stream}}, lines...)
	r.group, r.charts = group, drainCharts
	return r, err
}

// backlogs is the relay on longer and longer backlogs. They all end where the outbox does, and begin further back.
func backlogs(ctx context.Context, l *lab) ([]result, error) {
	name := func(n int) string { return thousands(float64(n)) + " messages" }
	b, err := l.newBacklog(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer b.close()
	var sides []side
	for i, n := range slices.Backward(l.backlogs) {
		from := *b
		from.messages = n
		sides = slices.Insert(sides, 0, side{name(n), from.ours})
		shorter := 0
		if i > 0 {
			shorter = l.backlogs[i-1]
		}
		if err := b.grow(ctx, b.raw.outbox, n-shorter); err != nil {
			return nil, err
		}
		if shorter > 0 {
			if err := b.catchUp(ctx, n-shorter); err != nil {
				return nil, err
			}
		}
	}
	var lines []line
	for i, n := range l.backlogs {
		title := "relay of a backlog of " + name(n)
		if i > 0 {
			speed := line{title + ", all in all", name(n), name(l.backlogs[0]), whole, "messages/s", aim{}}
			if i == len(l.backlogs)-1 {
				speed.aim = atLeast(0.9)
			}
			lines = append(lines, speed)
		}
		lines = append(lines, line{title + ": peak memory", name(n), "", rss, "MiB", below(150, "MiB")})
	}
	r, err := l.compare(ctx, "backlog", sides, lines...)
	r.group, r.charts = "messages in the backlog",
		[]chart{{"backlog", "Relay: messages a second, all in all, by the length of the backlog", whole}}
	return []result{r}, err
}
