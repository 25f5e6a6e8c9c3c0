package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/test/checker"
)

// A view can be built anew from the topic alone. A replay that is killed in its middle goes on from there, and what it
// makes is what the topic adds up to.
func TestAReplayThatIsKilledGoesOnFromThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	topic := w.fillTopic(replayed)
	// 2,000 events a second are far less than a replay does.
	limit := patience + time.Duration(replayed/2000)*time.Second
	for _, view := range []string{"order-summary", "buyer-activity", "timeline"} {
		first := launch(t, "replay of "+view+", killed", w.env, "replay", view)
		began := time.Now()
		eventually(t, limit, "two fifths of the events are replayed", func() bool {
			select {
			case <-first.ended:
				t.Fatalf("the replay of %s ended before it could be killed: %s", view, first.output.remarkable())
			default:
			}
			return w.replayed(view) >= int64(len(topic)*2/5)
		})
		first.kill()
		came := w.replayed(view)
		if came >= int64(len(topic)) {
			t.Fatalf("the replay of %s had come to its end when it was killed", view)
		}
		killed := time.Since(began)

		again := launch(t, "replay of "+view, w.env, "replay", view)
		memory := 0
		eventually(t, limit, "the replay of "+view+" ends", func() bool {
			memory = max(memory, peakMemory(again))
			select {
			case <-again.ended:
				return true
			default:
				return false
			}
		})
		if code := again.wait(patience); code != 0 {
			t.Fatalf("exit code of the replay of %s is %d, want 0", view, code)
		}
		took := time.Since(began)
		for _, line := range []string{
			fmt.Sprintf("%s: resuming at event %d,", view, came),
			fmt.Sprintf("%s is rebuilt from %d events", view, len(topic)),
		} {
			if !again.output.contains(line) {
				t.Errorf("the replay of %s says\n%swant %q in it", view, again.output.remarkable(), line)
			}
		}
		if memory > 300 { // it does not grow with the topic
			t.Errorf("the replay of %s had %d MiB in memory, want at most 300", view, memory)
		}
		t.Logf("%s: killed at event %d of %d after %.1f s, complete after %.1f s, %.0f events/s in all; at most %d MiB in memory",
			view, came, len(topic), killed.Seconds(), took.Seconds(), float64(len(topic))/took.Seconds(), memory)
	}
	views, err := w.reader.ReadViews(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if violations := checker.CheckViews(topic, views); len(violations) > 0 {
		t.Errorf("the views are not what the topic adds up to: %d times, as in %v", len(violations), violations[:min(3, len(violations))])
	}
	if len(views.Summaries) != replayed/commands {
		t.Errorf("%d orders are in order-summary, want %d", len(views.Summaries), replayed/commands)
	}
}

// fillTopic writes so many events straight to Kafka, three an order, a thousand orders at a time in turns.
func (w *world) fillTopic(events int) (topic []checker.Record) {
	w.t.Helper()
	w.createTopic("1000000")
	ctx, cancel := context.WithTimeout(w.t.Context(), patience+time.Duration(events/2000)*time.Second)
	defer cancel()
	producer, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(w.source.Brokers, ",")...), kgo.DefaultProduceTopic(w.source.Topic))
	if err != nil {
		w.t.Fatal(err)
	}
	defer producer.Close()
	refused := make(chan error, 1)
	morning := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for window := 0; window < events/commands; window += 1000 {
		for version := 1; version <= commands; version++ {
			for i := window; i < min(window+1000, events/commands); i++ {
				id := fmt.Sprintf("order-%08d", i)
				kind, data := lifeOf(i, version)
				at := morning.Add(time.Duration(i) * time.Millisecond).Add(time.Duration(version) * time.Minute).Format(time.RFC3339Nano)
				value := fmt.Sprintf(`{"orderId":%q,"version":%d,"occurredAt":%q%s}`, id, version, at, data)
				record := &kgo.Record{Key: []byte(id), Value: []byte(value)}
				for _, h := range [][2]string{
					{"ce_specversion", "1.0"}, {"ce_id", id + "/" + strconv.Itoa(version)}, {"ce_source", "/hexorders"}, {"ce_type", kind},
					{"ce_time", at}, {"ce_subject", id}, {"ce_aggregateversion", strconv.Itoa(version)},
					{"content-type", "application/json"},
				} {
					record.Headers = append(record.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
				}
				producer.Produce(ctx, record, func(_ *kgo.Record, err error) {
					if err != nil {
						select {
						case refused <- err:
						default:
						}
					}
				})
				topic = append(topic, checker.Record{Key: id, Value: value, Headers: []checker.Header{{Name: "ce_type", Value: kind}}})
			}
		}
	}
	if err := producer.Flush(ctx); err != nil {
		w.t.Fatal(err)
	}
	select {
	case err := <-refused:
		w.t.Fatal(err)
	default:
	}
	return topic
}

// lifeOf is an event of an order's life: created, an item added, then paid or, one in four, cancelled.
func lifeOf(order, version int) (kind, data string) {
	switch {
	case version == 1:
		return "OrderCreated", fmt.Sprintf(`,"buyerId":"buyer-%d","items":[{"productId":"1111","amount":3}]`, order%997)
	case version == 2:
		return "OrderItemAdded", fmt.Sprintf(`,"productId":"2222","amount":%d`, 1+order%9)
	case order%4 == 3:
		return "OrderCancelled", `,"reason":"changed my mind"`
	}
	return "OrderPaid", ""
}

// replayed is how many events the shadow of a view has behind it.
func (w *world) replayed(view string) (events int64) {
	w.t.Helper()
	database := w.mongo.Database(w.source.Database)
	var pointer struct {
		Shadow int `bson:"shadow"`
	}
	_ = database.Collection("views").FindOne(w.t.Context(), bson.D{{Key: "_id", Value: view}}).Decode(&pointer) // 0: not begun
	var positions []struct {
		Next int64 `bson:"next"`
	}
	cursor, err := database.Collection(fmt.Sprintf("view.%s.%d.positions", view, pointer.Shadow)).Find(w.t.Context(), bson.D{})
	if err == nil {
		err = cursor.All(w.t.Context(), &positions)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range positions {
		events += p.Next
	}
	return events
}
