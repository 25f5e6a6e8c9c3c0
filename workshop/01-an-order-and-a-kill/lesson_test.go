//go:build exercise

package lesson_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"hexorders/adapters/sqlite"
)

// questions are those of answers.toml, each with a way to see the answer. The folder of these commands is the one of the
// walkthrough.
var questions = []struct{ name, look string }{
	{"status_after_kill", "after the kill: ./hexorders serve --roles api, and curl localhost:8080/orders/$id"},
	{"outbox_after_kill", "after the kill: ./hexorders serve --roles api, and curl localhost:8080/orders/$id/events"},
	{"published_after_kill", "after the kill: ./hexorders events tail --from start (Ctrl-C ends it)"},
	{"checkpoint_after_kill", "after the kill: ./hexorders outbox status"},
	{"published_after_restart", "./hexorders events tail --from start (Ctrl-C ends it)"},
	{"paid_after_restart", "./hexorders events tail --from start, after you have sent the payment again"},
	{"checkpoint_after_stop", "after kill $all: ./hexorders outbox status"},
}

func TestWhereIsTheOrder(t *testing.T) {
	var written map[string]any
	text, err := os.ReadFile("answers.toml")
	if err == nil {
		err = toml.Unmarshal(text, &written)
	}
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{} // 4 and "4", paid and Paid are the same answer
	for name, value := range written {
		answers[name] = strings.ToLower(strings.TrimSpace(fmt.Sprint(value)))
	}
	open := 0
	for _, q := range questions {
		if answers[q.name] == "" {
			open++
		}
	}
	if open > 0 {
		t.Fatalf("%d of %d questions are open: write what you expect into answers.toml", open, len(questions))
	}
	facts := whatHappens(t)
	for i, q := range questions {
		if answer := answers[q.name]; answer != facts[q.name] {
			t.Errorf("question %d, %s: you expect %q, and the service says otherwise. See for yourself, %s", i+1, q.name, answer, q.look)
		}
	}
}

// whatHappens lets it happen: it builds the service, runs it, kills it, starts it again, and answers the questions.
func whatHappens(t *testing.T) map[string]string {
	t.Helper()
	facts := map[string]string{}
	program, err := filepath.Abs("../.mine/hexorders") // it stays there, so that it is linked once and not at each change
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "hexorders/cmd/hexorders")
	build.Dir = os.Getenv("LESSON_CHECKOUT") // set when this folder is a copy: what was compiled for the original need not be again
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	s := &service{t: t, folder: t.TempDir(), program: program}

	s.start("serve", "--roles", "api")
	id := s.post("/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`, "")
	s.post("/orders/"+id+"/items", `{"productId":"2222","amount":8}`, "")
	s.post("/orders/"+id+"/submit", "", "")
	s.post("/orders/"+id+"/pay", "", "pay-"+id)
	s.stop(syscall.SIGKILL)
	store := s.look(id)
	facts["status_after_kill"] = store.status
	facts["outbox_after_kill"] = strconv.Itoa(store.outbox)
	facts["published_after_kill"] = strconv.Itoa(len(store.published))
	facts["checkpoint_after_kill"] = s.checkpoint()

	s.start("serve")
	s.post("/orders/"+id+"/pay", "", "pay-"+id)
	s.run("events", "tail", "--from", "start", "--count", facts["outbox_after_kill"]) // it ends when they are all there
	s.stop(syscall.SIGTERM)
	store = s.look(id)
	paid := 0
	for _, event := range store.published {
		if event == "OrderPaid" {
			paid++
		}
	}
	facts["published_after_restart"] = strconv.Itoa(len(store.published))
	facts["paid_after_restart"] = strconv.Itoa(paid)
	facts["checkpoint_after_stop"] = s.checkpoint()
	return facts
}

// service is the program, with its data in a folder of its own.
type service struct {
	t               *testing.T
	folder, program string
	url             string
	process         *exec.Cmd
}

func (s *service) command(args ...string) *exec.Cmd {
	command := exec.CommandContext(s.t.Context(), s.program, args...)
	command.Dir = s.folder
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "HEXORDERS_") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, "HEXORDERS_HTTP_ADDR=127.0.0.1:0", "HEXORDERS_LOG_FORMAT=text")
	return command
}

// start runs the service and waits until it says where it listens, and then until it is ready.
func (s *service) start(args ...string) {
	s.t.Helper()
	s.process = s.command(args...)
	log, err := s.process.StderrPipe()
	if err == nil {
		err = s.process.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	for s.url = ""; s.url == "" && lines.Scan(); {
		if _, rest, found := strings.Cut(lines.Text(), "hexorders listens on "); found {
			s.url, _, _ = strings.Cut(rest, " ")
		}
	}
	if s.url == "" {
		s.t.Fatal("the service does not say where it listens")
	}
	go func() {
		for lines.Scan() { // so that the service never waits for a reader
		}
	}()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for again := time.NewTicker(20 * time.Millisecond); ; <-again.C {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if ctx.Err() != nil {
			s.t.Fatalf("the service does not become ready: %v", err)
		}
	}
}

func (s *service) stop(signal os.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	_ = s.process.Wait() // a killed process always ends with an error
}

// post sends a command and returns the id of the order.
func (s *service) post(path, body, key string) (id string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	var order struct{ ID string }
	if err := json.NewDecoder(response.Body).Decode(&order); err != nil || response.StatusCode/100 != 2 {
		s.t.Fatalf("POST %s: %s, %v", path, response.Status, err)
	}
	return order.ID
}

func (s *service) run(args ...string) (output string) {
	s.t.Helper()
	command := s.command(args...)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	text, err := command.Output()
	if err != nil {
		s.t.Fatalf("hexorders %v: %v\n%s", args, err, &complaints)
	}
	return string(text)
}

// checkpoint is the first word that `hexorders outbox status` says of it: none or stored.
func (s *service) checkpoint() string {
	s.t.Helper()
	status := s.run("outbox", "status")
	for line := range strings.Lines(status) {
		if rest, found := strings.CutPrefix(line, "checkpoint"); found {
			word, _, _ := strings.Cut(strings.TrimSpace(rest), ":")
			return word
		}
	}
	s.t.Fatalf("outbox status says nothing of a checkpoint:\n%s", status)
	return ""
}

type contents struct {
	status    string
	outbox    int      // messages
	published []string // types of the events in the topic
}

// look reads the file of the service, which does not run.
func (s *service) look(id string) (c contents) {
	s.t.Helper()
	ctx := s.t.Context()
	db, err := sqlite.Open(ctx, filepath.Join(s.folder, "hexorders.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	order, err := sqlite.NewStore(db).Get(ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	c.status = string(order.Status())
	if c.outbox, _, err = sqlite.NewOutbox(db).Unread(ctx); err != nil {
		s.t.Fatal(err)
	}
	topic := sqlite.NewTopic(db)
	end, err := topic.End(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if end == 0 {
		return c
	}
	messages, _, err := topic.Read(ctx, 0, math.MaxInt32)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range messages {
		c.published = append(c.published, m.Type)
	}
	return c
}
