package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"hexorders/ports"
)

func topicMessage(n int) ports.Message {
	return ports.Message{
		ID: fmt.Sprintf("order-%d/1", n), OrderID: fmt.Sprintf("order-%d", n), Version: 1, Type: "OrderPaid", Payload: []byte(`{}`),
		OccurredAt:  time.Date(2026, time.March, 14, 6, 30, 15, 123_456_789, time.FixedZone("CET", 3600)),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func appendTo(t testing.TB, db *DB, numbers ...int) {
	t.Helper()
	var messages []ports.Message
	for _, n := range numbers {
		messages = append(messages, topicMessage(n))
	}
	if err := NewTopic(db).Append(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
}

func TestAMessageInMemoryIsTheOneOfTheTable(t *testing.T) {
	db := openNew(t)
	appendTo(t, db, 1, 2, 3)
	save(t, db, newOrder(t, "order-1"))
	for what, log := range map[string]struct {
		*tail
		query string
	}{"topic": {&db.topic, selectFromTopic}, "outbox": {&db.outbox, selectFromOutbox}} {
		got, _ := log.after(0, 10)
		want, err := db.messagesAfter(t.Context(), log.query, 0, 10)
		if err != nil || len(want) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: in memory are %+v, error %v, want %+v", what, got, err, want)
		}
	}
}

func TestWhatIsInMemoryIsBounded(t *testing.T) {
	var l tail
	messages := func(from, n, bytes int) (all []logged) {
		for seq := from; seq < from+n; seq++ {
			all = append(all, logged{int64(seq), ports.Message{Payload: make([]byte, bytes)}})
		}
		return all
	}
	l.grow(messages(1, tailMessages+10, 1))
	if page, _ := l.after(9, 1); page != nil {
		t.Errorf("message %d is in memory, and %d after it", page[0].seq, tailMessages)
	}
	if page, _ := l.after(10, 2*tailMessages); len(page) != tailMessages || page[0].seq != 11 {
		t.Errorf("%d messages are in memory, want %d", len(page), tailMessages)
	}
	l.grow(messages(tailMessages+11, 3, tailBytes/2))
	if page, _ := l.after(tailMessages+11, 10); len(page) != 2 || len(l.messages) != 2 {
		t.Errorf("%d large messages are in memory, want 2", len(page))
	}
	l.grow(messages(5000, 2, 1)) // others are in between
	if page, _ := l.after(5000, 10); len(l.messages) != 2 || l.bytes != 2 || len(page) != 1 || page[0].seq != 5001 {
		t.Errorf("after a gap %d messages of %d bytes are in memory, want 2", len(l.messages), l.bytes)
	}
	if page, _ := l.after(4998, 10); page != nil {
		t.Errorf("what comes after 4998 is not in memory, got %v", page)
	}
}

// Two processes append at once, and a reader in each finds all messages in the order of the table.
func TestEveryReaderFindsTheMessagesOfAllWriters(t *testing.T) {
	t.Parallel()
	const each = 300
	path := filepath.Join(t.TempDir(), "orders.db")
	handles := []*DB{openAt(t, path), openAt(t, path)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	found := make([][]string, len(handles))
	for i, db := range handles {
		all.Go(func() {
			for n := range each {
				appendTo(t, db, i*each+n)
			}
		})
		all.Go(func() {
			for after := int64(0); len(found[i]) < 2*each; {
				messages, last, err := NewTopic(db).Read(ctx, after, 7)
				if err != nil {
					t.Errorf("reader %d: %v after %d messages", i, err, len(found[i]))
					return
				}
				for _, m := range messages {
					found[i] = append(found[i], m.ID)
				}
				after = last
			}
		})
	}
	all.Wait()
	table, err := handles[0].messagesAfter(t.Context(), selectFromTopic, 0, 3*each)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range table {
		want = append(want, m.ID)
	}
	for i := range handles {
		if !slices.Equal(found[i], want) {
			t.Errorf("reader %d found %d messages, not those of the table in their order", i, len(found[i]))
		}
	}
}
