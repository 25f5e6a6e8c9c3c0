package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/test/checker"
)

// The read model can be rebuilt from the topic alone. A rebuild that is interrupted or killed goes on from there, readers see
// nothing of it before its end, and what it makes is what the topic adds up to.
func TestARebuildThatIsKilledGoesOnFromThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	topic := w.fillTopic(rebuilt)
	reader := w.serve("api", "--roles", "api")
	// 2,000 events a second are far less than a rebuild does.
	limit := patience + time.Duration(rebuilt/2000)*time.Second
	began := time.Now()
	came := int64(0)
	for _, end := range []struct {
		signal syscall.Signal
		at     int // per cent
	}{{syscall.SIGKILL, 40}, {syscall.SIGINT, 60}} {
		p := launch(t, "rebuild until "+end.signal.String(), w.env, "views", "rebuild")
		before := came
		eventually(t, limit, fmt.Sprintf("%d%% of the events are applied", end.at), func() bool {
			select {
			case <-p.ended:
				t.Fatalf("the rebuild ended before %s: %s", end.signal, p.output.remarkable())
			default:
			}
			came = w.rebuiltEvents()
			return came >= int64(len(topic)*end.at/100)
		})
		p.remembers(150)
		p.signal(end.signal)
		if code := p.wait(patience); code == 0 {
			t.Errorf("exit code after %s is 0, want another: nothing was swapped in", end.signal)
		}
		came = w.rebuiltEvents()
		if came >= int64(len(topic)) {
			t.Fatalf("the rebuild had come to its end before %s", end.signal)
		}
		if end.signal == syscall.SIGINT && !p.output.contains("resumes") {
			t.Errorf("after SIGINT it says\n%swant that the same command resumes", p.output.remarkable())
		}
		if before > 0 && !p.output.contains(fmt.Sprintf("resuming at event %d,", before)) {
			t.Errorf("it says\n%swant that it resumes at event %d", p.output.remarkable(), before)
		}
		t.Logf("%s at event %d of %d after %.1f s", end.signal, came, len(topic), time.Since(began).Seconds())
		if a, err := newClient(reader.addr).do(t.Context(), http.MethodGet, "/orders", ""); err != nil ||
			!strings.Contains(string(a.body), `"orders":[]`) {
			t.Errorf("GET /orders during the rebuild: answer %.300s, error %v, want no orders: nothing was swapped in", a, err)
		}
	}

	again := launch(t, "rebuild", w.env, "views", "rebuild")
	eventually(t, limit, "the rebuild ends", func() bool {
		again.remembers(150)
		select {
		case <-again.ended:
			return true
		default:
			return false
		}
	})
	if code := again.wait(patience); code != 0 {
		t.Fatalf("exit code of the rebuild is %d, want 0", code)
	}
	took := time.Since(began)
	for _, line := range []string{fmt.Sprintf("resuming at event %d,", came), fmt.Sprintf("rebuilt from %d events", len(topic))} {
		if !again.output.contains(line) {
			t.Errorf("the rebuild says\n%swant %q in it", again.output.remarkable(), line)
		}
	}
	t.Logf("complete after %.1f s, %.0f events/s in all; at most %d MiB in memory", took.Seconds(),
		float64(len(topic))/took.Seconds(), again.memory)
	views := viewsOf(t, reader, topic)
	if len(views.Summaries) != rebuilt/commands {
		t.Errorf("%d orders are in the list, want %d", len(views.Summaries), rebuilt/commands)
	}
	if generations := w.generations(); len(generations) != 1 {
		t.Errorf("the generations %v are there, want one", generations)
	}
}

// remembers looks at the most memory that the process had so far, in MiB.
func (p *process) remembers(limit int) {
	p.t.Helper()
	p.memory = max(p.memory, peakMemory(p))
	if p.memory > limit {
		p.t.Errorf("%s had %d MiB in memory, want at most %d", p.name, p.memory, limit)
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
				kind, data := lifeOf(i, version)
				at := morning.Add(time.Duration(i) * time.Millisecond).Add(time.Duration(version) * time.Minute)
				record := newRecord(fmt.Sprintf("order-%08d", i), version, kind, data, at)
				producer.Produce(ctx, record, func(_ *kgo.Record, err error) {
					if err != nil {
						select {
						case refused <- err:
						default:
						}
					}
				})
				topic = append(topic, checker.Record{Key: string(record.Key), Value: string(record.Value),
					Headers: []checker.Header{{Name: "ce_type", Value: kind}}})
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

// newRecord is an event as the relay would publish it; data are the fields of its payload that its kind has, with a comma in
// front.
func newRecord(id string, version int, kind, data string, at time.Time) *kgo.Record {
	occurred := at.Format(time.RFC3339Nano)
	value := fmt.Sprintf(`{"orderId":%q,"version":%d,"occurredAt":%q%s}`, id, version, occurred, data)
	record := &kgo.Record{Key: []byte(id), Value: []byte(value)}
	for _, h := range [][2]string{
		{"ce_specversion", "1.0"}, {"ce_id", id + "/" + strconv.Itoa(version)}, {"ce_source", "/hexorders"}, {"ce_type", kind},
		{"ce_time", occurred}, {"ce_subject", id}, {"ce_aggregateversion", strconv.Itoa(version)},
		{"content-type", "application/json"},
	} {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	return record
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

// generations are the numbers of the generations that MongoDB has collections of.
func (w *world) generations() (numbers []int) {
	w.t.Helper()
	names, err := w.mongo.Database(w.source.Database).ListCollectionNames(w.t.Context(), bson.D{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		if parts := strings.Split(name, "."); parts[0] == "readmodel" && len(parts) > 1 {
			if n, err := strconv.Atoi(parts[1]); err == nil && !slices.Contains(numbers, n) {
				numbers = append(numbers, n)
			}
		}
	}
	return numbers
}

// rebuiltEvents is how many events the newest generation has behind it: each is a row in timeline.
func (w *world) rebuiltEvents() int64 {
	w.t.Helper()
	numbers := w.generations()
	if len(numbers) == 0 {
		return 0
	}
	rows := w.mongo.Database(w.source.Database).Collection(fmt.Sprintf("readmodel.%d.timeline", slices.Max(numbers)))
	n, err := rows.CountDocuments(w.t.Context(), bson.D{})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}
