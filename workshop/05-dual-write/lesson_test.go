//go:build exercise

package lesson_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/sqlite"
	"hexorders/app"
	"hexorders/app/relay"
	"hexorders/core/order"
	"hexorders/ports"
	lesson "hexorders/workshop/05-dual-write"
)

const orders = 100

// deadly are the orders at which the process is killed, each between its two writes.
var deadly = []string{"order-025", "order-050", "order-075"}

// A process places a hundred orders, one after the other, with one event each. Three times it is killed with SIGKILL
// between a write to the store and a write to the broker, whichever comes first, and started again. Every order that is in
// the store must have its event at the broker, and every event must have its order.
func TestEveryOrderHasItsEventAndEveryEventItsOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.db")
	next, died := 1, []string{}
	for !finished(t, file, &next, &died) {
		if len(died) > len(deadly) {
			t.Fatalf("the process does not come to its end: it has died at %v", died)
		}
	}
	saved, published := whatIsThere(t, file)
	var lost, invented []string
	for id := range saved {
		if published[id] == 0 {
			lost = append(lost, id)
		}
	}
	for id := range published {
		if !saved[id] {
			invented = append(invented, id)
		}
	}
	slices.Sort(lost)
	slices.Sort(invented)
	if len(lost) > 0 {
		t.Errorf("%d of %d events never came: %v are saved, and nobody will hear of it", len(lost), orders, some(lost))
	}
	if len(invented) > 0 {
		t.Errorf("%d events of orders that do not exist: %v", len(invented), some(invented))
	}
	again := 0
	for _, times := range published {
		if times > 1 {
			again++
		}
	}
	t.Logf("%d of %d events came more than once", again, orders)
	if !t.Failed() && len(died) != len(deadly) {
		t.Errorf("the process was killed at %v, want at %v: nothing is proven", died, deadly)
	}
}

// some are the first three of many.
func some(ids []string) []string {
	if len(ids) > 3 {
		return append(ids[:3:3], "...")
	}
	return ids
}

// A disk is full, or a constraint is violated: the event cannot be written. Then there is no order either.
func TestOrderAndEventAreOneTransaction(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.db")
	db, err := sqlite.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	raw, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.ExecContext(t.Context(),
		`CREATE TRIGGER refuse BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no event today'); END`); err != nil {
		t.Fatal(err)
	}
	o, err := order.New("order-1", "buyer", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	store := sqlite.NewStore(db)
	err = store.Save(t.Context(), o, ports.IdempotencyKey{})
	if _, notThere := store.Get(t.Context(), "order-1"); err == nil || !errors.Is(notThere, ports.ErrNotFound) {
		t.Errorf("order-1 is saved without its event: Save returned %v", err)
	}
}

// finished runs the process until it ends, and reports whether it has come to the end. Otherwise it was killed at an order.
func finished(t *testing.T, file string, next *int, died *[]string) bool {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), "LESSON_FILE="+file, "LESSON_NEXT="+strconv.Itoa(*next),
		"LESSON_DIED="+strings.Join(*died, ","))
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	killed := false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if id, found := strings.CutPrefix(lines.Text(), "dies at "); found {
			killed = true
			*died = append(*died, id)
		} else if *next, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
	}
	if err := command.Wait(); err != nil && !killed {
		t.Fatal(err)
	}
	return !killed
}

// TestMain is the process as well.
func TestMain(m *testing.M) {
	if file := os.Getenv("LESSON_FILE"); file != "" {
		if err := process(context.Background(), file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// process is the Order service, as small as it can be: a SQLite file, the in-process broker with its topic in the same
// file, a relay, and a client that places orders. It goes on with the order after the last one that was tried.
func process(ctx context.Context, file string) error {
	db, err := sqlite.Open(ctx, file)
	if err != nil {
		return err
	}
	broker := inproc.NewBroker(sqlite.NewTopic(db))
	k := &killer{store: sqlite.NewStore(db), broker: broker, spared: strings.Split(os.Getenv("LESSON_DIED"), ",")}
	outbox := sqlite.NewOutbox(db)
	relaying, stop := context.WithCancel(ctx)
	defer stop()
	relayed := make(chan error, 1)
	go func() {
		relayed <- relay.New(relay.Options{
			Outbox: outbox, Publisher: k, Parking: sqlite.NewParking(db), Lease: sqlite.NewLease(db, "relay"),
			Owner: strconv.Itoa(os.Getpid()), LeaseTTL: 500 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		}).Run(relaying)
	}()

	number, err := strconv.Atoi(os.Getenv("LESSON_NEXT"))
	if err != nil {
		return err
	}
	service := app.NewOrders(lesson.Store{Orders: k, Publisher: k},
		app.OrdersOptions{NewID: func() string { return fmt.Sprintf("order-%03d", number) }})
	for ; number <= orders; number++ {
		fmt.Println(number + 1) // the next one to try, if this one is the last thing that the process does
		if _, err := service.Create(ctx, "buyer", nil, ports.IdempotencyKey{}); err != nil {
			return err
		}
	}

	all := sqlite.NewOutbox(db) // nobody reads from this one, so that all events are unread
	for every := time.NewTicker(10 * time.Millisecond); ; <-every.C {
		events, _, err := all.Unread(ctx)
		if err != nil {
			return err
		}
		done, err := outbox.Position(ctx)
		if err != nil {
			return err
		}
		if events == 0 || string(done) == strconv.Itoa(events) { // the checkpoint stands behind the last event
			stop()
			return errors.Join(<-relayed, broker.Close(), db.Close())
		}
	}
}

// killer is a store and a broker. It ends the process when the second of an order's two writes is about to begin.
type killer struct {
	store     *sqlite.Store
	broker    *inproc.Broker
	published sync.Map // ids of orders whose event went to the broker before they were saved
	spared    []string // orders at which the process has died before
}

func (k *killer) Get(ctx context.Context, id string) (*order.Order, error) {
	return k.store.Get(ctx, id)
}

func (k *killer) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if _, published := k.published.Load(o.ID()); published {
		k.kill(o.ID())
	}
	return k.store.Save(ctx, o, key)
}

func (k *killer) Publish(ctx context.Context, m ports.Message, done func(error)) {
	if _, err := k.store.Get(ctx, m.OrderID); err == nil {
		k.kill(m.OrderID)
	} else {
		k.published.Store(m.OrderID, true)
	}
	k.broker.Publish(ctx, m, done)
}

func (k *killer) Close() error { return k.broker.Close() }

// kill is a SIGKILL: nothing is cleaned up, no defer runs.
func (k *killer) kill(id string) {
	if !slices.Contains(deadly, id) || slices.Contains(k.spared, id) {
		return
	}
	fmt.Println("dies at " + id)
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// whatIsThere reads the store and the topic.
func whatIsThere(t *testing.T, file string) (saved map[string]bool, published map[string]int) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	saved, published = map[string]bool{}, map[string]int{}
	for number := 1; number <= orders; number++ {
		id := fmt.Sprintf("order-%03d", number)
		_, err := sqlite.NewStore(db).Get(t.Context(), id)
		if err != nil && !errors.Is(err, ports.ErrNotFound) {
			t.Fatal(err)
		}
		if err == nil {
			saved[id] = true
		}
	}
	topic := sqlite.NewTopic(db)
	end, err := topic.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if end == 0 { // Read would wait for the first message
		return saved, published
	}
	messages, _, err := topic.Read(t.Context(), 0, math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		published[m.OrderID]++
	}
	return saved, published
}
