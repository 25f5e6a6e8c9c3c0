package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// service is the program, running. Tests share one unless they stop it or need other settings.
type service struct {
	t    testing.TB
	url  string
	cmd  *exec.Cmd
	kill func() // and wait for the end; the end of the test does it too

	ended chan struct{}
}

var listens = regexp.MustCompile(`hexorders listens on (http://127\.0\.0\.1:\d+)`)

// serve starts the program over the embedded store in a folder of its own; settings and arguments say otherwise.
func serve(t testing.TB, settings map[string]string, args ...string) *service {
	t.Helper()
	folder := t.TempDir()
	logName := filepath.Join(folder, "log")
	log, err := os.Create(logName)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"HEXORDERS_HTTP_ADDR": "127.0.0.1:0", "HEXORDERS_LOG_FORMAT": "json", "HEXORDERS_VIEWS_WAIT": "9s"}
	maps.Copy(all, settings)
	s := &service{t: t, cmd: exec.Command(program, args...)}
	s.cmd.Dir, s.cmd.Stderr, s.cmd.SysProcAttr = folder, log, dieWithUs()
	s.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HEXORDERS_") || strings.HasPrefix(v, "OTEL_")
	})
	for name, value := range all {
		s.cmd.Env = append(s.cmd.Env, name+"="+value)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		_ = s.cmd.Wait() // it is killed
	}()
	s.kill = func() {
		_ = s.cmd.Process.Kill() // fails only when it has ended
		<-ended
	}
	t.Cleanup(func() {
		s.kill()
		if said, _ := os.ReadFile(logName); t.Failed() {
			t.Logf("what the service said:\n%s", said[:min(len(said), 4000)])
		}
	})
	eventually(t, "the service listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("the service ended while it started: %s", s.cmd.ProcessState)
		default:
		}
		said, _ := os.ReadFile(logName)
		if found := listens.FindSubmatch(said); found != nil {
			s.url = string(found[1])
		}
		return s.url != ""
	})
	return s
}

// stop asks the process to end, as an operator does, and waits for it.
func (s *service) stop() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	eventually(s.t, "the service stops", func() bool {
		select {
		case <-s.ended:
			return true
		default:
			return false
		}
	})
}

// call asks the service and decodes what it answers.
func call[T any](s *service, method, path, body string) (answer T) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %s %s, error %v", method, path, response.Status, text, err)
	}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return answer
}

type orderJSON struct {
	ID      string `json:"id"`
	Buyer   string `json:"buyerId"`
	Status  string `json:"status"`
	Version int    `json:"version"`
}

func (s *service) create(buyer string) orderJSON {
	s.t.Helper()
	return call[orderJSON](s, "POST", "/orders", `{"buyerId":"`+buyer+`","items":[{"productId":"1111","amount":3}]}`)
}

func (s *service) pay(id string) orderJSON {
	s.t.Helper()
	return call[orderJSON](s, "POST", "/orders/"+id+"/pay", "")
}

// mongoAndKafka are the settings of a service over a database and a topic of its own. The broker takes messages up to a size.
func mongoAndKafka(t testing.TB, maxMessageBytes string) map[string]string {
	t.Helper()
	uri := setting("HEXORDERS_TEST_MONGODB_URI", "mongodb://127.0.0.1:27017/?replicaSet=rs0")
	brokers := setting("HEXORDERS_TEST_KAFKA_BROKERS", "127.0.0.1:9092")
	name := "browser-" + uuid.NewString()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	database, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	topics := kadm.NewClient(kafka)
	if _, err := topics.CreateTopic(ctx, 3, 1, map[string]*string{"max.message.bytes": &maxMessageBytes}, name); err != nil {
		t.Fatalf("run scripts/services up: Kafka: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := database.Database(name).Drop(ctx); err != nil {
			t.Errorf("drop database: %v", err)
		}
		if _, err := topics.DeleteTopics(ctx, name); err != nil {
			t.Errorf("delete topic: %v", err)
		}
		kafka.Close()
		_ = database.Disconnect(ctx) // all that was to be done is done
	})
	return map[string]string{
		"HEXORDERS_STORE": "mongodb", "HEXORDERS_MONGODB_URI": uri, "HEXORDERS_MONGODB_DATABASE": name,
		"HEXORDERS_BROKER": "kafka", "HEXORDERS_KAFKA_BROKERS": brokers, "HEXORDERS_KAFKA_TOPIC": name,
	}
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// inViews waits until the views have a version of an order.
func (s *service) inViews(o orderJSON) {
	s.t.Helper()
	eventually(s.t, "the views have the order", func() bool {
		type story struct{ ReadModel struct{ Applied int } }
		return call[story](s, "GET", "/console/orders/"+o.ID, "").ReadModel.Applied >= o.Version
	})
}
