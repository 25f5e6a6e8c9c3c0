//go:build cgo

package kafka

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"go.uber.org/goleak"

	"hexorders/ports"
)

func TestMain(m *testing.M) {
	if os.Getenv(memberTopic) != "" {
		beMember()
		return
	}
	// These tests mostly wait, for brokers to start and sessions to run out; what `go test -parallel` says wins.
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// cluster is a broker as a test sees it: a client of its own, which shares nothing with the publisher.
type cluster struct {
	brokers string
	admin   *kafka.AdminClient
}

// sharedCluster is the broker that scripts/services started.
func sharedCluster(t testing.TB) *cluster {
	t.Helper()
	return connect(t, cmp.Or(os.Getenv("HEXORDERS_TEST_KAFKA_BROKERS"), "127.0.0.1:9092"))
}

func connect(t testing.TB, brokers string) *cluster {
	t.Helper()
	admin, err := kafka.NewAdminClient(&kafka.ConfigMap{"bootstrap.servers": brokers, "log_level": 0})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	if _, err := admin.GetMetadata(nil, true, 5000); err != nil {
		t.Fatalf("no Kafka broker at %s (%v): run scripts/services up", brokers, err)
	}
	return &cluster{brokers: brokers, admin: admin}
}

// newTopic returns the name of an unused topic. The topic is deleted at the end of the test.
func (c *cluster) newTopic(t testing.TB) string {
	t.Helper()
	topic := fmt.Sprintf("test.%016x", rand.Uint64())
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		results, err := c.admin.DeleteTopics(ctx, []string{topic})
		if err != nil {
			t.Errorf("delete topic %s: %v", topic, err)
		} else if code := results[0].Error.Code(); code != kafka.ErrNoError && code != kafka.ErrUnknownTopicOrPart {
			t.Errorf("delete topic %s: %v", topic, results[0].Error)
		}
	})
	return topic
}

func (c *cluster) createTopic(t testing.TB, topic string, partitions int, settings map[string]string) {
	t.Helper()
	results, err := c.admin.CreateTopics(t.Context(),
		[]kafka.TopicSpecification{{Topic: topic, NumPartitions: partitions, Config: settings}})
	if err != nil || results[0].Error.Code() != kafka.ErrNoError {
		t.Fatalf("create topic %s: %v, %v", topic, err, results)
	}
}

// deleteRecords deletes all records of a topic, as a retention does.
func (c *cluster) deleteRecords(t testing.TB, topic string, partitions int32) {
	t.Helper()
	var all []kafka.TopicPartition
	for partition := range partitions {
		all = append(all, kafka.TopicPartition{Topic: &topic, Partition: partition, Offset: kafka.OffsetEnd})
	}
	results, err := c.admin.DeleteRecords(t.Context(), all)
	for _, r := range results.DeleteRecordsResults {
		err = cmp.Or(err, r.TopicPartition.Error)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) exists(t testing.TB, topic string) bool {
	t.Helper()
	metadata, err := c.admin.GetMetadata(&topic, false, 5000)
	if err != nil {
		t.Fatal(err)
	}
	return metadata.Topics[topic].Error.Code() == kafka.ErrNoError
}

func (c *cluster) settings(t testing.TB, topic string) map[string]kafka.ConfigEntryResult {
	t.Helper()
	results, err := c.admin.DescribeConfigs(t.Context(), []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic}})
	if err != nil || results[0].Error.Code() != kafka.ErrNoError {
		t.Fatalf("settings of topic %s: %v, %v", topic, err, results)
	}
	return results[0].Config
}

// set changes a setting of a topic, and returns when the broker goes by it.
func (c *cluster) set(t testing.TB, topic, name, value string) {
	t.Helper()
	resource := kafka.ConfigResource{Type: kafka.ResourceTopic, Name: topic, Config: []kafka.ConfigEntry{
		{Name: name, Value: value, IncrementalOperation: kafka.AlterConfigOpTypeSet},
	}}
	results, err := c.admin.IncrementalAlterConfigs(t.Context(), []kafka.ConfigResource{resource})
	if err != nil || results[0].Error.Code() != kafka.ErrNoError {
		t.Fatalf("set %s of topic %s: %v, %v", name, topic, err, results)
	}
	// The controller has it now. A broker takes over changes one after the other; it first shows each of them, and then
	// goes by it. So once it shows a later change than this one, it goes by this one.
	c.eventually(t, name+" to change", func() bool { return c.settings(t, topic)[name].Value == value })
	later := c.newTopic(t)
	c.createTopic(t, later, 1, nil)
	c.eventually(t, "a later change", func() bool { return c.exists(t, later) })
}

// eventually asks the broker again and again, each time a round trip.
func (c *cluster) eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// read waits until the topic holds at least n records, and returns all it holds: partition by partition, each in order.
func (c *cluster) read(t testing.TB, topic string, n int) []*kafka.Message {
	t.Helper()
	consumer, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers": c.brokers, "group.id": topic, "enable.auto.commit": false, "log_level": 0,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()

	deadline := time.Now().Add(patience)
	var from []kafka.TopicPartition
	total := 0
	for {
		from, total = nil, 0
		metadata, err := consumer.GetMetadata(&topic, false, 5000)
		if err == nil && metadata.Topics[topic].Error.Code() == kafka.ErrNoError {
			for _, partition := range metadata.Topics[topic].Partitions {
				_, high, err := consumer.QueryWatermarkOffsets(topic, partition.ID, 5000)
				if err != nil { // a moment after a topic was created not every partition has its leader
					t.Logf("watermarks of %s: %v", topic, err)
					total = -1
					break
				}
				total += int(high)
				from = append(from, kafka.TopicPartition{Topic: &topic, Partition: partition.ID, Offset: 0})
			}
		}
		if total >= n {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("topic %s holds %d records, want %d or more (%v)", topic, total, n, err)
		}
	}
	if err := consumer.Assign(from); err != nil {
		t.Fatal(err)
	}
	var records []*kafka.Message
	for len(records) < total {
		record, err := consumer.ReadMessage(time.Until(deadline))
		if err != nil {
			t.Fatalf("read %s after %d of %d records: %v", topic, len(records), total, err)
		}
		records = append(records, record)
	}
	slices.SortStableFunc(records, func(a, b *kafka.Message) int {
		return cmp.Compare(a.TopicPartition.Partition, b.TopicPartition.Partition)
	})
	return records
}

// messages is read, unwrapped.
func (c *cluster) messages(t testing.TB, topic string, n int) []ports.Message {
	t.Helper()
	var messages []ports.Message
	for _, record := range c.read(t, topic, n) {
		m, err := unwrap(record)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}

// open makes a publisher that is closed at the end of the test.
func open(t testing.TB, options Options) *Publisher {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	p, err := NewPublisher(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() }) // its error is what some tests are about
	return p
}

// outcomes collects what the done functions are told.
type outcomes struct {
	mu     sync.Mutex
	errs   map[string][]error // by message id
	notify chan struct{}
}

func newOutcomes() *outcomes {
	return &outcomes{errs: make(map[string][]error), notify: make(chan struct{}, 1)}
}

func (o *outcomes) done(m ports.Message) func(error) {
	return func(err error) {
		o.mu.Lock()
		o.errs[m.ID] = append(o.errs[m.ID], err)
		o.mu.Unlock()
		select {
		case o.notify <- struct{}{}:
		default:
		}
	}
}

// count is how many messages were told an outcome.
func (o *outcomes) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.errs)
}

// await waits until n messages were told an outcome, and returns it for each of them. Twice fails the test.
func (o *outcomes) await(t testing.TB, n int) map[string]error {
	t.Helper()
	timeout := time.After(patience)
	for o.count() < n {
		select {
		case <-o.notify:
		case <-timeout:
			t.Fatalf("%d of %d messages were told an outcome", o.count(), n)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	single := make(map[string]error)
	for id, errs := range o.errs {
		if len(errs) != 1 {
			t.Fatalf("message %s was told %d outcomes, want 1: %v", id, len(errs), errs)
		}
		single[id] = errs[0]
	}
	return single
}

// event is version n of an order.
func event(orderID string, version int) ports.Message {
	return ports.Message{
		ID:         fmt.Sprintf("%s/%d", orderID, version),
		Type:       "OrderItemAdded",
		OrderID:    orderID,
		Version:    version,
		Payload:    fmt.Appendf(nil, `{"orderId":%q,"version":%d}`, orderID, version),
		OccurredAt: time.Date(2025, 3, 1, 12, 0, version, 0, time.UTC),
	}
}

// publish sends messages and wants each to be acknowledged.
func publish(t testing.TB, p *Publisher, messages ...ports.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	told := newOutcomes()
	for _, m := range messages {
		p.Publish(ctx, m, told.done(m))
	}
	for id, err := range told.await(t, len(messages)) {
		if err != nil {
			t.Fatalf("message %s: %v", id, err)
		}
	}
}

func ids(messages []ports.Message) []string {
	var ids []string
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// random is size bytes of JSON that no compression makes smaller.
func random(size int) []byte {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = alphabet[rand.IntN(len(alphabet))]
	}
	payload[0], payload[size-1] = '"', '"'
	return payload
}

// journal is a log that a test can look into.
type journal struct {
	mu      sync.Mutex
	lines   []string
	written chan struct{} // has something in it when a line was written since it was last emptied
}

func (j *journal) logger() *slog.Logger {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.written == nil { // several publishers may write to it
		j.written = make(chan struct{}, 1)
	}
	return slog.New(slog.NewTextHandler(j, nil))
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(line))
	select {
	case j.written <- struct{}{}:
	default:
	}
	return len(line), nil
}

// await waits until n lines contain all the words.
func (j *journal) await(t testing.TB, n int, words ...string) {
	t.Helper()
	timeout := time.After(patience)
	for len(j.with(words...)) < n {
		select {
		case <-j.written:
		case <-timeout:
			t.Fatalf("the log has %d lines with %q, want %d:\n%s", len(j.with(words...)), words, n, strings.Join(j.with(), ""))
		}
	}
}

// with returns the lines that contain all the words.
func (j *journal) with(words ...string) (lines []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

// waitForSession waits until the publisher has found its topic, and returns what it sends with from then on.
func waitForSession(t testing.TB, p *Publisher) *session {
	t.Helper()
	return waitForSessionAfter(t, p, nil)
}

func waitForSessionAfter(t testing.TB, p *Publisher, old *session) *session {
	t.Helper()
	timeout := time.After(patience)
	for {
		s, changed := p.session()
		if s != nil && s != old {
			return s
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatal("the publisher does not get ready")
		}
	}
}

func sessionOf(p *Publisher) *session {
	s, _ := p.session()
	return s
}

func newSubscriber(t testing.TB, options Options) *Subscriber {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s, err := NewSubscriber(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.closing.Wait) // the log is the test's
	return s
}
