//go:build peers

package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/test/checker"
)

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// The same orders are published by hexorders and by Debezium with docs/relay/debezium.json, each to a topic of its own,
// and a consumer must not be able to tell the one topic from the other but for what docs/swap-the-relay.md says.
func TestDebeziumPublishesWhatHexordersDoes(t *testing.T) {
	w := newWorld(t)
	connect, err := Start(t.Context(), w.repository, t.TempDir(), w.brokers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what Kafka Connect has to say:\n%s", connect.Log())
		}
		if err := connect.Close(); err != nil {
			t.Error(err)
		}
	})
	config, err := Debezium(w.repository, w.mongoURI, w.name, w.theirs)
	if err != nil {
		t.Fatal(err)
	}
	if err := connect.Put(t.Context(), "outbox", config); err != nil {
		t.Fatal(err)
	}
	// It says that it runs before it follows the stream. Orders that come before are not for it.
	w.eventually("Debezium publishes", func() bool {
		w.post("/orders", `{"buyerId":"9999"}`, "")
		return w.end(w.theirs) > 0
	})

	var orders []string
	for i := range 20 {
		trace := ""
		if i%2 == 0 {
			trace = traceParent
		}
		id := w.post("/orders", fmt.Sprintf(`{"buyerId":"buyer-%d","items":[{"productId":"1111","amount":%d}]}`, i, i+1), trace)
		orders = append(orders, id)
	}
	for _, id := range orders { // the orders in turn, so that their messages lie between each other
		w.post("/orders/"+id+"/items", `{"productId":"Ünïcode \"2222\" 🛒","amount":8}`, "")
	}
	for i, id := range orders {
		w.post("/orders/"+id+"/submit", "", "")
		if i%2 == 0 {
			w.post("/orders/"+id+"/pay", "", traceParent)
		} else {
			w.post("/orders/"+id+"/cancel", `{"reason":"changed my mind"}`, "")
		}
	}
	const messages = 20 * 4
	var ours, theirs map[string][]checker.Record
	w.eventually("all messages are in both topics", func() bool {
		ours, theirs = w.read(w.ours, orders), w.read(w.theirs, orders)
		return count(ours) >= messages && count(theirs) >= messages
	})
	for _, id := range orders {
		if len(ours[id]) != len(theirs[id]) {
			t.Errorf("order %s: hexorders has %d messages, Debezium %d", id, len(ours[id]), len(theirs[id]))
			continue
		}
		for i, want := range ours[id] {
			compare(t, fmt.Sprintf("order %s, message %d", id, i+1), theirs[id][i], want)
		}
	}
}

// compare allows what docs/swap-the-relay.md says is different: the order of the headers, the zeros at the end of a
// second's fraction in ce_time, and a traceparent that is empty where hexorders has none.
func compare(t *testing.T, what string, got, want checker.Record) {
	t.Helper()
	if got.Key != want.Key || got.Value != want.Value || got.Partition != want.Partition {
		t.Errorf("%s: key %q, partition %d, value %s; want %q, %d, %s", what, got.Key, got.Partition, got.Value,
			want.Key, want.Partition, want.Value)
	}
	gotHeaders, wantHeaders := headers(t, got), headers(t, want)
	if trace, has := gotHeaders["traceparent"]; has && trace == "" {
		delete(gotHeaders, "traceparent")
	}
	for name, value := range wantHeaders {
		if name == "ce_time" && sameTime(t, gotHeaders[name], value) {
			continue
		}
		if gotHeaders[name] != value {
			t.Errorf("%s: header %s is %q, want %q", what, name, gotHeaders[name], value)
		}
	}
	for name, value := range gotHeaders {
		if _, known := wantHeaders[name]; !known {
			t.Errorf("%s: header %s is %q, and hexorders has none", what, name, value)
		}
	}
}

func headers(t *testing.T, r checker.Record) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, h := range r.Headers {
		if _, twice := all[h.Name]; twice {
			t.Errorf("header %s stands twice in %v", h.Name, r)
		}
		all[h.Name] = h.Value
	}
	return all
}

func sameTime(t *testing.T, a, b string) bool {
	t.Helper()
	first, err := time.Parse(time.RFC3339Nano, a)
	if err != nil {
		t.Errorf("ce_time: %v", err)
	}
	second, err := time.Parse(time.RFC3339Nano, b)
	if err != nil {
		t.Errorf("ce_time: %v", err)
	}
	return first.Equal(second)
}

func count(records map[string][]checker.Record) (n int) {
	for _, of := range records {
		n += len(of)
	}
	return n
}

// world is a running hexorders over a database and a topic that nobody else uses, and a topic for Debezium.
type world struct {
	t          *testing.T
	repository string
	mongoURI   string
	brokers    string
	name       string // of the database
	ours       string
	theirs     string
	url        string
	kafka      *kadm.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	repository, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	name := "peers-" + uuid.NewString()
	w := &world{
		t: t, repository: repository, name: name, ours: name, theirs: name + "-debezium",
		mongoURI: setting("HEXORDERS_TEST_MONGODB_URI", "mongodb://127.0.0.1:27017/?replicaSet=rs0"),
		brokers:  setting("HEXORDERS_TEST_KAFKA_BROKERS", "127.0.0.1:9092"),
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(w.brokers, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	w.kafka = kadm.NewClient(client)
	mongodb, err := mongo.Connect(options.Client().ApplyURI(w.mongoURI))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		_, err := w.kafka.DeleteTopics(ctx, w.ours, w.theirs)
		client.Close()
		if err := errors.Join(err, mongodb.Database(name).Drop(ctx), mongodb.Disconnect(ctx)); err != nil {
			t.Error(err)
		}
	})
	w.serve()
	return w
}

// serve builds the program and starts it.
func (w *world) serve() {
	t := w.t
	t.Helper()
	program := filepath.Join(t.TempDir(), "hexorders")
	build := exec.Command("go", "build", "-o", program, "./cmd/hexorders")
	build.Dir = w.repository
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, said)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close() // the port is for the program
	w.url = "http://" + addr
	var said bytes.Buffer
	service := exec.Command(program)
	service.Dir, service.Stderr = t.TempDir(), &said
	service.Env = append(os.Environ(), "HEXORDERS_STORE=mongodb", "HEXORDERS_BROKER=kafka", "HEXORDERS_HTTP_ADDR="+addr,
		"HEXORDERS_MONGODB_URI="+w.mongoURI, "HEXORDERS_MONGODB_DATABASE="+w.name,
		"HEXORDERS_KAFKA_BROKERS="+w.brokers, "HEXORDERS_KAFKA_TOPIC="+w.ours)
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = service.Process.Signal(syscall.SIGTERM) // fails only when it has ended
		if err := service.Wait(); err != nil || t.Failed() {
			t.Logf("what the service said (%v):\n%s", err, &said)
		}
	})
	w.eventually("the service is ready", func() bool {
		response, err := http.Get(w.url + "/readyz")
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
}

// post sends a command and returns the id of its order.
func (w *world) post(path, body, trace string) (id string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if trace != "" {
		request.Header.Set("Traceparent", trace)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = response.Body.Close() // the answer is in its header
	if response.StatusCode >= 300 {
		w.t.Fatalf("POST %s: %s", path, response.Status)
	}
	return strings.TrimPrefix(response.Header.Get("Location"), "/orders/")
}

// end is how many records a topic has, 0 when it is not there yet.
func (w *world) end(topic string) (records int64) {
	offsets, err := w.kafka.ListEndOffsets(w.t.Context(), topic)
	if err != nil || offsets.Error() != nil {
		return 0
	}
	offsets.Each(func(o kadm.ListedOffset) { records += o.Offset })
	return records
}

// read is what a topic has of some orders, in its order.
func (w *world) read(topic string, orders []string) map[string][]checker.Record {
	w.t.Helper()
	reader, err := checker.Open(checker.Source{MongoURI: w.mongoURI, Database: w.name, Brokers: w.brokers, Topic: topic})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	h, err := reader.Read(ctx)
	if err := errors.Join(err, reader.Close(ctx)); err != nil {
		w.t.Fatal(err)
	}
	of := map[string][]checker.Record{}
	for _, id := range orders {
		of[id] = nil
	}
	for _, r := range h.Topic {
		if _, asked := of[r.Key]; asked {
			of[r.Key] = append(of[r.Key], r)
		}
	}
	return of
}

func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-late.C:
			w.t.Fatalf("not within two minutes: %s", what)
		}
	}
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
