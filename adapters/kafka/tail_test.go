//go:build cgo

package kafka

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

func TestTailReadsFromTheStartOrFromNowOn(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	options := Options{Brokers: c.brokers, Topic: topic}
	p := open(t, options)
	publish(t, p, event("a", 1), event("a", 2), event("b", 1))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	enough := errors.New("enough")
	collect := func(fromStart bool, n int, begun func(), messages *[]string) error {
		return Tail(ctx, options, fromStart, func(m ports.Message) error {
			if *messages = append(*messages, m.ID); len(*messages) == n {
				return enough
			}
			begun()
			return nil
		}, func(err error) { t.Errorf("a strange record: %v", err) })
	}
	var all []string
	if err := collect(true, 3, func() {}, &all); !errors.Is(err, enough) {
		t.Fatalf("from the start: %v after %v", err, all)
	}
	slices.Sort(all)
	if want := []string{"a/1", "a/2", "b/1"}; !slices.Equal(all, want) {
		t.Errorf("from the start: got %v, want %v", all, want)
	}

	// Where "now" is cannot be seen from outside, so messages are sent until the first one is read.
	var fresh []string
	began := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- collect(false, 2, func() { close(began) }, &fresh) }()
	version := 3
	for tailing := false; !tailing; version++ {
		publish(t, p, event("a", version))
		select {
		case <-began:
			tailing = true
		case err := <-ended:
			t.Fatalf("from now on: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	publish(t, p, event("a", version))
	if err := <-ended; !errors.Is(err, enough) {
		t.Fatalf("from now on: %v after %v", err, fresh)
	}
	if slices.Contains(fresh, "a/1") || slices.Contains(fresh, "b/1") {
		t.Errorf("from now on came %v, which was there before", fresh)
	}
}

func TestTailPassesOverWhatIsNotOurs(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	options := Options{Brokers: c.brokers, Topic: topic}
	p := open(t, options)
	publish(t, p, event("a", 1))
	foreign, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": c.brokers})
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	report := make(chan kafka.Event, 1)
	record := &kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: 0}, Value: []byte("hello")}
	if err := foreign.Produce(record, report); err != nil {
		t.Fatal(err)
	}
	<-report

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var ours, strange int
	end := func() error {
		if ours == 1 && strange == 1 {
			cancel()
		}
		return nil
	}
	err = Tail(ctx, options, true, func(ports.Message) error { ours++; return end() }, func(error) { strange++; _ = end() })
	if !errors.Is(err, context.Canceled) || ours != 1 || strange != 1 {
		t.Errorf("%d of ours and %d strange, ended by %v; want 1, 1 and the cancelled context", ours, strange, err)
	}
}

func TestTailOfATopicThatIsNotThereSaysSo(t *testing.T) {
	c := sharedCluster(t)
	err := Tail(t.Context(), Options{Brokers: c.brokers, Topic: "never-created"}, true, nil, nil)
	if !errors.Is(err, ErrNoTopic) {
		t.Errorf("got %v, want %v", err, ErrNoTopic)
	}
}
