package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	vegeta "github.com/tsenart/vegeta/v12/lib"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/kafka"
	"hexorders/adapters/mongodb"
	"hexorders/app"
	"hexorders/ports"
)

// views is the reading side: how fast a full topic is projected, and how far a view is behind the commits.
func views(ctx context.Context, l *lab) (results []result, err error) {
	projected, err := l.project(ctx)
	if err != nil {
		return nil, err
	}
	lag, err := l.viewLag(ctx)
	return []result{projected, lag}, err
}

// project is a projection of order-summary against the least that makes the same rows: records read, upserts in bulk, the
// offset kept nowhere, nothing checked for repeats or gaps, no transaction and no index. Both run in this process.
func (l *lab) project(ctx context.Context) (r result, err error) {
	topic := l.newName()
	if err := l.createTopic(ctx, topic); err != nil {
		return r, err
	}
	defer l.deleteTopic(ctx, topic)
	if err := l.fillTopic(ctx, topic); err != nil {
		return r, err
	}
	into := func(work func(context.Context, *mongo.Database) error) func(context.Context) (sample, error) {
		return func(ctx context.Context) (s sample, err error) {
			db, drop, err := l.database(ctx)
			if err != nil {
				return s, err
			}
			defer drop()
			meter, err := l.startMeter(ctx, os.Getpid(), ownMallocs)
			if err != nil {
				return s, err
			}
			began := time.Now()
			if err := work(ctx, db); err != nil {
				return s, err
			}
			s.done, s.rate = l.messages, float64(l.messages)/time.Since(began).Seconds()
			return s, meter.read(ctx, &s, l.messages)
		}
	}
	title := fmt.Sprintf("projection of %s events", thousands(float64(l.messages)))
	r, err = l.compare(ctx, title, []side{
		{ours, into(func(ctx context.Context, db *mongo.Database) error { return l.projectOurs(ctx, db, topic) })},
		{raw, into(func(ctx context.Context, db *mongo.Database) error { return l.projectRaw(ctx, db, topic) })},
	},
		line{title, ours, raw, rate, "events/s", aim{}},
		line{title + ": processor time of mongod an event", ours, raw, serverCPU, "µs", aim{}},
		line{title + ": processor time of the process, an event", ours, raw, cpu, "µs", aim{}},
	)
	r.group, r.charts = "order-summary", []chart{{"views", "Projection: events a second", rate}}
	return r, err
}

// fillTopic writes orders of three events, those of a thousand orders at a time in turn.
func (l *lab) fillTopic(ctx context.Context, topic string) error {
	producer, err := newRawProducer(l.brokers, topic)
	if err != nil {
		return err
	}
	const open = 1000
	ids := make([]string, open)
	for i := range l.messages {
		var m messageDocument
		now := time.Now()
		switch i / open % 3 {
		case 0:
			ids[i%open] = uuid.Must(uuid.NewV7()).String()
			buyer := strconv.Itoa(i % 500)
			m = newMessage(ids[i%open], 1, "OrderCreated", now, `,"buyerId":"`+buyer+`","items":[{"productId":"1111","amount":3}]`)
		case 1:
			m = newMessage(ids[i%open], 2, "OrderItemAdded", now, `,"productId":"2222","amount":8`)
		case 2:
			m = newMessage(ids[i%open], 3, "OrderPaid", now, "")
		}
		if err := producer.produce(ctx, &m); err != nil {
			return errors.Join(err, producer.close())
		}
	}
	return errors.Join(producer.flush(ctx), producer.close())
}

func (l *lab) projectOurs(ctx context.Context, db *mongo.Database, topic string) error {
	log := slog.New(slog.DiscardHandler)
	subscriber, err := kafka.NewSubscriber(kafka.Options{Brokers: l.brokers, Topic: topic, Logger: log})
	if err != nil {
		return err
	}
	store := mongodb.NewViews(db, mongodb.ViewsOptions{})
	p := app.NewProjection(app.ProjectionOptions{
		View: ports.OrderSummary, Subscriber: subscriber, Inbox: store, Generations: store, Decode: eventjson.Event,
		Group: l.newName(), Logger: log,
	})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(running) }()
	err = await(ctx, roundTimeout, func() (bool, error) {
		positions, err := store.Positions(ctx, ports.Generation{View: ports.OrderSummary, Number: 1})
		total := int64(0)
		for _, next := range positions {
			total += next
		}
		return total >= int64(l.messages), err
	})
	stop()
	return errors.Join(err, <-ended)
}

func (l *lab) projectRaw(ctx context.Context, db *mongo.Database, topic string) error {
	consumer, err := newRawConsumer(l.brokers, topic)
	if err != nil {
		return err
	}
	defer consumer.close()
	rows := db.Collection("rows")
	for read := 0; read < l.messages; {
		values, types, err := consumer.batch(ctx, min(ports.MaxBatch, l.messages-read))
		if err != nil {
			return err
		}
		read += len(values)
		upserts := make([]mongo.WriteModel, len(values))
		for i, value := range values {
			if upserts[i], err = upsert(types[i], value); err != nil {
				return err
			}
		}
		if _, err := rows.BulkWrite(ctx, upserts); err != nil {
			return err
		}
	}
	return nil
}

// upsert is what an event does to its order's row.
func upsert(kind string, payload []byte) (mongo.WriteModel, error) {
	var e struct {
		OrderID    string         `json:"orderId"`
		Version    int            `json:"version"`
		OccurredAt time.Time      `json:"occurredAt"`
		BuyerID    string         `json:"buyerId"`
		Items      []itemDocument `json:"items"`
		ProductID  string         `json:"productId"`
		Amount     int            `json:"amount"`
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, err
	}
	set := bson.D{{Key: "version", Value: e.Version}, {Key: "updatedAt", Value: e.OccurredAt}}
	update := bson.D{}
	switch kind {
	case "OrderCreated":
		total := 0
		for _, item := range e.Items {
			total += item.Amount
		}
		set = append(set, bson.E{Key: "buyerId", Value: e.BuyerID}, bson.E{Key: "items", Value: e.Items},
			bson.E{Key: "status", Value: "pending"}, bson.E{Key: "totalAmount", Value: total},
			bson.E{Key: "createdAt", Value: e.OccurredAt})
	case "OrderItemAdded":
		update = bson.D{
			{Key: "$push", Value: bson.D{{Key: "items", Value: itemDocument{e.ProductID, e.Amount}}}},
			{Key: "$inc", Value: bson.D{{Key: "totalAmount", Value: e.Amount}}},
		}
	case "OrderPaid":
		set = append(set, bson.E{Key: "status", Value: "paid"}, bson.E{Key: "paidAt", Value: e.OccurredAt})
	}
	update = append(update, bson.E{Key: "$set", Value: set})
	return mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: e.OrderID}}).SetUpdate(update).SetUpsert(true), nil
}

// viewLag is the time from the commit of an order to the commit of its row in order-summary, both as the server wrote them
// into its oplog; they are read when the load is over. All three views are fed meanwhile.
func (l *lab) viewLag(ctx context.Context) (r result, err error) {
	s, err := l.newStand(ctx, "api,relay,projections")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	database := s.raw.orders.Database()
	topic := database.Name() // the service's own
	defer l.deleteTopic(ctx, topic)
	// The first collection of the view is made by its first commit.
	if err := s.service.post(ctx, "/orders", newOrder); err != nil {
		return r, err
	}
	rows := database.Collection("view." + string(ports.OrderSummary) + ".1.orders")
	has := func(n int64) func() (bool, error) {
		return func() (bool, error) {
			got, err := rows.CountDocuments(ctx, bson.D{})
			return got >= n, err
		}
	}
	if err := await(ctx, time.Minute, has(1)); err != nil {
		return r, fmt.Errorf("nothing is projected: %w", err)
	}
	view := &rawStore{outbox: rows} // its change stream is read as that of an outbox is
	round := func(ctx context.Context) (sample, error) {
		before, err := s.raw.position(ctx)
		if err != nil {
			return sample{}, err
		}
		viewBefore, err := view.position(ctx)
		if err != nil {
			return sample{}, err
		}
		known, err := rows.CountDocuments(ctx, bson.D{})
		if err != nil {
			return sample{}, err
		}
		orders := func() (method, url, body string, ok bool) { return "POST", "/orders", newOrder, true }
		load, err := l.load(ctx, s.service, manyClients, vegeta.Rate{Freq: l.lagRate, Per: time.Second}, orders)
		if err != nil {
			return load, err
		}
		if err := await(ctx, roundTimeout, has(known+int64(load.done))); err != nil {
			return load, err
		}
		committed, err := s.raw.commits(ctx, before, load.done)
		if err != nil {
			return load, err
		}
		projected, err := view.commits(ctx, viewBefore, load.done)
		if err != nil {
			return load, err
		}
		var times []time.Duration
		for message, at := range committed {
			shown, ok := projected[message[:len(message)-len("/1")]]
			if !ok {
				return load, fmt.Errorf("message %s is not in the view, though as many are as were committed", message)
			}
			times = append(times, shown.Sub(at))
		}
		lag := latencyOf(times)
		lag.rate, lag.done = load.rate, load.done
		return lag, nil
	}
	title := fmt.Sprintf("from commit to view at %d orders/s", l.lagRate)
	r, err = l.compare(ctx, title, []side{{ours, round}},
		line{title + ": p50", ours, "", p50, "ms", aim{}},
		line{title + ": p99", ours, "", p99, "ms", below(1000, "ms")},
		line{title + ": longest", ours, "", longest, "ms", aim{}},
	)
	r.group, r.charts = title, []chart{{"view-lag", "From commit to view: 99th percentile in ms", p99}}
	return r, err
}
