// Package docs executes the documentation: what README.md and docs/ tell a reader to type is typed here, and what comes
// back is compared with what they show, over the embedded store and broker and over MongoDB and Kafka.
//
// document_test.go reads a page and compares, shell_test.go types, requests_test.go sends docs/api/hexorders.http,
// postman_test.go has newman run the Postman collection, openapi_test.go has schemathesis hold the service against
// docs/api/openapi.yaml.
//
// MongoDB and Kafka are those of HEXORDERS_TEST_MONGODB_URI and HEXORDERS_TEST_KAFKA_BROKERS, else where
// scripts/services starts them; each test has a database and a topic of its own there.
package docs

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// program is the built binary.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hexorders-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "hexorders")
	build := exec.Command("go", "build", "-o", program, "./cmd/hexorders")
	build.Dir = repository
	build.Env = append(os.Environ(), "CGO_ENABLED=1") // the Kafka client needs it
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, output)
		return 1
	}
	return m.Run()
}

// repository is the checkout: tests run in the folder of their package.
var repository = func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
}()

// The two set-ups that the documentation is about. A page names them as they are called here.
const (
	embedded   = "embedded"
	mongoKafka = "mongodb+kafka"
)

// eachSetup runs a test over both, side by side.
func eachSetup(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	for _, setup := range []string{embedded, mongoKafka} {
		t.Run(setup, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, setup))
		})
	}
}

// world is one test's own address, file, database and topic.
type world struct {
	t     testing.TB
	setup string
	addr  string
	// places are the variables that say where things are. which store and broker to use is not among them: that is
	// for the page to say, or for start.
	places map[string]string
	log    string // of the service, once it is started
	// viewsWait is how long a list waits for the change that it must know of: long, for a busy machine.
	viewsWait string
}

func newWorld(t testing.TB, setup string) *world {
	t.Helper()
	lookAtInputs()
	w := &world{t: t, setup: setup, addr: freeAddr(t), viewsWait: "9s"}
	w.places = map[string]string{"HEXORDERS_HTTP_ADDR": w.addr}
	if setup == embedded {
		return w
	}
	w.places["HEXORDERS_MONGODB_URI"] = setting("HEXORDERS_TEST_MONGODB_URI", "mongodb://127.0.0.1:27017/?replicaSet=rs0")
	w.places["HEXORDERS_MONGODB_DATABASE"] = "orders-" + uuid.NewString()
	w.places["HEXORDERS_KAFKA_BROKERS"] = setting("HEXORDERS_TEST_KAFKA_BROKERS", "127.0.0.1:9092")
	w.places["HEXORDERS_KAFKA_TOPIC"] = "events-" + uuid.NewString()
	w.borrow()
	return w
}

// borrow connects to the shared servers, and removes from them at the end what the test has left there. A test fails
// when they are not there: a test that was skipped has shown nothing.
func (w *world) borrow() {
	t := w.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(w.places["HEXORDERS_MONGODB_URI"]))
	if err == nil {
		err = client.Ping(ctx, readpref.Primary())
	}
	if err != nil {
		t.Fatalf("run scripts/services up: MongoDB: %v", err)
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(w.places["HEXORDERS_KAFKA_BROKERS"], ",")...))
	if err == nil {
		err = kafka.Ping(ctx)
	}
	if err != nil {
		t.Fatalf("run scripts/services up: Kafka: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := client.Database(w.places["HEXORDERS_MONGODB_DATABASE"]).Drop(ctx); err != nil {
			t.Errorf("drop database: %v", err)
		}
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = kmsg.StringPtr(w.places["HEXORDERS_KAFKA_TOPIC"])
		request := kmsg.NewPtrDeleteTopicsRequest()
		request.TopicNames, request.Topics = []string{w.places["HEXORDERS_KAFKA_TOPIC"]}, append(request.Topics, topic)
		// What the broker says of the topic is not looked at: a test that failed early has made none.
		if _, err := request.RequestWith(ctx, kafka); err != nil {
			t.Errorf("delete topic: %v", err)
		}
		kafka.Close()
		_ = client.Disconnect(ctx) // all that was to be done is done
	})
}

// environment is ours without what would configure the program, or tell make that it runs inside another make, and with
// this test's places.
func (w *world) environment() []string {
	all := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return slices.ContainsFunc([]string{"HEXORDERS_", "OTEL_", "MAKE", "MFLAGS="}, func(prefix string) bool {
			return strings.HasPrefix(variable, prefix)
		})
	})
	all = append(all, "HEXORDERS_VIEWS_WAIT="+w.viewsWait)
	for name, value := range w.places {
		all = append(all, name+"="+value)
	}
	return all
}

// start serves, as the first command of README.md does, and returns when the service is ready.
func (w *world) start() {
	w.t.Helper()
	folder := w.t.TempDir()
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = log.Name()
	service := exec.Command(program)
	service.Dir, service.Env, service.Stderr = folder, w.environment(), log
	service.SysProcAttr = dieWithUs()
	if w.setup == mongoKafka {
		service.Env = append(service.Env, "HEXORDERS_STORE=mongodb", "HEXORDERS_BROKER=kafka")
	}
	if err := service.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = service.Wait() // it is killed; how it ends otherwise is for test/e2e to judge
	}()
	w.t.Cleanup(func() {
		_ = service.Process.Kill() // fails only when it has ended
		<-ended
		said, _ := os.ReadFile(log.Name())
		_ = log.Close()
		if w.t.Failed() {
			w.t.Logf("what the service said, without the requests that went as they should:\n%s", uneventful.ReplaceAll(said, nil))
		}
	})
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !w.ready() || !w.filled() {
		select {
		case <-poll.C:
		case <-ended:
			w.t.Fatalf("the service ended while it started: %s", service.ProcessState)
		case <-deadline.C:
			w.t.Fatal("the service is not ready within 2 minutes")
		}
	}
}

var uneventful = regexp.MustCompile(`(?m)^.*"level":"INFO","msg":"request".*\n`)

func (w *world) ready() bool {
	status, _ := w.get("/readyz")
	return status == http.StatusOK
}

// filled: somebody keeps the views up to date. With Kafka that takes some seconds at the start.
func (w *world) filled() bool {
	for _, path := range []string{"/orders?buyerId=nobody", "/buyers/nobody/activity", "/orders/none/timeline"} {
		if _, header := w.get(path); header.Get("View-Age") == "" {
			return false
		}
	}
	return true
}

// get is the status and the header of an answer, nothing when none comes.
func (w *world) get(path string) (status int, header http.Header) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + w.addr + path)
	if err != nil {
		return 0, nil
	}
	_ = response.Body.Close()
	return response.StatusCode, response.Header
}

// given counts the ports that were handed out, so that none is handed out twice.
var given atomic.Int64

// freeAddr is below the ports that the kernel gives to outgoing connections, so that none of those takes it meanwhile.
func freeAddr(t testing.TB) string {
	t.Helper()
	const lowest, count = 12000, 8000
	for range count {
		port := lowest + (int64(os.Getpid())*37+given.Add(1))%count
		addr := "127.0.0.1:" + strconv.FormatInt(port, 10)
		if listener, err := net.Listen("tcp", addr); err == nil {
			_ = listener.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// lookAtInputs keeps `go test` from answering with an old result. It remembers what a test looked at, but does not see
// what the compiler, bash or newman read.
var lookAtInputs = sync.OnceFunc(func() {
	for _, folder := range []string{"adapters", "app", "cmd", "core", "ports", "docs", "test/clients", "test/newman", "test/redocly",
		"test/schemathesis", "test/spectral"} {
		err := filepath.WalkDir(filepath.Join(repository, folder), func(_ string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") {
				return filepath.SkipDir // what was installed follows from the lock file
			}
			return err
		})
		if err != nil {
			panic(err)
		}
	}
})

// read is a file of the checkout.
func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
