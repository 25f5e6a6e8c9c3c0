package mongodb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

// quiet is for tests that lose the stream on purpose.
var quiet = slog.New(slog.DiscardHandler)

func TestTheCheckpointIsADocument(t *testing.T) {
	db := mongotest.DB(t)
	if err := mongodb.NewOutbox(db, mongodb.OutboxOptions{}).Checkpoint(t.Context(), 3, "stream|1.2|"); err != nil {
		t.Fatal(err)
	}
	got := one(t, db.Collection("relay"))
	updated, _ := got["updatedAt"].(bson.DateTime)
	if time.Since(updated.Time()).Abs() > time.Hour {
		t.Errorf("updatedAt: got %v, want now", got["updatedAt"])
	}
	delete(got, "updatedAt")
	wantSame(t, got, bson.M{"_id": "outbox", "position": "stream|1.2|", "term": int64(3)})
}

// The scan is stopped after every single message, while orders it has passed already and orders it has yet to read go on
// changing.
func TestAScanThatIsInterruptedAtEveryMessageGoesOn(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{ScanPage: 3})
	want := map[string]int{}
	for _, id := range ids("order", 8) {
		save(t, store, newOrder(t, id, 2))
		want[id] = 2
	}
	first, err := store.Get(t.Context(), "order-000")
	if err != nil {
		t.Fatal(err)
	}
	last, err := store.Get(t.Context(), "order-007")
	if err != nil {
		t.Fatal(err)
	}
	var got []received
	var p ports.Position
	for total := 16; len(got) < total; {
		next := tail(t, outbox, p, 1)[0]
		got, p = append(got, next), next.position
		if len(got) <= 10 {
			change(t, first, 1)
			change(t, last, 1)
			save(t, store, first, last)
			want[first.ID()]++
			want[last.ID()]++
			total += 2
		}
	}
	wantOnce(t, got, want)
	wantNothingMore(t, store, outbox, p)
}

// A quiet outbox stays at its last position for days. That must not be one that has a scan ahead.
func TestTheLastMessageOfAScanEndsIt(t *testing.T) {
	db := mongotest.DB(t)
	save(t, mongodb.NewStore(db, mongodb.Options{}), newOrder(t, "order-1", 3))
	got := tail(t, mongodb.NewOutbox(db, mongodb.OutboxOptions{}), "", 3)
	for i, want := range []string{"scan|", "scan|", "stream|"} {
		if p := string(got[i].position); !strings.HasPrefix(p, want) {
			t.Errorf("message %d has position %q, want one of the kind %q", i+1, p, want)
		}
	}
}

// The server keeps the past for five minutes. A scan that takes longer goes on as of a later moment, and what the later
// part of it has seen must not come by the stream again.
func TestAScanThatOutlivesItsSnapshotGoesOnWithALaterOne(t *testing.T) {
	for name, code := range map[string]int{"SnapshotTooOld": 239, "SnapshotUnavailable": 246, "CursorNotFound": 43} {
		t.Run(name, func(t *testing.T) {
			db := mongotest.DB(t)
			store := mongodb.NewStore(db, mongodb.Options{})
			outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{ScanPage: 4})
			want := map[string]int{"order-010": 1}
			var orders []*order.Order
			for _, id := range ids("order", 10) {
				o := newOrder(t, id, 1)
				save(t, store, o)
				orders, want[id] = append(orders, o), 1
			}
			mongotest.FailCommand(t, db, mongotest.Times(1), "getMore", bson.D{{Key: "errorCode", Value: code}})
			var got []received
			err := outbox.Tail(t.Context(), "", func(m ports.Message, p ports.Position) error {
				got = append(got, received{m, p})
				if len(got) == 2 {
					for _, i := range []int{0, 2, 9} { // read already, fetched already, yet to be read
						change(t, orders[i], 1)
						save(t, store, orders[i])
						want[orders[i].ID()]++
					}
					save(t, store, newOrder(t, "order-010", 1))
				}
				if len(got) == 14 {
					save(t, store, newOrder(t, "zzz-marker", 1))
				}
				if m.OrderID == "zzz-marker" {
					return errEnough
				}
				return nil
			})
			if !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
			wantOnce(t, got[:len(got)-1], want)
		})
	}
}

func TestAScanWithoutAnySnapshotEnds(t *testing.T) {
	db := mongotest.DB(t)
	save(t, mongodb.NewStore(db, mongodb.Options{}), newOrder(t, "order-1", 1))
	mongotest.FailCommand(t, db, "alwaysOn", "find", bson.D{{Key: "errorCode", Value: 246}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := mongodb.NewOutbox(db, mongodb.OutboxOptions{}).Tail(ctx, "", func(ports.Message, ports.Position) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "SnapshotUnavailable") {
		t.Errorf("got %v, want the server's error", err)
	}
}

func TestAScanAmongWritersIsInOrderAndWhole(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{ScanPage: 5})
	const writers, versions = 8, 40
	want := map[string]int{}
	var all sync.WaitGroup
	for _, id := range ids("order", writers) {
		o := newOrder(t, id, 1)
		save(t, store, o)
		want[id] = versions
		all.Go(func() {
			for o.Version() < versions {
				change(t, o, 1)
				if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	got := tail(t, outbox, "", writers*versions)
	all.Wait()
	wantOnce(t, got, want)
	wantNothingMore(t, store, outbox, got[len(got)-1].position)
}

func TestWhenTheStreamIsLostTheDocumentsAreReadAgain(t *testing.T) {
	ancient := func(p ports.Position) ports.Position { // 1970, in a token that is otherwise true
		kind, token, _ := cutLast(string(p), "|")
		return ports.Position(kind + "|" + token[:2] + "00000001" + token[10:])
	}
	garbage := func(p ports.Position) ports.Position {
		kind, _, _ := cutLast(string(p), "|")
		return ports.Position(kind + "|DEADBEEF")
	}
	same := func(p ports.Position) ports.Position { return p }
	historyLost := bson.D{{Key: "errorCode", Value: 286}, {Key: "errorLabels", Value: bson.A{"NonResumableChangeStreamError"}}}
	cases := []struct {
		name   string
		damage func(ports.Position) ports.Position
		fail   string
		before int // messages that the stream still gives
	}{
		{"the token is older than the oplog", ancient, "", 0},
		{"the token is none", garbage, "", 0},
		{"the oplog has moved on before the start", same, "aggregate", 0},
		{"the oplog moves on meanwhile", same, "getMore", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			db := mongotest.DB(t)
			store := mongodb.NewStore(db, mongodb.Options{})
			var logged bytes.Buffer
			outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			save(t, store, newOrder(t, "order-1", 2))
			end := tail(t, outbox, "", 2)[1].position // where the scan ends, which has no token
			save(t, store, newOrder(t, "order-2", 3))
			p := tail(t, outbox, end, 3)[2].position
			save(t, store, newOrder(t, "order-3", 1)) // while no relay was reading
			if c.fail != "" {
				mongotest.FailCommand(t, db, mongotest.Times(1), c.fail, historyLost)
			}

			got := tail(t, outbox, c.damage(p), c.before+6)
			wantOnce(t, got[c.before:], map[string]int{"order-1": 2, "order-2": 3, "order-3": 1})
			if n := strings.Count(logged.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings, want one: %s", n, &logged)
			}
			wantNothingMore(t, store, outbox, got[c.before+5].position)
		})
	}
}

// Only what is too old to be new is left out.
func TestARescanStartsTheMarginBeforeWhereTheStreamWas(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{Margin: 10 * time.Minute, Logger: quiet})
	saveAged := func(id string, age time.Duration) {
		t.Helper()
		o, err := order.New(id, "b", nil, time.Now().Add(-age))
		if err != nil {
			t.Fatal(err)
		}
		save(t, store, o)
	}
	saveAged("order-old", time.Hour)
	saveAged("order-young", 5*time.Minute)
	p := tail(t, outbox, "", 2)[1].position
	// Its writer's clock is a day ahead. What it says about the time must not push anything out.
	saveAged("order-ahead", -24*time.Hour)
	p = tail(t, outbox, p, 1)[0].position
	saveAged("order-new", 0)

	kind, _, _ := cutLast(string(p), "|")
	got := tail(t, outbox, ports.Position(kind+"|DEADBEEF"), 3)
	wantOnce(t, got, map[string]int{"order-ahead": 1, "order-new": 1, "order-young": 1})
	wantNothingMore(t, store, outbox, got[2].position)
}

func TestAStreamThatIsLostDuringAScanRepeatsRatherThanLoses(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{Logger: quiet})
	first, second := newOrder(t, "order-1", 2), newOrder(t, "order-2", 2)
	save(t, store, first, second)
	p := tail(t, outbox, "", 3)[2].position
	change(t, first, 1) // behind the scan: only the stream has it
	save(t, store, first)
	mongotest.FailCommand(t, db, mongotest.Times(1), "aggregate", bson.D{{Key: "errorCode", Value: 286}})

	got := tail(t, outbox, p, 6)
	if got[0].ID != "order-2/2" {
		t.Errorf("the rest of the scan begins with %s, want order-2/2", got[0].ID)
	}
	wantOnce(t, got[1:], map[string]int{"order-1": 3, "order-2": 2})
}

// Dropping the collection, to start from scratch, invalidates the stream.
func TestATailSurvivesThatTheCollectionIsDropped(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{Logger: quiet})
	drop := func() {
		if err := db.Collection("outbox").Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	save(t, store, newOrder(t, "order-1", 1))
	var got []received
	err := outbox.Tail(t.Context(), "", func(m ports.Message, p ports.Position) error {
		got = append(got, received{m, p})
		drop()
		if len(got) < 3 {
			save(t, store, newOrder(t, "order-"+string(rune('1'+len(got))), 1))
		}
		return nil
	})
	// One loss is mended on the spot, of a second one the caller is told.
	if err == nil || len(got) < 2 || got[1].ID != "order-2/1" {
		t.Fatalf("got %d messages, then %v; want order-2/1 among them", len(got), err)
	}
	save(t, store, newOrder(t, "order-9", 1))
	for _, p := range []ports.Position{got[0].position, got[len(got)-1].position} {
		again := tail(t, outbox, p, 1)
		for again[len(again)-1].ID != "order-9/1" {
			again = append(again, tail(t, outbox, again[len(again)-1].position, 1)...)
		}
	}
}

func TestWhatIsDeletedOrChangedIsNoMessage(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	save(t, store, newOrder(t, "order-1", 2))
	p := tail(t, outbox, "", 2)[1].position
	c := db.Collection("outbox")
	if _, err := c.UpdateByID(t.Context(), "order-1/2", bson.M{"$set": bson.M{"note": "seen"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteMany(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	wantNothingMore(t, store, outbox, p)
}

func TestADocumentThatIsNoMessageIsAnError(t *testing.T) {
	db := mongotest.DB(t)
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	save(t, mongodb.NewStore(db, mongodb.Options{}), newOrder(t, "order-1", 1))
	p := tail(t, outbox, "", 1)[0].position
	if _, err := db.Collection("outbox").InsertOne(t.Context(), bson.M{"_id": 7, "aggregateid": "order-2", "version": "one"}); err != nil {
		t.Fatal(err)
	}
	for _, after := range []ports.Position{"", p} {
		err := outbox.Tail(t.Context(), after, func(m ports.Message, _ ports.Position) error {
			if m.OrderID != "order-1" {
				return fmt.Errorf("it was emitted: %+v", m)
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "decod") {
			t.Errorf("Tail after %q: got %v, want an error of decoding", after, err)
		}
	}
}

func TestAPositionOfAnotherOutboxIsAnError(t *testing.T) {
	outbox := mongodb.NewOutbox(mongotest.DB(t), mongodb.OutboxOptions{})
	err := outbox.Tail(t.Context(), "42", func(ports.Message, ports.Position) error { return nil })
	if err == nil || !strings.Contains(err.Error(), `"42"`) || !strings.Contains(err.Error(), "relay") {
		t.Errorf("got %v, want an error that names the position and what to do", err)
	}
}

func TestAnInterruptedConnectionIsResumedOrUnavailable(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	save(t, store, newOrder(t, "order-1", 1))
	p := tail(t, outbox, "", 1)[0].position
	save(t, store, newOrder(t, "order-2", 1))

	// Once is for the driver to mend.
	mongotest.FailCommand(t, db, mongotest.Times(1), "getMore", bson.D{{Key: "closeConnection", Value: true}})
	p = tail(t, outbox, p, 1)[0].position

	// A server that goes on like that is away.
	heal := mongotest.FailCommand(t, db, "alwaysOn", "aggregate", bson.D{{Key: "closeConnection", Value: true}})
	err := outbox.Tail(t.Context(), p, func(ports.Message, ports.Position) error { return nil })
	if !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	heal()
	wantNothingMore(t, store, outbox, p)
}

// wantNothingMore saves one more order, and wants its message to be the next one after p.
func wantNothingMore(t testing.TB, store ports.OrderStore, outbox ports.Outbox, p ports.Position) {
	t.Helper()
	save(t, store, newOrder(t, "zzz-marker", 1))
	if next := tail(t, outbox, p, 1)[0]; next.ID != "zzz-marker/1" {
		t.Errorf("after all were read, %s came", next.ID)
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
