//go:build exercise

package lesson_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

// The receiver is the service's own, over a topic and a read model in memory. The tests put one order's events into the topic as
// a relay may after a crash, or as a broker may that promises no order. They run in a bubble of testing/synctest: its clock jumps
// ahead as soon as everybody waits.

// The relay published event 2, died before its checkpoint, and published it again.
func TestAMessageThatComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.deliver(1, 2, 2, 3)
		r.want("paid", 11)
	})
}

// Event 3 overtook event 2.
func TestAMessageThatComesTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.deliver(1, 3)
		r.want("pending", 8)
		r.deliver(2)
		r.want("paid", 11)
		r.wantNoneWaits()
	})
}

// What waits has to survive the process that received it: the broker does not deliver it again.
func TestAMessageWaitsThroughARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.deliver(1, 3)
		r.restart()
		r.deliver(2)
		r.want("paid", 11)
	})
}

// Event 3 comes too early, and comes again while it waits.
func TestAMessageThatWaitsComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.deliverTogether(1, 3, 3, 2)
		r.want("paid", 11)
		r.wantNoneWaits()
	})
}

// receiver is the reading side. Topic and read model outlive its process.
type receiver struct {
	t         *testing.T
	topic     *memory.Topic
	model     *memory.ReadModel
	engine    *readside.Engine
	stop      func()
	events    []ports.Message // of one order, by version from 1 on
	delivered []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	at := time.Now()
	o, err := order.New("order-1", "buyer", []order.Item{{Product: "1111", Amount: 8}}, at)
	if err == nil {
		err = errors.Join(o.AddItem("1111", 3, at), o.Pay(at))
	}
	if err != nil {
		t.Fatal(err)
	}
	events, err := eventjson.Messages(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, topic: memory.NewTopic(), model: memory.NewReadModel(readside.Tables(readside.All)), events: events}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *receiver) start() {
	r.engine = readside.New(readside.Options{
		Subscriber: inproc.NewSubscriber(r.topic), Store: r.model, Decode: eventjson.Event,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.engine.Run(ctx)
	}()
	r.stop = func() { cancel(); <-ended }
}

func (r *receiver) restart() {
	r.stop()
	r.start()
	r.delivered = append(r.delivered, "(restart)")
}

// deliver lets messages arrive one after the other, each in a batch of its own.
func (r *receiver) deliver(versions ...int) {
	r.t.Helper()
	for _, version := range versions {
		r.deliverTogether(version)
	}
}

// deliverTogether lets messages arrive in one batch, and waits until the engine has nothing more to do.
func (r *receiver) deliverTogether(versions ...int) {
	r.t.Helper()
	var batch []ports.Message
	for _, version := range versions {
		batch = append(batch, r.events[version-1])
		r.delivered = append(r.delivered, fmt.Sprint(version))
	}
	if err := r.topic.Append(r.t.Context(), batch); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
}

// want compares the order as a list shows it.
func (r *receiver) want(status string, total int) {
	r.t.Helper()
	row, err := r.model.Row(r.t.Context(), "order-summary", "order-1")
	if err != nil {
		r.t.Fatal(err)
	}
	var got struct {
		Status string `json:"status"`
		Total  int    `json:"totalAmount"`
	}
	if err := json.Unmarshal(row.Body, &got); err != nil {
		r.t.Fatalf("%s: no order in the list: %v", r.events[0].OrderID, err)
	}
	came := "events " + strings.Join(r.delivered, " ")
	if got.Status != status {
		r.t.Errorf("%s: status %s, want %s", came, got.Status, status)
	}
	if got.Total != total {
		r.t.Errorf("%s: total %d, want %d", came, got.Total, total)
	}
}

func (r *receiver) wantNoneWaits() {
	r.t.Helper()
	parked, err := r.engine.Parked(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range parked {
		r.t.Errorf("events %s: all have come, and %d still waits: %s", strings.Join(r.delivered, " "), p.Messages, p.Reason)
	}
}
