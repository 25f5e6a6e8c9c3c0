package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hexorders/test/peers"
)

const (
	debezium = "Debezium"
	source   = "MongoDB's connector"
)

// connectors compares the relay with Kafka Connect: each side drains messages of its own that were written just before,
// while the others are stopped. Connect's processes stay, so that their code is warm from the second round on.
func connectors(ctx context.Context, l *lab) (results []result, err error) {
	folder := filepath.Join(l.folder, "connect")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	connect, err := peers.Start(ctx, l.repository, folder, l.brokers)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nwhat Kafka Connect has to say:\n%s", err, connect.Log())
		}
		err = errors.Join(err, connect.Close())
	}()
	relay, err := l.newBacklog(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer relay.close()
	relay.messages = l.messages
	sides := []side{{ours, relay.fresh}}
	for _, name := range []string{debezium, source} {
		c, err := l.newConnector(ctx, connect, name)
		if err != nil {
			return nil, err
		}
		defer c.close()
		sides = append(sides, side{name, c.fresh})
	}
	title := fmt.Sprintf("relay of %s new messages", thousands(float64(l.messages)))
	r, err := l.compare(ctx, title, sides,
		line{title, ours, debezium, rate, "messages/s", atLeast(2.5)},
		line{title, ours, source, rate, "messages/s", aim{}},
		line{title + ": processor time of the process, a message", ours, debezium, cpu, "µs", aim{}},
		line{title + ": peak memory of the process", ours, debezium, rss, "MiB", aim{}})
	r.group, r.charts = "new messages", drainCharts
	return []result{r}, err
}

// connector is a connector over an outbox of its own.
type connector struct {
	*backlog
	connect *peers.Connect
	name    string
	topic   string
}

// newConnector makes one, sees it publish, and stops it.
func (l *lab) newConnector(ctx context.Context, connect *peers.Connect, of string) (*connector, error) {
	b, err := l.newBacklog(ctx, 1)
	if err != nil {
		return nil, err
	}
	b.messages = l.messages
	topic, drop := l.newName(), b.close
	b.close = func() { l.deleteTopic(ctx, topic); drop() }
	c := &connector{backlog: b, connect: connect, name: l.newName(), topic: topic}
	if err := c.begin(ctx, of); err != nil {
		b.close()
		return nil, fmt.Errorf("%s: %w", of, err)
	}
	return c, nil
}

func (c *connector) begin(ctx context.Context, of string) (err error) {
	l, database := c.lab, c.db.Name()
	if err := l.createTopic(ctx, c.topic); err != nil {
		return err
	}
	config := peers.Source(l.mongoURI, database, c.topic)
	if of == debezium {
		if config, err = peers.Debezium(l.repository, l.mongoURI, database, c.topic); err != nil {
			return err
		}
	}
	if err := c.connect.Put(ctx, c.name, config); err != nil {
		return err
	}
	// It says that it runs before it follows the stream; what is written until then is not for it.
	if err := await(ctx, 2*time.Minute, func() (bool, error) {
		_, m := newDocuments(time.Now())
		if _, err := c.raw.outbox.InsertOne(ctx, m); err != nil {
			return false, err
		}
		end, err := l.end(ctx, c.topic)
		return end > 0, err
	}); err != nil {
		return err
	}
	return c.connect.Stop(ctx, c.name)
}

// fresh drains messages that were written just before.
func (c *connector) fresh(ctx context.Context) (s sample, err error) {
	if err := c.grow(ctx, c.raw.outbox, c.messages); err != nil {
		return s, err
	}
	base, err := c.lab.end(ctx, c.topic)
	if err != nil {
		return s, err
	}
	meter, err := c.lab.startMeter(ctx, c.connect.PID, nil)
	if err != nil {
		return s, err
	}
	began := time.Now()
	if err := c.connect.Resume(ctx, c.name); err != nil {
		return s, err
	}
	if s.rate, _, err = c.lab.appended(ctx, c.topic, base, began, c.messages); err != nil {
		return s, err
	}
	if s.rss, err = peakMemory(c.connect.PID); err != nil {
		return s, err
	}
	if err := meter.read(ctx, &s, c.messages); err != nil {
		return s, err
	}
	return s, c.connect.Stop(ctx, c.name)
}
