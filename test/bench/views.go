package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	vegeta "github.com/tsenart/vegeta/v12/lib"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/kafka"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/app/readside"
)

// views is the reading side: how fast a full topic becomes rows, and how far the views are behind the commits.
func views(ctx context.Context, l *lab) (results []result, err error) {
	for _, measure := range []func(context.Context) (result, error){l.drainViews, l.viewLag, l.idleViewLag} {
		r, err := measure(ctx)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// measuredViews are those that both sides make.
var measuredViews = []readside.View{readside.OrderSummary, readside.BuyerActivity, readside.Timeline}

// drainViews is one pass over a full topic that feeds three views, against rawViews. Both run in this process.
func (l *lab) drainViews(ctx context.Context) (r result, err error) {
	topic := l.newName()
	if err := l.createTopic(ctx, topic); err != nil {
		return r, err
	}
	defer l.deleteTopic(ctx, topic)
	if err := l.fillTopic(ctx, topic); err != nil {
		return r, err
	}
	into := func(work func(context.Context, *mongo.Database, string) error) func(context.Context) (sample, error) {
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
			if err := work(ctx, db, topic); err != nil {
				return s, err
			}
			s.done, s.rate = l.messages, float64(l.messages)/time.Since(began).Seconds()
			return s, meter.read(ctx, &s, l.messages)
		}
	}
	title := fmt.Sprintf("%s events into three views", thousands(float64(l.messages)))
	r, err = l.compare(ctx, title, []side{{ours, into(l.feed)}, {raw, into(l.rawViews)}},
		line{title, ours, raw, rate, "events/s", aim{"≥ 20,000 events/s or ≥ 0.8", func(value, ratio float64) bool {
			return value >= 20_000 || ratio >= 0.8
		}}},
		line{title + ": processor time of mongod an event", ours, raw, serverCPU, "µs", aim{}},
		line{title + ": processor time of the process, an event", ours, raw, cpu, "µs", aim{}},
	)
	r.group, r.charts = "three views", []chart{{"views", "Views: events a second", rate}}
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

// feed is the engine.
func (l *lab) feed(ctx context.Context, db *mongo.Database, topic string) error {
	log := slog.New(slog.DiscardHandler)
	subscriber, err := kafka.NewSubscriber(kafka.Options{Brokers: l.brokers, Topic: topic, Logger: log})
	if err != nil {
		return err
	}
	engine := readside.New(readside.Options{
		Views: measuredViews, Subscriber: subscriber, Store: readmodel.New(db, readside.Tables(measuredViews), readmodel.Options{}),
		Decode: eventjson.Event, Group: l.newName(), Logger: log,
	})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(running) }()
	err = await(ctx, roundTimeout, func() (bool, error) { return engine.Status().Applied >= int64(l.messages), nil })
	stop()
	return errors.Join(err, <-ended)
}

// viewLag is the time from the commit of an order to the commit of its row in order-summary, both as the server wrote them
// into its oplog; they are read when the load is over.
func (l *lab) viewLag(ctx context.Context) (r result, err error) {
	s, err := l.newStand(ctx, "api,relay,views", withRoom)
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
	rows := database.Collection("readmodel.1." + readside.OrderSummary.Name)
	has := func(n int64) func() (bool, error) {
		return func() (bool, error) {
			got, err := rows.CountDocuments(ctx, bson.D{})
			return got >= n, err
		}
	}
	if err := await(ctx, time.Minute, has(1)); err != nil {
		return r, fmt.Errorf("the views are not fed: %w", err)
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
		line{title + ": p99", ours, "", p99, "ms", below(150, "ms")},
		line{title + ": longest", ours, "", longest, "ms", aim{}},
	)
	r.group, r.charts = title, []chart{{"view-lag", "From commit to view: 99th percentile in ms", p99}}
	return r, err
}

// idleViewLag is the time from the answer to POST /orders until the order is in its buyer's list, of a service that has
// nothing else to do. The list is asked for all the time.
func (l *lab) idleViewLag(ctx context.Context) (r result, err error) {
	s, err := l.newStand(ctx, "api,relay,views")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	defer l.deleteTopic(ctx, s.raw.orders.Database().Name())
	round := func(ctx context.Context) (sample, error) {
		var times []time.Duration
		// Ten orders a second, so that each finds everything at rest.
		rest := time.NewTicker(100 * time.Millisecond)
		defer rest.Stop()
		for began := time.Now(); time.Since(began) < l.time; {
			took, err := s.service.shown(ctx, l.newName())
			if err != nil {
				return sample{}, err
			}
			times = append(times, took)
			select {
			case <-rest.C:
			case <-ctx.Done():
				return sample{}, ctx.Err()
			}
		}
		lag := latencyOf(times)
		lag.done, lag.rate = len(times), float64(len(times))/l.time.Seconds()
		return lag, nil
	}
	title := "from the answer to the buyer's list, nothing else to do"
	r, err = l.compare(ctx, title, []side{{ours, round}},
		line{title + ": p50", ours, "", p50, "ms", below(30, "ms")},
		line{title + ": longest", ours, "", longest, "ms", aim{}})
	return r, err
}

// shown places the first order of a buyer and returns how long after the answer it was in the buyer's list.
func (p *process) shown(ctx context.Context, buyer string) (time.Duration, error) {
	if err := p.post(ctx, "/orders", strings.Replace(newOrder, "9999", buyer, 1)); err != nil {
		return 0, err
	}
	answered := time.Now()
	for time.Since(answered) < time.Minute {
		list, err := p.get(ctx, "/orders?buyerId="+buyer)
		if err != nil {
			return 0, err
		}
		if strings.Contains(list, buyer) {
			return time.Since(answered), nil
		}
	}
	return 0, fmt.Errorf("the order of buyer %s is in no list", buyer)
}
