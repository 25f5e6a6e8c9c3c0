package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/sqlite"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

// small is a store that brings what each store has to, and nothing else.
type small struct {
	ports.OrderStore
	ports.Outbox
	io.Closer
}

// smallStore is a row for it. Its file survives the process, as that of a participant's first store does.
func smallStore(path string) storeKind {
	return storeKind{
		name:  "small",
		where: func(*Config) string { return "orders are kept in a small store" },
		open: func(ctx context.Context, _ *Config, _ *slog.Logger, _ watch) ([]any, error) {
			db, err := sqlite.Open(ctx, path)
			if err != nil {
				return nil, err
			}
			return []any{small{sqlite.NewStore(db), sqlite.NewOutbox(db), db}}, nil
		},
	}
}

// smallService is a service over a small store that is started again and again.
type smallService struct {
	store, companion string
	*running
}

func startSmall(t *testing.T, change ...func(*storeKind)) *smallService {
	t.Helper()
	folder := t.TempDir()
	s := &smallService{store: filepath.Join(folder, "small.db"), companion: filepath.Join(folder, "hexorders.small.db")}
	kind := smallStore(s.store)
	for _, change := range change {
		change(&kind)
	}
	addStore(t, kind)
	s.start(t)
	return s
}

func (s *smallService) start(t *testing.T) {
	t.Helper()
	s.running = startWith(t, knownRoles, map[string]string{
		"HEXORDERS_STORE": "small", "HEXORDERS_SQLITE_PATH": filepath.Join(filepath.Dir(s.companion), "hexorders.db"),
	})
}

// stopAnd stops the service, so that its files are whole, and does something to them.
func (s *smallService) stopAnd(t *testing.T, do func() error) {
	t.Helper()
	s.stop()
	if err := s.wait(t); err != nil {
		t.Fatal(err)
	}
	if err := do(); err != nil {
		t.Fatal(err)
	}
}

// order creates orders of buyer 9999 and returns the id of the last one.
func (s *smallService) order(t *testing.T, n int) (id string) {
	t.Helper()
	for range n {
		created := s.do(t, "POST", "/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`, nil)
		if created.status != http.StatusCreated {
			t.Fatalf("POST /orders: %d %s", created.status, created.body)
		}
		id = strings.TrimPrefix(created.header.Get("Location"), "/orders/")
	}
	return id
}

// wantList waits until the list of buyer 9999 has n orders.
func (s *smallService) wantList(t *testing.T, n int) {
	t.Helper()
	var list struct{ Orders []json.RawMessage }
	for deadline := time.Now().Add(20 * time.Second); ; {
		answer := s.do(t, "GET", "/orders?limit=200&buyerId=9999", "", nil)
		if err := json.Unmarshal([]byte(answer.body), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Orders) == n {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the list has %d orders, want %d", len(list.Orders), n)
		}
		time.Sleep(50 * time.Millisecond) // each question is a line of the log, which has room for a thousand
	}
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

func TestASmallStoreHasACompanion(t *testing.T) {
	s := startSmall(t)
	s.log.waitFor(t, "orders are kept in a small store, events beside them; `hexorders events tail` shows them")
	warning := s.log.waitFor(t, "beside it")
	want := "parking, lease, topic and views of the small store are in " + s.companion + " beside it: one machine only"
	if warning["msg"] != want || warning["level"] != "WARN" {
		t.Errorf("the warning is %v %v, want WARN %s", warning["level"], warning["msg"], want)
	}
	id := s.order(t, 3)
	s.wantList(t, 3)
	withKey := s.do(t, "POST", "/orders/"+id+"/pay", "", map[string]string{"Idempotency-Key": "once"})
	if withKey.status != http.StatusNotImplemented || !strings.Contains(withKey.body, `"code":"no-idempotency"`) {
		t.Errorf("a command with an idempotency key: %d %s, want 501: its result cannot be committed with the order", withKey.status,
			withKey.body)
	}
	if got := s.do(t, "GET", "/orders/"+id, "", nil); !strings.Contains(got.body, `"version":1`) {
		t.Errorf("after the refused command the order is %s", got.body)
	}
	s.stopAnd(t, func() error { return nil })
	s.start(t)
	s.wantList(t, 3)
	s.order(t, 2)
	s.wantList(t, 5)
	if got, want := s.config.group(), "hexorders.orders.events."+fileID(s.companion)+".views"; got != want {
		t.Errorf("the consumer group is %q, want %q: it must not change with the process", got, want)
	}
}

func TestACompanionThatIsLostIsFilledAgain(t *testing.T) {
	s := startSmall(t)
	s.order(t, 5)
	s.wantList(t, 5)
	// More than once: the terms of a new lease are lower than those that the store has seen.
	for range 3 {
		s.stopAnd(t, func() error { return nil })
		s.start(t)
		s.order(t, 1)
	}
	s.wantList(t, 8)
	s.stopAnd(t, func() error { return os.Remove(s.companion) })
	s.start(t)
	s.wantList(t, 8)
	s.order(t, 1)
	s.wantList(t, 9)
	s.stopAnd(t, func() error { return nil })
	s.start(t)
	s.wantList(t, 9)
}

func TestACompanionThatIsRestoredFromAnOlderCopyCatchesUp(t *testing.T) {
	s := startSmall(t)
	s.order(t, 3)
	s.wantList(t, 3)
	s.stopAnd(t, func() error { return copyFile(s.companion, s.companion+".old") })
	s.start(t)
	s.order(t, 4)
	s.wantList(t, 7)
	s.stopAnd(t, func() error { return copyFile(s.companion+".old", s.companion) })
	s.start(t)
	s.wantList(t, 7)
}

func TestAStoreThatLacksWhatItsCompanionPublishedIsRefused(t *testing.T) {
	s := startSmall(t)
	s.order(t, 3)
	s.wantList(t, 3)
	s.stopAnd(t, func() error { return copyFile(s.store, s.store+".old") })
	s.start(t)
	id := s.order(t, 1)
	s.wantList(t, 4)
	for _, lost := range []struct {
		how string
		do  func() error
	}{
		{"restored from an older copy", func() error { return copyFile(s.store+".old", s.store) }},
		{"deleted", func() error { return os.Remove(s.store) }},
	} {
		s.stopAnd(t, lost.do)
		config, _, err := loadConfig()
		if err != nil {
			t.Fatal(err)
		}
		err = newService(config, knownRoles, slog.New(slog.DiscardHandler)).Open(t.Context())
		want := fmt.Sprintf("the store does not have version 1 of order %s, which was published to %s beside it: the store was deleted, "+
			"or restored from an older copy, without it. Move that file away too, with its -wal and -shm: the next start makes a "+
			"new one from what the store has", id, s.companion)
		if err == nil || err.Error() != want {
			t.Errorf("a store that was %s: error\n%v\nwant\n%s", lost.how, err, want)
		}
	}
	if err := os.Remove(s.companion); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	s.wantList(t, 0)
	s.order(t, 1)
	s.wantList(t, 1)
}

// A store may bring some of it.
func TestOnlyWhatIsMissingComesFromTheCompanion(t *testing.T) {
	s := startSmall(t, func(k *storeKind) {
		open := k.open
		k.open = func(ctx context.Context, c *Config, log *slog.Logger, w watch) ([]any, error) {
			parts, err := open(ctx, c, log, w)
			if err != nil {
				return nil, err
			}
			db := parts[0].(small).Closer.(*sqlite.DB)
			return append(parts, sqlite.NewLease(db, "relay"), sqlite.NewReadModel(db, viewTables())), nil
		}
	})
	want := "parking and topic of the small store are in " + s.companion + " beside it: one machine only"
	if warning := s.log.waitFor(t, "beside it: "); warning["msg"] != want {
		t.Errorf("the warning is %v, want %s", warning["msg"], want)
	}
	s.order(t, 3)
	s.wantList(t, 3)
	s.stopAnd(t, func() error { return os.Remove(s.companion) })
	s.start(t)
	s.published(t, 3)
}

func TestAWholeStoreHasNoCompanion(t *testing.T) {
	for _, name := range []string{"sqlite", "memory"} {
		folder := t.TempDir()
		s := startWith(t, knownRoles, map[string]string{"HEXORDERS_STORE": name, "HEXORDERS_SQLITE_PATH": folder + "/hexorders.db"})
		if s.storage.beside != "" {
			t.Errorf("%s: %s", name, s.storage.beside)
		}
		if files, err := filepath.Glob(folder + "/hexorders." + name + "*"); err != nil || len(files) > 0 {
			t.Errorf("%s: the files %v are there, error %v", name, files, err)
		}
	}
}

func TestOnlyServingCreatesACompanion(t *testing.T) {
	folder := t.TempDir()
	addStore(t, smallStore(folder+"/small.db"))
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "small")
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	t.Setenv("HEXORDERS_SQLITE_PATH", folder+"/hexorders.db")
	want := "note  store      there is no companion of the small store: database \"" + folder + "/hexorders.small.db\": "
	if out, _, code := runCommand(t, "doctor"); code != exitOK || !strings.Contains(out, want) {
		t.Errorf("doctor ends with %d and prints\n%swant\n%s", code, out, want)
	}
	if _, err := os.Stat(folder + "/hexorders.small.db"); !os.IsNotExist(err) {
		t.Errorf("doctor has created the companion, or %v", err)
	}
}

func TestAStoreMustBringOrdersAndOutbox(t *testing.T) {
	c := &Config{Store: storeKind{name: "empty", open: func(context.Context, *Config, *slog.Logger, watch) ([]any, error) {
		return []any{"orders"}, nil
	}}}
	if _, err := openStorage(t.Context(), c, nil, watch{}, true); err == nil ||
		err.Error() != "the store empty must bring a ports.OrderStore and a ports.Outbox" {
		t.Errorf("got %v", err)
	}
}

// A term counts in the file that has the lease. The other file may have met a lease that is no more.
func TestATermIsThatOfTheFileWithTheLease(t *testing.T) {
	for _, x := range []struct {
		lease               bool // in the companion
		lost                string
		newStore, newBeside bool
		olderTerm           error
	}{
		{lease: true, lost: "companion", newBeside: true},
		{lease: true, lost: "neither", olderTerm: ports.ErrFenced},
		{lease: false, lost: "store", newStore: true},
		{lease: false, lost: "neither", olderTerm: ports.ErrFenced},
	} {
		store, beside := openDB(t), openDB(t)
		before := companionOutbox{sqlite.NewOutbox(store), sqlite.NewCheckpoint(beside), x.lease}
		if err := before.Checkpoint(t.Context(), 9, "1"); err != nil {
			t.Fatal(err)
		}
		if x.newStore {
			store = openDB(t)
		}
		if x.newBeside {
			beside = openDB(t)
		}
		after := companionOutbox{sqlite.NewOutbox(store), sqlite.NewCheckpoint(beside), x.lease}
		if err := after.Checkpoint(t.Context(), 1, "2"); !errors.Is(err, x.olderTerm) {
			t.Errorf("lease in the companion %t, lost is %s: a checkpoint in term 1 after term 9: error %v, want %v", x.lease, x.lost,
				err, x.olderTerm)
		}
		if err := after.Checkpoint(t.Context(), 10, "3"); err != nil {
			t.Errorf("lease in the companion %t, lost is %s: a checkpoint in term 10: %v", x.lease, x.lost, err)
		}
		if got, err := after.Position(t.Context()); got != "3" || err != nil {
			t.Errorf("lease in the companion %t, lost is %s: position %q, error %v, want 3", x.lease, x.lost, got, err)
		}
	}
}

// A companion's outbox keeps every promise of one.
func TestOutboxWithACompanion(t *testing.T) {
	for _, lease := range []bool{true, false} {
		t.Run(fmt.Sprintf("lease beside it %t", lease), func(t *testing.T) {
			porttest.Store(t, func(t testing.TB) porttest.Storage {
				store, beside := openDB(t), openDB(t)
				return porttest.Storage{
					Orders: sqlite.NewStore(store),
					Outbox: companionOutbox{sqlite.NewOutbox(store), sqlite.NewCheckpoint(beside), lease},
					Encode: eventjson.Messages,
					FailCommits: func(t testing.TB) func() {
						t.Fatal("no check of Outbox lets commits fail")
						return nil
					},
					Age: func(t testing.TB, _ time.Duration) { t.Fatal("no check of Outbox looks at stored results") },
				}
			}, "Outbox")
		})
	}
}

func openDB(t testing.TB) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
