package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver

	"hexorders/core/order"
	"hexorders/test/checker"
)

// The embedded default, a file and a broker within the process, keeps the same promises as MongoDB and Kafka.

func TestNothingIsLostWhenTheEmbeddedDefaultIsKilled(t *testing.T) {
	t.Parallel()
	d := newEmbedded(t)
	const clients, kills = 32, 5
	orders := 1000 * scale
	total := orders * commands
	begin := make(chan struct{}, total)
	release := func(n int) {
		for range n {
			begin <- struct{}{}
		}
	}
	l := &load{orders: orders, clients: clients, client: newClient(d.addr), begin: begin}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5*scale)*time.Minute)
	defer cancel()
	l.start(ctx)

	// The load goes forward in stages. Each waits for the relay, whose lease has to run out after a kill, and is killed
	// in its middle, so that both halves are at work.
	p := d.serve("serve")
	stage := total / (kills + 1)
	for kill := range kills {
		p.says(holdsLease, patience)
		release(stage)
		eventually(t, patience, "half of the stage's commands are answered", func() bool {
			return l.answered.Load() >= int64(kill*stage+stage/2)
		})
		p.kill()
		p = d.serve("serve")
	}
	release(total - kills*stage)
	if err := l.wait(); err != nil {
		t.Fatal(err)
	}
	d.complete()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	// A kill repeats what was published since the last checkpoint, as with Kafka.
	report := d.judge(kills*min(total/10, 4096), l.told())
	if report.Orders < orders || report.Committed < total {
		t.Errorf("%d orders with %d messages are committed, want at least %d with %d", report.Orders, report.Committed, orders, total)
	}
	t.Logf("%d kills, %d duplicates; %s", kills, report.Duplicates, l)
	viewsOf(t, d.serve("serve"), d.topic())
}

func TestTwoProcessesShareOneFile(t *testing.T) {
	t.Parallel()
	d := newEmbedded(t)
	api := d.serve("api", "--roles", "api")
	relay := launch(t, "relay", d.env.with("HEXORDERS_HTTP_ADDR", fmt.Sprintf("127.0.0.1:%d", freePort(t))), "serve", "--roles", "relay")
	relay.says(holdsLease, takeOverLimit)
	l := &load{orders: 100, clients: 8, client: newClient(d.addr), strict: true}
	l.start(t.Context())
	if err := l.wait(); err != nil {
		t.Fatal(err)
	}
	d.complete()
	for _, p := range []*process{api, relay} {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
	}
	if report := d.judge(0, l.told()); report.Committed != 100*commands {
		t.Errorf("%d messages are committed, want %d", report.Committed, 100*commands)
	}
}

// defaults are the program as it is without any setting, but for an address and a file of one test's own.
type defaults struct {
	t    testing.TB
	addr string
	file string
	env  environment
	db   *sql.DB // the test's own look into the file
}

func newEmbedded(t testing.TB) *defaults {
	t.Helper()
	lookAtProgram()
	d := &defaults{t: t, addr: fmt.Sprintf("127.0.0.1:%d", freePort(t)), file: filepath.Join(t.TempDir(), "hexorders.db")}
	d.env = environment{"HEXORDERS_HTTP_ADDR": d.addr, "HEXORDERS_SQLITE_PATH": d.file}
	var err error
	if d.db, err = sql.Open("sqlite", "file:"+d.file+"?_pragma=busy_timeout(5000)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.db.Close() })
	return d
}

// lookAtProgram keeps `go test` from answering with an old result: it remembers what a test looked at, but does not see
// what the compiler read.
var lookAtProgram = sync.OnceFunc(func() {
	for _, folder := range []string{"adapters", "app", "cmd", "core", "ports"} {
		err := filepath.WalkDir(filepath.Join(repository, folder), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			panic(err)
		}
	}
})

func (d *defaults) serve(name string, args ...string) *process {
	d.t.Helper()
	return launch(d.t, name, d.env, append([]string{"serve"}, args...)...).ready()
}

// complete waits until every committed message is in the topic.
func (d *defaults) complete() {
	d.t.Helper()
	eventually(d.t, patience, "every committed message is in the topic", func() bool {
		missing := 0
		// EXCEPT sorts both; NOT IN would compare each with each.
		d.scan(`SELECT count(*) FROM (SELECT order_id, version FROM outbox EXCEPT SELECT order_id, version FROM topic)`,
			func(rows *sql.Rows) error { return rows.Scan(&missing) })
		return missing == 0
	})
}

// judge reads the file, without the program, and what `events tail` prints, and has the checker compare them. Nothing
// else may run.
func (d *defaults) judge(maxDuplicates int, answered map[string]int) checker.Report {
	d.t.Helper()
	h := checker.History{Partitions: 1, Answered: answered}
	d.scan(`SELECT id, buyer_id, status, version, items, created_at, updated_at FROM orders`, func(rows *sql.Rows) error {
		var s order.Snapshot
		var items, created, updated string
		if err := rows.Scan(&s.ID, &s.Buyer, &s.Status, &s.Version, &items, &created, &updated); err != nil {
			return err
		}
		s.CreatedAt, s.UpdatedAt = d.time(created), d.time(updated)
		var lines []struct {
			ProductID string
			Amount    int
		}
		err := json.Unmarshal([]byte(items), &lines)
		for _, line := range lines {
			s.Items = append(s.Items, order.Item{Product: line.ProductID, Amount: line.Amount})
		}
		h.Orders = append(h.Orders, s)
		return err
	})
	d.scan(`SELECT order_id, version, type, payload, occurred_at, traceparent FROM outbox`, func(rows *sql.Rows) error {
		c := checker.Document{AggregateType: "order"} // there are no others, and no column for them
		var occurred string
		err := rows.Scan(&c.AggregateID, &c.Version, &c.Type, &c.Payload, &occurred, &c.TraceParent)
		c.ID, c.OccurredAt = c.AggregateID+"/"+strconv.Itoa(c.Version), d.time(occurred)
		h.Outbox = append(h.Outbox, c)
		return err
	})
	d.scan(`SELECT order_id || '/' || version FROM parked`, func(rows *sql.Rows) error {
		var id string
		h.Parked = append(h.Parked, "")
		err := rows.Scan(&id)
		h.Parked[len(h.Parked)-1] = id
		return err
	})
	var inFile, tailed []string
	d.scan(`SELECT order_id || '/' || version FROM topic ORDER BY seq`, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		inFile = append(inFile, id)
		return err
	})
	h.Topic = d.topic()
	for _, r := range h.Topic {
		tailed = append(tailed, r.Headers[1].Value)
	}
	if !slices.Equal(tailed, inFile) {
		d.t.Errorf("`events tail` prints %d events, the file has %d, and they are not the same", len(tailed), len(inFile))
	}
	asDescribed(d.t, h.Topic)
	report := checker.Check(h, maxDuplicates)
	if len(report.Violations) > 0 {
		d.t.Errorf("the checker: %v", report)
	} else {
		d.t.Logf("the checker: %v (at most %d duplicates can be explained)", report, maxDuplicates)
	}
	return report
}

// topic is what `events tail` prints of all there is.
func (d *defaults) topic() (records []checker.Record) {
	d.t.Helper()
	n := 0
	d.scan(`SELECT count(*) FROM topic`, func(rows *sql.Rows) error { return rows.Scan(&n) })
	for i, event := range tailJSON(d.t, d.env, n) {
		records = append(records, event.record(int64(i)))
	}
	return records
}

func (d *defaults) scan(query string, row func(*sql.Rows) error) {
	d.t.Helper()
	rows, err := d.db.QueryContext(d.t.Context(), query)
	if err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows); err != nil {
			d.t.Fatalf("%s: %v", query, err)
		}
	}
	if err := rows.Err(); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
}

func (d *defaults) time(text string) time.Time {
	d.t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d.t.Fatal(err)
	}
	return at
}

// cloudEvent is an event in the JSON format of CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion      string          `json:"specversion"`
	ID               string          `json:"id"`
	Source           string          `json:"source"`
	Type             string          `json:"type"`
	Time             string          `json:"time"`
	Subject          string          `json:"subject"`
	AggregateVersion json.Number     `json:"aggregateversion"`
	TraceParent      string          `json:"traceparent"`
	DataContentType  string          `json:"datacontenttype"`
	Data             json.RawMessage `json:"data"`
}

// record is the event as Kafka would have it, for the checker.
func (e cloudEvent) record(offset int64) checker.Record {
	r := checker.Record{Offset: offset, Key: e.Subject, Value: string(e.Data), Headers: []checker.Header{
		{Name: "ce_specversion", Value: e.SpecVersion}, {Name: "ce_id", Value: e.ID}, {Name: "ce_source", Value: e.Source},
		{Name: "ce_type", Value: e.Type}, {Name: "ce_time", Value: e.Time}, {Name: "ce_subject", Value: e.Subject},
		{Name: "ce_aggregateversion", Value: e.AggregateVersion.String()}, {Name: "content-type", Value: e.DataContentType},
	}}
	if e.TraceParent != "" {
		r.Headers = append(r.Headers, checker.Header{Name: "traceparent", Value: e.TraceParent})
	}
	return r
}

// tailJSON are the first n events that `events tail --from start --json` prints. It ends with SIGINT, as a person ends
// it.
func tailJSON(t testing.TB, env environment, n int) (events []cloudEvent) {
	t.Helper()
	tail := launch(t, "tail", env, "events", "tail", "--from", "start", "--json")
	eventually(t, patience, fmt.Sprintf("`events tail` prints %d events", n), func() bool {
		return strings.Count(tail.output.String(), "\n") >= n
	})
	tail.signal(syscall.SIGINT)
	if code := tail.wait(patience); code != 0 {
		t.Errorf("exit code of `events tail` after SIGINT is %d, want 0", code)
	}
	for line := range strings.Lines(tail.output.String()) {
		var e cloudEvent
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&e); err != nil {
			t.Fatalf("%v in the line %s", err, line)
		}
		events = append(events, e)
	}
	return events
}
