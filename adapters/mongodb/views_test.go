package mongodb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb"
	"hexorders/core/order"
	"hexorders/ports"
)

var summaryView = ports.Generation{View: ports.OrderSummary, Number: 1}

// created is the change that the first message of each of these orders makes, all in one partition.
func created(from int, rows ...ports.Summary) ports.Change {
	c := ports.Change{
		Positions: []ports.PositionChange{{From: int64(from), To: int64(from + len(rows)), AsOf: at}},
		Summaries: rows,
	}
	for _, s := range rows {
		c.Received = append(c.Received, s.OrderID+"/1")
		c.Marks = append(c.Marks, ports.MarkChange{Mark: ports.Mark{OrderID: s.OrderID, Version: 1}})
	}
	return c
}

func receive(t testing.TB, views *mongodb.Views, g ports.Generation, c ports.Change) {
	t.Helper()
	if err := views.Commit(t.Context(), g, c); err != nil {
		t.Fatal(err)
	}
}

func wantPosition(t testing.TB, views *mongodb.Views, want int64) {
	t.Helper()
	positions, err := views.Positions(t.Context(), summaryView)
	if err != nil || positions[0] != want {
		t.Errorf("positions are %v, error %v, want partition 0 at %d", positions, err, want)
	}
}

// Whatever becomes of the answer, the change is made once, or it is said that nobody knows.
func TestAChangeIsCommittedOnceThoughTheCommitsAnswerIsLost(t *testing.T) {
	db := testDB(t)
	views := mongodb.NewViews(db, mongodb.ViewsOptions{})
	rows := summaries(3)
	receive(t, views, summaryView, created(0, rows[0])) // the collections are there

	failCommand(t, db, times(2), "commitTransaction", bson.D{{Key: "closeConnection", Value: true}})
	receive(t, views, summaryView, created(1, rows[1]))
	wantPosition(t, views, 2)

	hurried := mongodb.NewViews(db, mongodb.ViewsOptions{Timeout: 200 * time.Millisecond})
	heal := failCommits(t, db, bson.D{{Key: "closeConnection", Value: true}})
	if err := hurried.Commit(t.Context(), summaryView, created(2, rows[2])); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a Commit whose answers are all lost: got %v, want ErrUnavailable", err)
	}
	heal()
	wantPosition(t, views, 2)
}

func TestATransactionThatMeetsAnotherIsTriedAgain(t *testing.T) {
	db := testDB(t)
	views := mongodb.NewViews(db, mongodb.ViewsOptions{})
	rows := summaries(2)
	receive(t, views, summaryView, created(0, rows[0]))
	const writeConflict = 112
	failCommand(t, db, times(3), "insert", bson.D{
		{Key: "errorCode", Value: writeConflict}, {Key: "errorLabels", Value: bson.A{"TransientTransactionError"}},
	})
	receive(t, views, summaryView, created(1, rows[1]))
	wantPosition(t, views, 2)
}

// Whoever loses a race for what both take for known has to hear of it, for the other may have changed it after it was read.
func TestOfTwoProcessesThatChangeAnOrderOneIsRefused(t *testing.T) {
	db := testDB(t)
	processes := []*mongodb.Views{mongodb.NewViews(db, mongodb.ViewsOptions{}), mongodb.NewViews(db, mongodb.ViewsOptions{})}
	row := summaries(1)[0]
	receive(t, processes[0], summaryView, created(0, row))
	const rounds = 10
	for version := 2; version <= rounds; version++ {
		var commits []func() error
		for partition, views := range processes { // only the order itself tells that they are in each other's way
			commits = append(commits, func() error {
				row := row
				row.Version = version
				return views.Commit(t.Context(), summaryView, ports.Change{
					Positions: []ports.PositionChange{{Partition: partition + 1, From: int64(version - 2),
						To: int64(version - 1), AsOf: at}},
					Marks:     []ports.MarkChange{{Mark: ports.Mark{OrderID: row.OrderID, Version: version}, Was: version - 1}},
					Summaries: []ports.Summary{row},
				})
			})
		}
		for i, err := range crowd(t, commits...) {
			if !errors.Is(err, ports.ErrConflict) {
				continue
			}
			// The loser's partition goes on too, so that the next round begins the same.
			receive(t, processes[i], summaryView, ports.Change{
				Positions: []ports.PositionChange{{Partition: i + 1, From: int64(version - 2), To: int64(version - 1), AsOf: at}},
			})
			commits[i] = nil
		}
		if (commits[0] == nil) == (commits[1] == nil) {
			t.Fatalf("version %d: want one commit to be refused, and only one", version)
		}
	}
}

// A list is read from an index in its order, however many orders there are. The server's profiler tells what it did.
func TestNoListIsSortedOrReadFromEndToEnd(t *testing.T) {
	db := testDB(t)
	views := mongodb.NewViews(db, mongodb.ViewsOptions{})
	rows := summaries(300)
	for i := range rows {
		rows[i].Buyer, rows[i].TotalAmount, rows[i].UpdatedAt = fmt.Sprint("buyer-", i%2), i%7, at.Add(time.Duration(i%5)*time.Second)
		if i%3 == 0 {
			rows[i].Status = order.StatusPaid
		}
	}
	receive(t, views, summaryView, created(0, rows...))
	var entries []ports.TimelineEntry
	for version := range 50 {
		entries = append(entries, ports.TimelineEntry{OrderID: rows[version%2].OrderID, Version: version + 1, Type: "OrderPaid", At: at})
	}
	timeline := ports.Generation{View: ports.OrderTimeline, Number: 1}
	receive(t, views, timeline, ports.Change{Timeline: entries})

	profile(t, db, 2)
	const size = 10
	questions := 0
	for _, sort := range []ports.SummarySort{ports.OldestFirst, ports.NewestFirst, ports.LastChanged, ports.LargestAmount} {
		for _, status := range []order.Status{"", order.StatusPaid} {
			cursor := ""
			for range 2 { // the first page, and one behind a cursor
				q := ports.SummaryQuery{Buyer: "buyer-1", Status: status, Sort: sort, Page: ports.Page{Limit: size, Cursor: cursor}}
				list, next, err := views.Summaries(t.Context(), q)
				if err != nil || len(list) != size {
					t.Fatalf("%d summaries, error %v, want %d", len(list), err, size)
				}
				cursor = next
				questions++
			}
		}
	}
	cursor := ""
	for range 2 {
		list, next, err := views.Timeline(t.Context(), rows[0].OrderID, ports.Page{Limit: size, Cursor: cursor})
		if err != nil || len(list) != size {
			t.Fatalf("%d entries, error %v, want %d", len(list), err, size)
		}
		cursor = next
		questions++
	}
	profile(t, db, 0)

	names := bson.D{{Key: "$in", Value: bson.A{db.Name() + ".view.order-summary.1.orders", db.Name() + ".view.timeline.1.entries"}}}
	found, err := db.Collection("system.profile").Find(t.Context(), bson.D{{Key: "op", Value: "query"}, {Key: "ns", Value: names}})
	if err != nil {
		t.Fatal(err)
	}
	var seen []struct {
		Command      bson.Raw `bson:"command"`
		Plan         string   `bson:"planSummary"`
		Sorted       bool     `bson:"hasSortStage"`
		DocsExamined int      `bson:"docsExamined"`
	}
	if err := found.All(t.Context(), &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen) != questions {
		t.Fatalf("the server was asked %d times, want %d", len(seen), questions)
	}
	for _, s := range seen {
		if !strings.HasPrefix(s.Plan, "IXSCAN") || s.Sorted || s.DocsExamined > size+1 {
			t.Errorf("%s, sorted in memory %v, %d documents read for a page of %d: %s", s.Plan, s.Sorted, s.DocsExamined, size, s.Command)
		}
	}
}

func profile(t testing.TB, db *mongo.Database, level int) {
	t.Helper()
	if err := db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: level}}).Err(); err != nil {
		t.Fatal(err)
	}
}

// What a process that died left behind goes with the next swap, and what is live or the shadow stays.
func TestSwapDeletesEveryGenerationThatNobodyReads(t *testing.T) {
	db := testDB(t)
	views := mongodb.NewViews(db, mongodb.ViewsOptions{})
	receive(t, views, summaryView, created(0, summaries(1)...))
	timeline := ports.Generation{View: ports.OrderTimeline, Number: 1}
	receive(t, views, timeline, ports.Change{Timeline: []ports.TimelineEntry{{OrderID: "o", Version: 1, At: at}}})
	shadow, err := views.Shadow(t.Context(), ports.OrderSummary)
	if err != nil {
		t.Fatal(err)
	}
	receive(t, views, shadow, created(0, summaries(1)...))
	if _, err := db.Collection("view.order-summary.17.orders").InsertOne(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	if err := views.Swap(t.Context(), shadow); err != nil {
		t.Fatal(err)
	}
	names, err := db.ListCollectionNames(t.Context(), bson.D{{Key: "name", Value: bson.Regex{Pattern: `^view\.`}}})
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]int{}
	for _, name := range names {
		kept[strings.Join(strings.Split(name, ".")[1:3], "/")]++
	}
	wantSame(t, kept, map[string]int{shadow.String(): 4, timeline.String(): 5})
}
