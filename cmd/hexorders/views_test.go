package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

// published is a database of which the topic has a good order, and one that begins with what nobody understands. There are
// no views in it: it is as one from before there were any.
func published(t *testing.T) {
	t.Helper()
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "sqlite")
	t.Setenv("HEXORDERS_SQLITE_PATH", filepath.Join(t.TempDir(), "orders.db"))
	c, _, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	s, err := openStorage(t.Context(), &c, slog.New(slog.DiscardHandler), watch{}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, time.Now())
	if err == nil {
		err = o.Submit(time.Now())
	}
	if err == nil {
		err = s.orders.Save(t.Context(), o, ports.IdempotencyKey{})
	}
	if err != nil {
		t.Fatal(err)
	}
	messages, err := s.orders.(ports.History).Messages(t.Context(), "order-1", 0, 10)
	if err != nil || len(messages) != 2 {
		t.Fatalf("%d messages, error %v", len(messages), err)
	}
	messages = append(messages, ports.Message{ID: "order-2/1", Type: "OrderShipped", OrderID: "order-2", Version: 1,
		Payload: []byte(`{}`), OccurredAt: time.Now()})
	if err := s.topic.Append(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
}

var someTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// prints runs a command that succeeds. Times in what it prints read TIME.
func prints(t *testing.T, args string) string {
	t.Helper()
	out, errOut, code := runCommand(t, strings.Fields(args)...)
	if code != exitOK {
		t.Errorf("hexorders %s: exit code %d\n%s%s", args, code, out, errOut)
	}
	return someTime.ReplaceAllString(out, "TIME")
}

func TestTheCommandsOfTheViews(t *testing.T) {
	published(t)
	const header = "GENERATION  BEHIND  UP TO DATE AS OF  PARKED\n"
	all := strings.Join(slices.Sorted(slices.Values(viewNames())), ", ")
	if got, want := prints(t, "views status"), header+"1           3       -                 none\nviews: "+all+"\n"; got != want {
		t.Errorf("before any consumer\n%swant\n%s", got, want)
	}
	if got, want := prints(t, "views parked"), "no order is parked\n"; got != want {
		t.Errorf("parked: %swant %s", got, want)
	}
	for n, more := range []string{"", " --restart", ""} {
		want := "the views are rebuilt from 3 events, and readers see the new ones\n"
		if got := prints(t, "views rebuild"+more); got != want {
			t.Errorf("rebuild %d: %swant %s", n+1, got, want)
		}
	}
	status := prints(t, "views status")
	if want := "4           0       TIME"; !strings.Contains(status, want) ||
		!strings.Contains(status, "1 events of 1 orders: see `hexorders views parked`") {
		t.Errorf("after three rebuilds\n%swant %s and a parked order", status, want)
	}
	parked := prints(t, "views parked")
	if fields := strings.Fields(strings.Split(parked, "\n")[1]); len(fields) < 5 ||
		strings.Join(fields[:4], " ") != "order-2 1 1 TIME" || !strings.Contains(parked, "OrderShipped") {
		t.Errorf("parked\n%s", parked)
	}
	for args, want := range map[string]string{
		"views retry order-2": "order order-2 is parked again at version 1",
		"views retry order-1": "order order-1 is not parked: `hexorders views parked` lists the orders that are",
	} {
		if _, errOut, code := runCommand(t, strings.Fields(args)...); code != exitFailed || !strings.Contains(errOut, want) {
			t.Errorf("hexorders %s: exit code %d, %swant %q", args, code, errOut, want)
		}
	}
}

func viewNames() []string {
	var names []string
	for _, view := range readside.All {
		names = append(names, view.Name)
	}
	return names
}

// A program with one view less wrote this read model, as the version before a new view did.
func TestTheStatusNamesAViewThatIsNotBuilt(t *testing.T) {
	published(t)
	all := readside.All
	newest := all[len(all)-1].Name
	readside.All = all[:len(all)-1]
	t.Cleanup(func() { readside.All = all })
	prints(t, "views rebuild")
	readside.All = all
	want := "not built: " + newest + ": run `hexorders views rebuild`"
	if got := prints(t, "views status"); !strings.HasSuffix(got, "\n"+want+"\n") {
		t.Errorf("the status is\n%swant %s", got, want)
	}
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	if got := prints(t, "doctor"); !strings.Contains(got, "note  views      "+want+"\n") {
		t.Errorf("doctor prints\n%swant %s", got, want)
	}
	prints(t, "views rebuild")
	if got := prints(t, "views status"); strings.Contains(got, "not built") || !strings.Contains(got, newest) {
		t.Errorf("after a rebuild the status is\n%s", got)
	}
}

// A broker that does not keep its messages cannot say how many there are.
func TestTheStatusWithoutAnAnswerOfTheBroker(t *testing.T) {
	s := memoryStorage(t)
	for name, x := range map[string]struct {
		subscriber ports.Subscriber
		warning    string
	}{
		"it cannot say":      {struct{ ports.Subscriber }{}, ""},
		"it does not answer": {silentTopic{}, "warning: the broker does not say how far the views are behind: away\n"},
	} {
		var out, errOut bytes.Buffer
		if err := viewsStatus(t.Context(), s, x.subscriber, false, &out, &errOut); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(out.String(), "\n1           -       -  ") || errOut.String() != x.warning {
			t.Errorf("%s: the status is\n%s%swant no number and %q", name, &out, &errOut, x.warning)
		}
		out.Reset()
		err := viewsStatus(t.Context(), s, x.subscriber, true, &out, &errOut)
		want := `{"generation":1,"behind":null,"upToDateAsOf":null,"parkedEvents":0,`
		if err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: as JSON the status is\n%s, error %v, want %s", name, &out, err, want)
		}
	}
}

// A clock was an hour ahead when the read model was filled, and has been set back since.
func TestTheStatusBelievesNoTimeInTheFuture(t *testing.T) {
	s := memoryStorage(t)
	live, err := s.views.Live(t.Context())
	if err == nil {
		err = s.views.Commit(t.Context(), live, ports.Change{Places: []ports.PlaceChange{{To: "1@log", AsOf: time.Now().Add(time.Hour)}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	for asJSON, want := range map[bool]string{false: "  unknown: a clock was set back  ", true: `"upToDateAsOf":null,`} {
		var out bytes.Buffer
		err := viewsStatus(t.Context(), s, struct{ ports.Subscriber }{}, asJSON, &out, io.Discard)
		if err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("the status is\n%s, error %v, want %q", &out, err, want)
		}
	}
}

type silentTopic struct {
	ports.Subscriber
	ports.Replayable
}

func (silentTopic) Ahead(context.Context, []ports.Place) (map[string]int64, error) {
	return nil, errors.New("away")
}

// A database from before there were views gets them by itself.
func TestOldOrdersAreInTheViews(t *testing.T) {
	published(t)
	c, _, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	s := startWith(t, knownRoles, map[string]string{"HEXORDERS_STORE": "sqlite", "HEXORDERS_SQLITE_PATH": c.SQLite.Path,
		"HEXORDERS_VIEWS_WAIT": "9s"})
	var list answer
	for deadline := time.Now().Add(2 * time.Minute); list.header.Get("View-Version") != "2" && time.Now().Before(deadline); {
		list = s.do(t, "GET", "/orders?buyerId=9999&atLeastVersion=order-1/2", "", nil)
	}
	if list.status != http.StatusOK || !strings.Contains(list.body, `"id":"order-1"`) || !strings.Contains(list.body, `"submittedAt"`) {
		t.Errorf("the list is %d %s", list.status, list.body)
	}
	s.stop()
	if err := s.wait(t); err != nil {
		t.Errorf("the stop failed: %v", err)
	}
}

func TestProgressInLines(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p := newProgress(&out)
	p.now = func() time.Time { return now }
	p.began, p.said = now, now
	report := func(after time.Duration, done, messages int64) {
		now = now.Add(after)
		p.report(readside.RebuildProgress{Done: done, Total: 100_000, Messages: messages})
	}
	report(time.Second, 41_000, 1000)
	report(3*time.Second, 44_000, 4000)
	report(time.Second, 50_000, 10_000)
	report(time.Second, 51_000, 11_000)
	p.end()
	want := "resuming at event 40000, where an earlier rebuild stopped; --restart starts from the first\n" +
		"rebuild: 50000 of 100000 events (50%), 2000/s, 25s left\n"
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", &out, want)
	}
	if got, want := p.where(), "51000 of 100000 events (51%), 1833/s, 27s left"; got != want {
		t.Errorf("it is at %s, want %s", got, want)
	}
}

// Members of a consumer group share the events out, so a service with views of its own needs a group of its own.
func TestTheGroupIsTheViewsOwn(t *testing.T) {
	group := func(change func(*Config)) string {
		c := Config{Store: storeNamed(t, "mongodb")}
		c.Kafka.Topic, c.MongoDB.Database, c.SQLite.Path = "events", "shop", "orders.db"
		change(&c)
		return c.group()
	}
	same := func(*Config) {}
	if got := group(same); got != "hexorders.events.shop.views" {
		t.Errorf("the group of a database is %q", got)
	}
	sqlite := func(c *Config) { c.Store = storeNamed(t, "sqlite") }
	if first, second := group(sqlite), group(sqlite); first != second {
		t.Error("two processes on one file have different groups")
	}
	for name, change := range map[string]func(*Config){
		"topic":    func(c *Config) { c.Kafka.Topic = "others" },
		"database": func(c *Config) { c.MongoDB.Database = "other" },
		"store":    sqlite,
	} {
		if group(change) == group(same) {
			t.Errorf("another %s has the same group", name)
		}
	}
	if group(sqlite) == group(func(c *Config) { c.Store, c.SQLite.Path = storeNamed(t, "sqlite"), "other.db" }) {
		t.Error("two files have the same group")
	}
	memory := func(c *Config) { c.Store = storeNamed(t, "memory") }
	if first, second := group(memory), group(memory); first == second {
		t.Error("two processes with views in their memory share a group")
	}
}
