package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/test/asyncapi"
	"hexorders/test/checker"
)

// world is one test's part of the servers: a database and a topic that nobody else uses.
type world struct {
	t      testing.TB
	source checker.Source
	env    environment
	reader *checker.Reader
	mongo  *mongo.Client
	kafka  *kgo.Client
}

// newWorld needs no server yet. Removing the database and the topic afterwards is for servers that outlive the test.
func newWorld(t testing.TB, s servers) *world { return newWorldOf(t, s, "mongodb") }

func newWorldOf(t testing.TB, s servers, store string) *world {
	t.Helper()
	name := "e2e-" + uuid.NewString()
	w := &world{t: t, source: checker.Source{MongoURI: s.mongoURI, Database: name, Brokers: s.brokers, Topic: name,
		Events: store == "mongodb-events"}}
	w.env = environment{
		"HEXORDERS_STORE":            store,
		"HEXORDERS_BROKER":           "kafka",
		"HEXORDERS_HTTP_ADDR":        w.newAddr(),
		"HEXORDERS_MONGODB_URI":      s.mongoURI,
		"HEXORDERS_MONGODB_DATABASE": name,
		"HEXORDERS_KAFKA_BROKERS":    s.brokers,
		"HEXORDERS_KAFKA_TOPIC":      name,
		"HEXORDERS_LOG_FORMAT":       "json",
	}
	var err error
	if w.reader, err = checker.Open(w.source); err != nil {
		t.Fatal(err)
	}
	if w.mongo, err = mongo.Connect(options.Client().ApplyURI(s.mongoURI)); err != nil {
		t.Fatal(err)
	}
	if w.kafka, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(s.brokers, ",")...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if s.mongoURI == sharedServers.mongoURI {
			if err := w.mongo.Database(w.source.Database).Drop(ctx); err != nil {
				t.Errorf("drop database: %v", err)
			}
		}
		if s.brokers == sharedServers.brokers {
			w.deleteTopic(ctx)
		}
		w.kafka.Close()
		if err := errors.Join(w.mongo.Disconnect(ctx), w.reader.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) newAddr() string { return fmt.Sprintf("127.0.0.1:%d", freePort(w.t)) }

func (w *world) deleteTopic(ctx context.Context) {
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr(w.source.Topic)
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TopicNames, request.Topics = []string{w.source.Topic}, append(request.Topics, topic)
	// What the broker says of the topic is not looked at: a test that failed early has made none.
	if _, err := request.RequestWith(ctx, w.kafka); err != nil {
		w.t.Errorf("delete topic: %v", err)
	}
}

// createTopic makes the topic before the program does, with a limit on the size of what it takes.
func (w *world) createTopic(maxMessageBytes string) {
	w.t.Helper()
	config := kmsg.NewCreateTopicsRequestTopicConfig()
	config.Name, config.Value = "max.message.bytes", kmsg.StringPtr(maxMessageBytes)
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = w.source.Topic, 12, 1
	topic.Configs = append(topic.Configs, config)
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(w.t.Context(), w.kafka)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := kerr.ErrorForCode(response.Topics[0].ErrorCode); err != nil {
		w.t.Fatalf("create topic: %v", err)
	}
}

// serve starts the program with these arguments and waits until it is ready.
func (w *world) serve(name string, args ...string) *process {
	w.t.Helper()
	return w.serveAt(name, w.env["HEXORDERS_HTTP_ADDR"], args...)
}

func (w *world) serveAt(name, addr string, args ...string) *process {
	w.t.Helper()
	return launch(w.t, name, w.env.with("HEXORDERS_HTTP_ADDR", addr), append([]string{"serve"}, args...)...).ready()
}

func (w *world) client() *client { return newClient(w.env["HEXORDERS_HTTP_ADDR"]) }

// command runs a subcommand to its end and returns what it printed to its standard output.
func (w *world) command(args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Dir = w.env.list(), w.t.TempDir()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		w.t.Fatalf("hexorders %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// complete waits until every committed message is in the topic or parked.
func (w *world) complete() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := w.reader.Await(ctx); err != nil {
		w.t.Error(err)
		w.judge(math.MaxInt, nil) // says what is missing
		w.t.FailNow()
	}
}

// checkpoints waits until the relay has made that many more.
func (w *world) checkpoints(n int) {
	w.t.Helper()
	last := ""
	eventually(w.t, patience, fmt.Sprintf("%d checkpoints are made", n), func() bool {
		if position := w.position(); position != last {
			last = position
			n-- // the first of them is the one that was there already
		}
		return n < 0
	})
}

// position is the relay's last checkpoint, "" before the first.
func (w *world) position() string {
	w.t.Helper()
	var checkpoint struct {
		Position string `bson:"position"`
	}
	relay := w.mongo.Database(w.source.Database).Collection("relay")
	err := relay.FindOne(w.t.Context(), bson.D{{Key: "_id", Value: w.source.Log()}}).Decode(&checkpoint)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		w.t.Fatal(err)
	}
	return checkpoint.Position
}

// judge lets the checker have the last word, once nothing runs any more. The report's figures go to the log.
func (w *world) judge(maxDuplicates int, answered map[string]int) (checker.History, checker.Report) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	h, err := w.reader.Read(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	h.Answered = answered
	asDescribed(w.t, h.Topic)
	report := checker.Check(h, maxDuplicates)
	if len(report.Violations) > 0 {
		w.t.Errorf("the checker: %v", report)
	} else {
		w.t.Logf("the checker: %v (at most %d duplicates can be explained)", report, maxDuplicates)
	}
	return h, report
}

// asDescribed holds what was really published against docs/api/asyncapi.yaml.
func asDescribed(t testing.TB, records []checker.Record) {
	t.Helper()
	description, err := asyncapi.Read("../../docs/api")
	if err != nil {
		t.Fatal(err)
	}
	const enough = 2000 // of tens of thousands that were made the same way
	for _, r := range records[:min(len(records), enough)] {
		headers := make(map[string]string, len(r.Headers))
		for _, h := range r.Headers {
			headers[h.Name] = h.Value
		}
		if err := description.Check(asyncapi.Record{Key: r.Key, Headers: headers, Value: r.Value}); err != nil {
			t.Errorf("not as docs/api/asyncapi.yaml says: partition %d, offset %d, %s: %v", r.Partition, r.Offset, r.Value, err)
			return // where one is wrong, thousands are
		}
	}
}

// setMaxMessageBytes changes the topic's limit.
func (w *world) setMaxMessageBytes(limit string) {
	w.t.Helper()
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "max.message.bytes", kmsg.StringPtr(limit)
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, w.source.Topic
	resource.Configs = append(resource.Configs, config)
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(w.t.Context(), w.kafka)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := kerr.ErrorForCode(response.Resources[0].ErrorCode); err != nil {
		w.t.Fatalf("set max.message.bytes: %v", err)
	}
}
