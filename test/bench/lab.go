package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"hexorders/adapters/mongodb"
)

// size is how much of everything is measured.
type size struct {
	rounds   int
	time     time.Duration // of a round of load
	clients  []int
	many     int   // clients where it is not about their number
	hot      int   // clients of one order
	crowd    int   // clients where there are too many
	rates    []int // orders a second where the rate is given
	lagRate  int   // the same where it is about how far a view is behind
	messages int   // that a relay drains
	backlogs []int // the same, where it is about how many there are
	orders   int   // that are there before they are read or paid, for each second of a round
}

var (
	full = size{
		rounds: 5, time: 4 * time.Second, clients: []int{1, 16, 64, 128}, many: 64, hot: 50, crowd: 1000,
		rates: []int{100, 500, 1000}, lagRate: 2000,
		messages: 200_000, backlogs: []int{10_000, 100_000, 1_000_000}, orders: 10_000,
	}
	small = size{
		rounds: 1, time: 200 * time.Millisecond, clients: []int{1, 16}, many: 16, hot: 10, crowd: 200,
		rates: []int{100}, lagRate: 100,
		messages: 2000, backlogs: []int{500, 1000}, orders: 2000,
	}
)

// lab is what all experiments share: the servers, and the built program.
type lab struct {
	size
	progress    io.Writer
	folder      string // for the binary and the logs
	program     string
	repository  string
	mongoURI    string
	brokers     string
	postgresURI string // for the rows over PostgreSQL only
	natsURL     string // for the row through NATS only
	client      *mongo.Client
	kafka       *kgo.Client
	admin       *kadm.Client
	broker      int          // Kafka's process, 0 when it is none of this machine's
	named       atomic.Int64 // names given out
}

func newLab(ctx context.Context, s size, progress io.Writer) (l *lab, err error) {
	l = &lab{
		size:     s,
		progress: progress,
		mongoURI: setting("HEXORDERS_TEST_MONGODB_URI", "mongodb://127.0.0.1:27017/?replicaSet=rs0"),
		brokers:  setting("HEXORDERS_TEST_KAFKA_BROKERS", "127.0.0.1:9092"),

		postgresURI: setting("HEXORDERS_TEST_POSTGRES_URI", "postgres://127.0.0.1:5432/hexorders?user=hexorders"),
		natsURL:     setting("HEXORDERS_TEST_NATS_URL", "nats://127.0.0.1:4222"),
	}
	opened := l // what is returned with an error is nil
	defer func() {
		if err != nil {
			_ = opened.close() // it has not been used
		}
	}()
	if l.folder, err = os.MkdirTemp("", "hexorders-bench-"); err != nil {
		return nil, err
	}
	if l.repository, err = output(ctx, "go", "list", "-m", "-f", "{{.Dir}}"); err != nil {
		return nil, err
	}
	l.program = filepath.Join(l.folder, "hexorders")
	build := exec.CommandContext(ctx, "go", "build", "-o", l.program, "./cmd/hexorders")
	build.Dir = l.repository
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", build, err, said)
	}

	connecting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if l.client, err = mongo.Connect(options.Client().ApplyURI(l.mongoURI)); err != nil {
		return nil, err
	}
	if err := l.client.Ping(connecting, readpref.Primary()); err != nil {
		return nil, fmt.Errorf("run scripts/services up: MongoDB at %s: %w", l.mongoURI, err)
	}
	if l.kafka, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(l.brokers, ",")...)); err != nil {
		return nil, err
	}
	if err := l.kafka.Ping(connecting); err != nil {
		return nil, fmt.Errorf("run scripts/services up: Kafka at %s: %w", l.brokers, err)
	}
	l.admin = kadm.NewClient(l.kafka)
	l.broker, err = findBroker(l.brokers)
	return l, err
}

func (l *lab) close() error {
	var problems []error
	if l.client != nil {
		problems = append(problems, l.client.Disconnect(context.Background()))
	}
	if l.kafka != nil {
		l.kafka.Close()
	}
	return errors.Join(append(problems, os.RemoveAll(l.folder))...)
}

func (l *lab) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(l.progress, format+"\n", args...) // nobody is left to tell
}

// database is a new one, prepared as the program prepares its own, with its own connections.
func (l *lab) database(ctx context.Context) (db *mongo.Database, drop func(), err error) {
	db, err = mongodb.Connect(ctx, l.mongoURI, l.newName(), nil)
	if err != nil {
		return nil, nil, err
	}
	return db, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if err := errors.Join(db.Drop(ctx), db.Client().Disconnect(ctx)); err != nil {
			l.sayf("drop database %s: %v", db.Name(), err)
		}
	}, nil
}

func (l *lab) newName() string { return fmt.Sprintf("bench-%d-%d", os.Getpid(), l.named.Add(1)) }

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	said, err := exec.CommandContext(ctx, name, args...).Output()
	return strings.TrimSpace(string(said)), err
}

// Processes -----------------------------------------------------------------------------------------------------------

// process is the program, serving.
type process struct {
	command *exec.Cmd
	url     string
	log     string
	ended   chan struct{}
}

// serve starts the program on a database and a topic and returns once it is ready. Its log goes to a file, as that of a
// service would.
func (l *lab) serve(ctx context.Context, db, topic, roles string, variables ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	command := exec.Command(l.program, "serve", "--roles", roles)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "HEXORDERS_") && !strings.HasPrefix(variable, "OTEL_") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env,
		"HEXORDERS_STORE=mongodb", "HEXORDERS_BROKER=kafka", "HEXORDERS_HTTP_ADDR="+addr,
		"HEXORDERS_MONGODB_URI="+l.mongoURI, "HEXORDERS_MONGODB_DATABASE="+db,
		"HEXORDERS_KAFKA_BROKERS="+l.brokers, "HEXORDERS_KAFKA_TOPIC="+topic)
	command.Env = append(command.Env, variables...)
	return l.start(ctx, command, addr)
}

// start starts a process that serves HTTP there and returns once it is ready.
func (l *lab) start(ctx context.Context, command *exec.Cmd, addr string) (*process, error) {
	log, err := os.Create(filepath.Join(l.folder, l.newName()+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	command.Dir, command.Stderr = l.folder, log
	p := &process{command: command, url: "http://" + addr, log: log.Name(), ended: make(chan struct{})}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	if err := await(ctx, 30*time.Second, func() (bool, error) { return p.ready() }); err != nil {
		return nil, errors.Join(fmt.Errorf("start the service: %w", err), p.stop())
	}
	return p, nil
}

func (p *process) ready() (bool, error) {
	select {
	case <-p.ended:
		return false, fmt.Errorf("it ended: %s", p.command.ProcessState)
	default:
	}
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(p.url + "/readyz")
	if err != nil {
		return false, nil
	}
	return response.StatusCode == http.StatusOK, response.Body.Close()
}

// post sends one request and wants it to succeed.
func (p *process) post(ctx context.Context, path, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		err = fmt.Errorf("POST %s: %s", path, response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

// get is what a request is answered with, and wants it to succeed.
func (p *process) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode >= 300 {
		err = fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return string(body), err
}

// logged is when the service said something for the first time.
func (p *process) logged(message string) (time.Time, error) {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return time.Time{}, err
	}
	for line := range bytes.Lines(log) {
		var entry struct {
			Time time.Time
			Msg  string
		}
		if err := json.Unmarshal(line, &entry); err == nil && entry.Msg == message {
			return entry.Time, nil
		}
	}
	return time.Time{}, fmt.Errorf("the service has not said %q:\n%s", message, log)
}

// stop ends the process as an operator would. The error has the last lines of its log when it did not end well.
func (p *process) stop() error {
	_ = p.command.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		_ = p.command.Process.Kill()
		<-p.ended
	}
	if p.command.ProcessState.Success() {
		return nil
	}
	log, err := os.ReadFile(p.log)
	lines := bytes.SplitAfter(log, []byte("\n"))
	return errors.Join(fmt.Errorf("the service ended with %s:\n%s", p.command.ProcessState,
		bytes.Join(lines[max(0, len(lines)-20):], nil)), err)
}

// await polls until a condition holds.
func await(ctx context.Context, timeout time.Duration, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		if done, err := condition(); done || err != nil {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func freeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
