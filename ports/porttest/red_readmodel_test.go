package porttest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"hexorders/adapters/memory"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestReadModelStoreSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ReadModelStoreChecks(), readModelFlaws, func() porttest.ReadModelStorage { return openReadModel("") })
}

var readModelFlaws = []flaw[porttest.ReadModelStorage]{
	readModelFlaw("returns numbers as texts", "a row comes back as it was put: its fields, and its body byte for byte"),
	readModelFlaw("formats bodies and states",
		"a row comes back as it was put: its fields, and its body byte for byte",
		"progress comes back with all its fields, its state byte for byte"),
	readModelFlaw("keeps 64 KB of a body", "a row comes back as it was put: its fields, and its body byte for byte"),
	readModelFlaw("lists rows without their fields", "a row comes back as it was put: its fields, and its body byte for byte"),
	readModelFlaw("takes a text of digits for a number", "keys and texts of any characters are found as they are"),
	readModelFlaw("keeps 32 characters of a key", "keys and texts of any characters are found as they are"),
	readModelFlaw("folds the case of keys", "a key without a row has an empty row"),
	readModelFlaw("calls a missing row not found", "a key without a row has an empty row"),
	readModelFlaw("keeps the first row", "Put replaces the row under its key, also in every list"),
	readModelFlaw("keeps the indexed fields of the first row", "Put replaces the row under its key, also in every list"),
	readModelFlaw("never deletes", "a deleted row is gone, also from every list"),
	readModelFlaw("lists what was deleted", "a deleted row is gone, also from every list"),
	readModelFlaw("adds before it puts", "Delete, Insert, Put and Add of one change take effect in this order"),
	readModelFlaw("deletes last", "Delete, Insert, Put and Add of one change take effect in this order"),
	readModelFlaw("keeps the counters of a row that is put", "Delete, Insert, Put and Add of one change take effect in this order"),
	readModelFlaw("puts counters", "Delete, Insert, Put and Add of one change take effect in this order"),
	readModelFlaw("replaces a known row on Insert",
		"Insert under a key that has a row is ErrConflict, and nothing of the change stays",
		"of 20 commits of the same change exactly one is taken"),
	readModelFlaw("leaves out an Insert of a known row", "Insert under a key that has a row is ErrConflict, and nothing of the change stays"),
	readModelFlaw("deletes a key from all views", "views are kept apart"),
	readModelFlaw("shares its live rows", "a row that its reader or writer changes afterwards is not changed in the store"),
	readModelFlaw("keeps the newest number", "counters add up, and of Max the greater number stays"),
	readModelFlaw("keeps the last maximum that came", "counters add up, and of Max the greater number stays"),
	readModelFlaw("counts in floating point", "counters add up, and of Max the greater number stays"),

	readModelFlaw("ignores the filter", "every index serves its lists, in both directions and with its filter"),
	readModelFlaw("ignores the direction", "every index serves its lists, in both directions and with its filter"),
	readModelFlaw("sorts equal ones by rising key", "every index serves its lists, in both directions and with its filter"),
	readModelFlaw("sorts by key whatever is asked", "every index serves its lists, in both directions and with its filter"),
	readModelFlaw("takes a prefix for a pattern", "a list by key may be of one prefix"),
	readModelFlaw("ends a prefix before the last character", "a list by key may be of one prefix"),
	readModelFlaw("keeps numbers in floating point", "numbers are listed by value"),
	readModelFlaw("sorts numbers as texts", "numbers are listed by value"),
	readModelFlaw("sorts texts by UTF-16", "texts are listed by code point"),
	readModelFlaw("sorts texts without regard to case", "texts are listed by code point"),
	readModelFlaw("leaves one out between two pages", "a list comes in pages, each row once"),
	readModelFlaw("filters a page that is cut", "a list comes in pages, each row once"),
	readModelFlaw("gives a cursor for a page that is not there", "a list comes in pages, each row once"),
	readModelFlaw("knows no largest page", "a page of rows has a default size and a maximum"),
	readModelFlaw("has a default page of its own", "a page of rows has a default size and a maximum"),
	readModelFlaw("fills every page", "a page ends with the row that makes it large"),
	readModelFlaw("counts pages by offset", "pages stay in step while rows come, move and go"),
	readModelFlaw("lists without an index", "a query that no index serves is an error"),
	readModelFlaw("calls a missing index not built", "a query that no index serves is an error"),
	readModelFlaw("takes any cursor",
		"a cursor that no list gave out is ErrBadCursor",
		"a cursor is valid for its own query only, whatever the limit"),
	readModelFlaw("takes a cursor for any query", "a cursor is valid for its own query only, whatever the limit"),
	readModelFlaw("binds a cursor to its limit", "a cursor is valid for its own query only, whatever the limit"),

	readModelFlaw("keeps the places of the last change alone", "places are where each shard's last change went to, by shard"),
	readModelFlaw("leaves out an empty place", "places are where each shard's last change went to, by shard"),
	readModelFlaw("lists backwards",
		"places are where each shard's last change went to, by shard",
		"Parked lists the orders with buffered messages: the first of them, how many, why and since when"),
	readModelFlaw("forgets why an order is parked", "progress comes back with all its fields, its state byte for byte"),
	readModelFlaw("keeps no progress without a version", "progress comes back with all its fields, its state byte for byte"),
	readModelFlaw("shares its live states", "progress comes back with all its fields, its state byte for byte"),
	readModelFlaw("loads an empty progress for an unknown order", "an order of which nothing was received has no progress"),
	readModelFlaw("orders versions as text", "buffered messages come in version order, byte for byte"),
	readModelFlaw("takes a payload for text", "buffered messages come in version order, byte for byte"),
	readModelFlaw("buffers again as if for the first time", "buffering a message again changes only the reason"),
	readModelFlaw("keeps the first reason", "buffering a message again changes only the reason"),
	readModelFlaw("never releases", "a released message is not buffered any more, and others are"),
	readModelFlaw("releases all of an order", "a released message is not buffered any more, and others are"),
	readModelFlaw("tells the reason of the newest message",
		"Parked lists the orders with buffered messages: the first of them, how many, why and since when"),
	readModelFlaw("takes five hundred messages of a change", "a change of a thousand messages is committed"),
	readModelFlaw("says the newest version of all", "the read model says how far it is with an order"),
	readModelFlaw("counts buffered messages as applied", "the read model says how far it is with an order"),
	readModelFlaw("is as fresh as its last change", "the read model is as fresh as its least fresh shard, also when nothing new comes"),
	readModelFlaw("ignores a place that stays", "the read model is as fresh as its least fresh shard, also when nothing new comes"),
	readModelFlaw("passes over a shard without a time", "the read model is as fresh as its least fresh shard, also when nothing new comes"),

	readModelFlaw("forgets a gap at the next change", "a gap stays, and then the read model is as of no time"),
	readModelFlaw("is as fresh as if nothing were missing",
		"a gap stays, and then the read model is as of no time",
		"a new generation has no gap"),
	readModelFlaw("says nothing of why it is incomplete", "a gap stays, and then the read model is as of no time"),
	readModelFlaw("keeps the first gap of a shard", "the last gap of each shard that had one is told, by shard"),
	readModelFlaw("keeps one gap", "the last gap of each shard that had one is told, by shard"),
	readModelFlaw("has the gaps of the live generation in all", "a new generation has no gap"),

	readModelFlaw("takes the places for granted",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays",
		"of 20 commits of the same change exactly one is taken"),
	readModelFlaw("takes the versions for granted",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays"),
	readModelFlaw("takes the number of buffered messages for granted",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays",
		"of 20 commits of the same change exactly one is taken"),
	readModelFlaw("commits the rows before the rest",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays"),
	readModelFlaw("commits the places before the rest",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays",
		"Insert under a key that has a row is ErrConflict, and nothing of the change stays"),
	readModelFlaw("looks before its transaction", "of 20 commits of the same change exactly one is taken"),
	readModelFlaw("reads counters and writes them back",
		"commits that touch no order together are all taken, and their additions all count"),
	readModelFlaw("takes one change at a time", "commits that touch no order together are all taken, and their additions all count"),
	readModelFlaw("swallows a failed commit", "a failed commit is an error, and nothing of the change stays"),
	readModelFlaw("keeps the rows when the commit fails", "a failed commit is an error, and nothing of the change stays"),
	readModelFlaw("calls a failed commit a conflict", "a failed commit is an error, and nothing of the change stays"),

	readModelFlaw("counts generations from 2", "the first generation is number 1, and has all tables"),
	readModelFlaw("does not know its views", "the first generation is number 1, and has all tables"),
	readModelFlaw("begins a new shadow each time", "a shadow is new and empty, and asking again gives the same one"),
	readModelFlaw("begins a shadow with what is live", "a shadow is new and empty, and asking again gives the same one"),
	readModelFlaw("looks for a shadow before it begins one", "who asks at the same moment gets the same shadow"),
	readModelFlaw("fills the live generation with the shadow", "generations are kept apart, and reads stay with the live one"),
	readModelFlaw("has one buffer for all generations", "generations are kept apart, and reads stay with the live one"),
	readModelFlaw("swaps nothing", "Swap makes the shadow the one that is read, and fed"),
	readModelFlaw("deletes before it turns the pointer", "no reader sees part of one generation and part of the other"),
	readModelFlaw("turns the pointer while it reads", "no reader sees part of one generation and part of the other"),
	readModelFlaw("keeps what was live before", "what was live before is gone after Swap"),
	readModelFlaw("takes a Commit to any generation",
		"what was live before is gone after Swap",
		"Discard deletes the shadow, and nothing else",
		"a Commit to a generation that is not there is ErrConflict"),
	readModelFlaw("commits to what is live",
		"a commit at the moment of a swap is taken, or ErrConflict, and the new generation has nothing of it",
		"a Commit to a generation that is not there is ErrConflict",
		"what was live before is gone after Swap"),
	readModelFlaw("swaps the shadow whatever is named", "Swap of what is not the shadow is ErrConflict and changes nothing"),
	readModelFlaw("has no error for a stale shadow",
		"Swap of what is not the shadow is ErrConflict and changes nothing",
		"of two swaps at the same moment one is ErrConflict"),
	readModelFlaw("discards nothing", "Discard deletes the shadow, and nothing else"),
	readModelFlaw("discards what is live", "Discard deletes the shadow, and nothing else"),
	readModelFlaw("cannot discard what is not there", "to discard no shadow is no error"),
	readModelFlaw("uses a discarded number again", "a number is never used again"),

	readModelFlaw("remembers rows", "two processes share the read model"),
	readModelFlaw("remembers what is live", "two processes share the read model"),
	readModelFlaw("finds nothing in a view that is not built",
		"a view that the live generation lacks is ErrNotBuilt until a shadow that has it is swapped in",
		"a program with fewer views works on what is there"),
	readModelFlaw("says that it has all views",
		"a view that the live generation lacks is ErrNotBuilt until a shadow that has it is swapped in"),
	readModelFlaw("does not look at the shapes of tables",
		"a view whose table has changed is ErrNotBuilt until a shadow that has the new one is swapped in"),
	readModelFlaw("compares shapes by the order of indexes",
		"a view whose table has changed is ErrNotBuilt until a shadow that has the new one is swapped in"),
	readModelFlaw("continues a shadow of another shape",
		"a view whose table has changed is ErrNotBuilt until a shadow that has the new one is swapped in"),
	readModelFlaw("wants a table for each view", "a program with fewer views works on what is there"),
	readModelFlaw("continues any shadow", "an unfinished shadow with other tables than the program's is discarded"),
	readModelFlaw("compares tables by their order", "an unfinished shadow with other tables than the program's is discarded"),

	readModelFlaw("ignores a cancelled context", "a cancelled context ends every call"),
	readModelFlaw("has the driver's error while it is away", "while the store cannot be reached, every call is ErrUnavailable"),
}

func readModelFlaw(name string, red ...string) flaw[porttest.ReadModelStorage] {
	return flaw[porttest.ReadModelStorage]{name, func() porttest.ReadModelStorage { return openReadModel(name) }, red}
}

func openReadModel(flaw string) porttest.ReadModelStorage {
	m := &readModelFlawed{
		flaw: flaw, rows: map[string]ports.Row{}, deleted: map[string]bool{}, given: map[string]int{}, states: map[string][]byte{},
		reasons: map[string]string{}, asOf: map[string]time.Time{}, left: map[int][]ports.Place{}, seen: make(chan struct{}),
	}
	sound := memory.NewReadModel(porttest.ReadModelTables)
	handle := func(tables []ports.Table) *readModel {
		tables = misshape(flaw, tables)
		return &readModel{ReadModel: sound.Again(tables), readModelFlawed: m, tables: tables, cached: map[string]ports.Row{}}
	}
	store := &awayReadModel{ReadModelStore: handle(porttest.ReadModelTables)}
	return porttest.ReadModelStorage{
		Store: store,
		Break: store.breakDown(flaw),
		Again: func(_ testing.TB, tables []ports.Table) ports.ReadModelStore { return handle(tables) },
		FailCommits: func(testing.TB) func() {
			set := func(failing bool) {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.failing = failing
			}
			set(true)
			return func() { set(false) }
		},
	}
}

// misshape are tables as a store with a flaw takes them.
func misshape(flaw string, tables []ports.Table) []ports.Table {
	tables = slices.Clone(tables)
	for i, table := range tables {
		known := slices.IndexFunc(porttest.ReadModelTables, func(t ports.Table) bool { return t.Name == table.Name })
		switch {
		case known < 0:
		case flaw == "does not look at the shapes of tables":
			tables[i] = porttest.ReadModelTables[known]
		case flaw == "compares shapes by the order of indexes" && !slices.Equal(table.Indexes, porttest.ReadModelTables[known].Indexes):
			tables[i].Counters = append(slices.Clone(table.Counters), "of another shape")
		}
	}
	return tables
}

// awayReadModel is a read model that cannot be reached for a while.
type awayReadModel struct {
	ports.ReadModelStore
	outage
}

func (a *awayReadModel) Row(ctx context.Context, view, key string) (ports.Row, error) {
	return unless(a, func() (ports.Row, error) { return a.ReadModelStore.Row(ctx, view, key) })
}

func (a *awayReadModel) List(ctx context.Context, q ports.Query) (ports.RowPage, error) {
	return unless(a, func() (ports.RowPage, error) { return a.ReadModelStore.List(ctx, q) })
}

func (a *awayReadModel) Freshness(ctx context.Context, id string) (ports.Freshness, error) {
	return unless(a, func() (ports.Freshness, error) { return a.ReadModelStore.Freshness(ctx, id) })
}

func (a *awayReadModel) Live(ctx context.Context) (ports.Generation, error) {
	return unless(a, func() (ports.Generation, error) { return a.ReadModelStore.Live(ctx) })
}

func (a *awayReadModel) Shadow(ctx context.Context) (ports.Generation, error) {
	return unless(a, func() (ports.Generation, error) { return a.ReadModelStore.Shadow(ctx) })
}

func (a *awayReadModel) Places(ctx context.Context, g ports.Generation) ([]ports.Place, error) {
	return unless(a, func() ([]ports.Place, error) { return a.ReadModelStore.Places(ctx, g) })
}

func (a *awayReadModel) Gaps(ctx context.Context, g ports.Generation) ([]ports.Gap, error) {
	return unless(a, func() ([]ports.Gap, error) { return a.ReadModelStore.Gaps(ctx, g) })
}

func (a *awayReadModel) Load(ctx context.Context, g ports.Generation, ids []string) (map[string]ports.Progress, error) {
	return unless(a, func() (map[string]ports.Progress, error) { return a.ReadModelStore.Load(ctx, g, ids) })
}

func (a *awayReadModel) Buffered(ctx context.Context, g ports.Generation, id string) ([]ports.Message, error) {
	return unless(a, func() ([]ports.Message, error) { return a.ReadModelStore.Buffered(ctx, g, id) })
}

func (a *awayReadModel) Parked(ctx context.Context, g ports.Generation) ([]ports.ParkedOrder, error) {
	return unless(a, func() ([]ports.ParkedOrder, error) { return a.ReadModelStore.Parked(ctx, g) })
}

func (a *awayReadModel) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	return unlessErr(a, func() error { return a.ReadModelStore.Commit(ctx, g, c) })
}

func (a *awayReadModel) Swap(ctx context.Context, shadow ports.Generation) error {
	return unlessErr(a, func() error { return a.ReadModelStore.Swap(ctx, shadow) })
}

func (a *awayReadModel) Discard(ctx context.Context) error {
	return unlessErr(a, func() error { return a.ReadModelStore.Discard(ctx) })
}

func unless[T any](a *awayReadModel, ask func() (T, error)) (answer T, err error) {
	if err := a.reach(); err != nil {
		return answer, err
	}
	return ask()
}

func unlessErr(a *awayReadModel, do func() error) error {
	_, err := unless(a, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// readModelFlawed is what the handles of one flawed store share.
type readModelFlawed struct {
	flaw string

	mu       sync.Mutex
	failing  bool
	rows     map[string]ports.Row // as they were given, by view and key
	deleted  map[string]bool      // by view and key
	given    map[string]int       // the limits by cursor, or offsets
	states   map[string][]byte    // as they were given, by order
	reasons  map[string]string    // of the newest message, by order
	touched  []string             // the shards of the last change
	asOf     map[string]time.Time // by shard; those that a flaw counts
	lastAsOf time.Time
	gaps     []ports.Gap // of the last change

	firstGaps map[string]ports.Gap // by shard
	newest    int                  // version of all
	busy      bool
	left      map[int][]ports.Place // the places of generations that are gone
	begun     *readModel            // whose tables the shadow has
	shadow    ports.Generation
	shadows   int // how many were discarded
	swapping  bool
	seen      chan struct{} // closed when a reader has seen a Swap half done
	once      sync.Once
}

// readModel spoils what goes into a sound store and what comes out of it.
type readModel struct {
	*memory.ReadModel
	*readModelFlawed
	tables []ports.Table
	cached map[string]ports.Row
	live   *ports.Generation
}

func (r *readModel) has(flaw string) bool { return r.flaw == flaw }

func (r *readModel) context(ctx context.Context) context.Context {
	if r.has("ignores a cancelled context") {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func (r *readModel) Row(ctx context.Context, view, key string) (ports.Row, error) {
	ctx = r.context(ctx)
	row, err := r.ReadModel.Row(ctx, view, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	id := view + "/" + key
	switch r.flaw {
	case "folds the case of keys":
		if len(row.Body) == 0 && err == nil {
			return r.ReadModel.Row(ctx, view, strings.ToLower(key))
		}
	case "calls a missing row not found":
		if len(row.Body) == 0 && len(row.Counters) == 0 {
			return row, ports.ErrNotFound
		}
	case "lists what was deleted":
		if r.deleted[id] {
			return ports.Row{Key: key}, err
		}
	case "shares its live rows":
		if given, ok := r.rows[id]; ok {
			given.Counters = row.Counters
			return given, err
		}
	case "remembers rows":
		if row, ok := r.cached[id]; ok {
			return row, nil
		}
		r.cached[id] = row
	case "finds nothing in a view that is not built":
		if errors.Is(err, ports.ErrNotBuilt) {
			return ports.Row{Key: key}, nil
		}
	}
	r.halfSwapped(&row, func() { row = ports.Row{Key: key} })
	return r.spoilRow(row), err
}

func (r *readModel) spoilRow(row ports.Row) ports.Row {
	switch r.flaw {
	case "returns numbers as texts":
		for i, f := range row.Fields {
			row.Fields[i].Value = fmt.Sprint(f.Value)
		}
	case "formats bodies and states":
		row.Body = formatted(row.Body)
	case "keeps 64 KB of a body":
		row.Body = row.Body[:min(len(row.Body), 1<<16)]
	}
	return row
}

func formatted(document []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, document) != nil {
		return document
	}
	return out.Bytes()
}

// halfSwapped spoils what a reader sees in the middle of a Swap, and lets the Swap go on.
func (r *readModel) halfSwapped(last *ports.Row, empty func()) {
	if !r.swapping {
		return
	}
	if r.has("deletes before it turns the pointer") {
		empty()
	} else {
		last.Body = []byte(`"another generation"`)
	}
	r.once.Do(func() { close(r.seen) })
}

func (r *readModel) List(ctx context.Context, q ports.Query) (ports.RowPage, error) {
	ctx, asked := r.context(ctx), q
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "ignores the filter", "filters a page that is cut":
		q.Filter = ports.Field{}
	case "ignores the direction":
		q.Descending = false
	case "sorts by key whatever is asked":
		q.Sort = ""
	case "takes a prefix for a pattern":
		q.Prefix, _, _ = strings.Cut(q.Prefix, "%")
	case "has a default page of its own":
		if q.Page.Limit < 1 {
			q.Page.Limit = 20
		}
	case "counts pages by offset":
		return r.byOffset(ctx, q)
	case "knows no largest page":
		if q.Page.Limit > ports.MaxPageLimit {
			return ports.RowPage{Rows: r.all(ctx, q)}, nil
		}
	case "fills every page":
		if rows := r.all(ctx, q); len(rows) > 0 && len(rows) <= q.Page.Size() {
			return ports.RowPage{Rows: rows}, nil
		}
	case "binds a cursor to its limit":
		if limit, known := r.given[q.Page.Cursor]; known && limit != q.Page.Limit {
			return ports.RowPage{}, ports.ErrBadCursor
		}
	}
	page, err := r.ReadModel.List(ctx, q)
	if err != nil {
		return r.spoilError(ctx, q, err)
	}
	r.spoilPage(asked, &page)
	if page.Next != "" {
		r.given[page.Next] = q.Page.Limit
	}
	for i, row := range page.Rows {
		page.Rows[i] = r.spoilRow(row)
	}
	if len(page.Rows) > 0 {
		r.halfSwapped(&page.Rows[len(page.Rows)-1], func() { page.Rows = nil })
	}
	return page, nil
}

func (r *readModel) spoilError(ctx context.Context, q ports.Query, err error) (ports.RowPage, error) {
	_, given := r.given[q.Page.Cursor]
	bad, notBuilt := errors.Is(err, ports.ErrBadCursor), errors.Is(err, ports.ErrNotBuilt)
	switch {
	case r.has("takes any cursor") && bad, r.has("takes a cursor for any query") && bad && given:
		q.Page.Cursor = ""
		return r.ReadModel.List(ctx, q)
	case r.has("lists without an index") && !bad && !notBuilt:
		return r.ReadModel.List(ctx, ports.Query{View: q.View})
	case r.has("calls a missing index not built") && !bad:
		return ports.RowPage{}, ports.ErrNotBuilt
	case r.has("finds nothing in a view that is not built") && notBuilt:
		return ports.RowPage{}, nil
	}
	return ports.RowPage{}, err
}

func (r *readModel) spoilPage(q ports.Query, page *ports.RowPage) {
	sortBy := func(compare func(a, b ports.Row) int) {
		slices.SortStableFunc(page.Rows, func(a, b ports.Row) int {
			if q.Descending {
				return compare(b, a)
			}
			return compare(a, b)
		})
	}
	text := func(row ports.Row) string { return fmt.Sprint(row.Field(q.Sort)) }
	switch r.flaw {
	case "lists rows without their fields":
		for i := range page.Rows {
			page.Rows[i].Fields = nil
		}
	case "filters a page that is cut":
		page.Rows = slices.DeleteFunc(page.Rows, func(row ports.Row) bool {
			return q.Filter.Name != "" && row.Field(q.Filter.Name) != q.Filter.Value
		})
	case "sorts equal ones by rising key":
		if q.Sort != "" && q.Descending {
			slices.SortFunc(page.Rows, func(a, b ports.Row) int { return strings.Compare(a.Key, b.Key) })
			sortBy(func(a, b ports.Row) int { return compareFields(a.Field(q.Sort), b.Field(q.Sort)) })
		}
	case "ends a prefix before the last character":
		page.Rows = slices.DeleteFunc(page.Rows, func(row ports.Row) bool {
			return q.Prefix != "" && strings.HasPrefix(row.Key, q.Prefix+"\U0010FFFF")
		})
	case "sorts numbers as texts":
		if q.Sort == "amount" {
			sortBy(func(a, b ports.Row) int { return strings.Compare(text(a), text(b)) })
		}
	case "sorts texts by UTF-16":
		if q.Sort == "name" {
			sortBy(func(a, b ports.Row) int {
				return slices.Compare(utf16.Encode([]rune(text(a))), utf16.Encode([]rune(text(b))))
			})
		}
	case "sorts texts without regard to case":
		if q.Sort == "name" {
			sortBy(func(a, b ports.Row) int { return strings.Compare(strings.ToLower(text(a)), strings.ToLower(text(b))) })
		}
	case "leaves one out between two pages":
		if q.Page.Cursor != "" && len(page.Rows) > 0 {
			page.Rows = page.Rows[1:]
		}
	case "gives a cursor for a page that is not there":
		if page.Next == "" && len(page.Rows) == q.Page.Size() {
			page.Next = q.Next(page.Rows[len(page.Rows)-1])
		}
	}
}

func compareFields(a, b any) int {
	if text, ok := a.(string); ok {
		return strings.Compare(text, b.(string))
	}
	return cmp.Compare(a.(int64), b.(int64))
}

// all are the rows of all pages.
func (r *readModel) all(ctx context.Context, q ports.Query) (rows []ports.Row) {
	q.Page = ports.Page{Limit: ports.MaxPageLimit}
	for more := true; more; more = q.Page.Cursor != "" {
		page, err := r.ReadModel.List(ctx, q)
		if err != nil {
			return rows
		}
		rows, q.Page.Cursor = append(rows, page.Rows...), page.Next
	}
	return rows
}

func (r *readModel) byOffset(ctx context.Context, q ports.Query) (page ports.RowPage, err error) {
	rows := r.all(ctx, q)
	from := min(r.given[q.Page.Cursor], len(rows))
	to := min(from+q.Page.Size(), len(rows))
	page.Rows = rows[from:to]
	if to < len(rows) {
		page.Next = strconv.Itoa(to)
		r.given[page.Next] = to
	}
	return page, nil
}

func (r *readModel) Freshness(ctx context.Context, orderID string) (ports.Freshness, error) {
	ctx = r.context(ctx)
	f, err := r.ReadModel.Freshness(ctx, orderID)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "says the newest version of all":
		f.Version = r.newest
	case "counts buffered messages as applied":
		live, _ := r.ReadModel.Live(ctx)
		loaded, _ := r.ReadModel.Load(ctx, live, []string{orderID})
		f.Version = loaded[orderID].Newest
	case "forgets a gap at the next change":
		if len(r.gaps) == 0 {
			f.Incomplete, f.AsOf = "", r.lastAsOf
		}
	case "is as fresh as if nothing were missing":
		f.AsOf = r.lastAsOf
	case "says nothing of why it is incomplete":
		f.Incomplete = ""
	case "is as fresh as its last change":
		f.AsOf = r.lastAsOf
	case "ignores a place that stays", "passes over a shard without a time":
		f.AsOf = time.Time{}
		for _, at := range r.asOf {
			if f.AsOf.IsZero() || at.Before(f.AsOf) {
				f.AsOf = at
			}
		}
	}
	return f, err
}

func (r *readModel) Gaps(ctx context.Context, g ports.Generation) ([]ports.Gap, error) {
	ctx = r.context(ctx)
	if r.has("has the gaps of the live generation in all") {
		g, _ = r.ReadModel.Live(ctx)
	}
	gaps, err := r.ReadModel.Gaps(ctx, g)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.has("forgets a gap at the next change"):
		return r.gaps, err
	case r.has("keeps one gap"):
		return gaps[:min(len(gaps), 1)], err
	case r.has("keeps the first gap of a shard"):
		for i, gap := range gaps {
			if first := r.firstGaps[gap.Place.Shard]; first.Reason != "" {
				gaps[i].Reason, gaps[i].Detail = first.Reason, first.Detail
			}
		}
	}
	return gaps, err
}

func (r *readModel) Live(ctx context.Context) (ports.Generation, error) {
	g, err := r.ReadModel.Live(r.context(ctx))
	switch r.flaw {
	case "counts generations from 2":
		g.Number++
	case "does not know its views":
		g.Views = nil
	case "remembers what is live":
		if r.live == nil {
			r.live = &g
		}
		return *r.live, err
	case "says that it has all views":
		g.Views = nil
		for _, table := range r.tables {
			g.Views = append(g.Views, table.Name)
		}
		slices.Sort(g.Views)
	case "wants a table for each view":
		if len(g.Views) > len(r.tables) {
			return g, errors.New("the generation has a view that this program does not know")
		}
	}
	return g, err
}

func (r *readModel) Shadow(ctx context.Context) (ports.Generation, error) {
	ctx = r.context(ctx)
	if r.has("looks for a shadow before it begins one") {
		r.mu.Lock()
		found := r.shadow
		r.mu.Unlock()
		if found.Number != 0 {
			return found, nil
		}
		time.Sleep(time.Millisecond) // a bubble's time passes when all wait
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r
	switch r.flaw {
	case "begins a new shadow each time", "looks for a shadow before it begins one":
		if err := r.ReadModel.Discard(ctx); err != nil {
			return ports.Generation{}, err
		}
	case "continues any shadow":
		if r.begun == nil {
			r.begun = r
		}
		from = r.begun
	case "continues a shadow of another shape":
		if r.begun != nil && slices.EqualFunc(r.begun.tables, r.tables, func(a, b ports.Table) bool { return a.Name == b.Name }) {
			from = r.begun
		}
		r.begun = from
	case "compares tables by their order":
		if r.begun != nil && len(r.begun.tables) == len(r.tables) && r.begun.tables[0].Name != r.tables[0].Name {
			_ = r.ReadModel.Discard(ctx)
		}
		r.begun = r
	}
	g, err := from.ReadModel.Shadow(ctx)
	if r.has("begins a shadow with what is live") && g.Number != r.shadow.Number {
		live, _ := r.ReadModel.Live(ctx)
		places, _ := r.ReadModel.Places(ctx, live)
		var c ports.Change
		for _, p := range places {
			c.Places = append(c.Places, ports.PlaceChange{Shard: p.Shard, To: p.Next})
		}
		_ = r.ReadModel.Commit(ctx, g, c)
	}
	r.shadow = g
	if r.has("uses a discarded number again") {
		g.Number -= r.shadows
	}
	return g, err
}

func (r *readModel) Swap(ctx context.Context, g ports.Generation) error {
	ctx = r.context(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	live, _ := r.ReadModel.Live(ctx)
	switch r.flaw {
	case "swaps nothing":
		return r.ReadModel.Discard(ctx)
	case "swaps the shadow whatever is named", "uses a discarded number again":
		g = r.shadow
	case "keeps what was live before":
		r.left[live.Number], _ = r.ReadModel.Places(ctx, live)
	case "deletes before it turns the pointer", "turns the pointer while it reads":
		r.swapping = true
		r.mu.Unlock()
		<-r.seen
		r.mu.Lock()
		r.swapping = false
	}
	err := r.ReadModel.Swap(ctx, g)
	if err == nil {
		r.begun, r.shadow = nil, ports.Generation{}
	}
	if r.has("has no error for a stale shadow") && errors.Is(err, ports.ErrConflict) {
		return nil
	}
	return err
}

func (r *readModel) Discard(ctx context.Context) error {
	ctx = r.context(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "discards nothing":
		return ctx.Err()
	case "discards what is live":
		if g, err := r.ReadModel.Shadow(ctx); err == nil {
			_ = r.ReadModel.Swap(ctx, g)
		}
	case "cannot discard what is not there":
		if r.shadow.Number == 0 {
			return ports.ErrNotFound
		}
	}
	r.begun, r.shadow = nil, ports.Generation{}
	r.shadows++
	return r.ReadModel.Discard(ctx)
}

func (r *readModel) Places(ctx context.Context, g ports.Generation) ([]ports.Place, error) {
	places, err := r.ReadModel.Places(r.context(ctx), g)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "keeps the places of the last change alone":
		places = slices.DeleteFunc(places, func(p ports.Place) bool { return !slices.Contains(r.touched, p.Shard) })
	case "leaves out an empty place":
		places = slices.DeleteFunc(places, func(p ports.Place) bool { return p.Next == "" })
	case "lists backwards":
		slices.Reverse(places)
	case "keeps what was live before":
		if left, ok := r.left[g.Number]; ok {
			return left, err
		}
	}
	return places, err
}

func (r *readModel) Load(ctx context.Context, g ports.Generation, ids []string) (map[string]ports.Progress, error) {
	loaded, err := r.ReadModel.Load(r.context(ctx), g, ids)
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, p := range loaded {
		switch r.flaw {
		case "formats bodies and states":
			p.State = formatted(p.State)
		case "forgets why an order is parked":
			p.Parked = ""
		case "keeps no progress without a version":
			if p.Version == 0 {
				delete(loaded, id)
				continue
			}
		case "shares its live states":
			p.State = r.states[id]
		}
		loaded[id] = p
	}
	if r.has("loads an empty progress for an unknown order") {
		for _, id := range ids {
			if _, known := loaded[id]; !known {
				loaded[id] = ports.Progress{OrderID: id}
			}
		}
	}
	return loaded, err
}

func (r *readModel) Buffered(ctx context.Context, g ports.Generation, orderID string) ([]ports.Message, error) {
	ctx = r.context(ctx)
	if r.has("has one buffer for all generations") {
		g, _ = r.ReadModel.Live(ctx)
	}
	messages, err := r.ReadModel.Buffered(ctx, g, orderID)
	switch r.flaw {
	case "takes a payload for text":
		for i, m := range messages {
			messages[i].Payload = bytes.ToValidUTF8(m.Payload, []byte("?"))
		}
	case "orders versions as text":
		slices.SortFunc(messages, func(a, b ports.Message) int { return strings.Compare(fmt.Sprint(a.Version), fmt.Sprint(b.Version)) })
	}
	return messages, err
}

func (r *readModel) Parked(ctx context.Context, g ports.Generation) ([]ports.ParkedOrder, error) {
	list, err := r.ReadModel.Parked(r.context(ctx), g)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "lists backwards":
		slices.Reverse(list)
	case "tells the reason of the newest message":
		for i := range list {
			list[i].Reason = r.reasons[list[i].OrderID]
		}
	}
	return list, err
}

func (r *readModel) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	ctx = r.context(ctx)
	switch r.flaw {
	case "looks before its transaction":
		granted := r.granted(ctx, g, c)
		if !slices.Equal(granted.Places, c.Places) || fmt.Sprint(granted.Progress) != fmt.Sprint(c.Progress) {
			return ports.ErrConflict
		}
		time.Sleep(time.Millisecond) // a bubble's time passes when all wait
		c = r.granted(ctx, g, c)
	case "reads counters and writes them back":
		c = r.rewritten(ctx, c)
	case "takes one change at a time":
		if !r.enter() {
			return ports.ErrConflict
		}
		time.Sleep(time.Millisecond)
		defer r.leave()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing {
		return r.fail(ctx, g, c)
	}
	live, _ := r.ReadModel.Live(ctx)
	switch r.flaw {
	case "counts generations from 2":
		g.Number--
	case "commits to what is live":
		g = live
	}
	c, err := r.spoil(ctx, g, c)
	if err == nil {
		err = r.ReadModel.Commit(ctx, g, c)
	}
	if err != nil {
		if r.has("takes a Commit to any generation") && g.Number != live.Number && g.Number != r.shadow.Number {
			return nil
		}
		return err
	}
	r.note(c)
	if r.has("fills the live generation with the shadow") && g.Number != live.Number {
		return r.ReadModel.Commit(ctx, live, r.granted(ctx, live, c))
	}
	return nil
}

func (r *readModel) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	free := !r.busy
	r.busy = true
	return free
}

func (r *readModel) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
}

func (r *readModel) fail(ctx context.Context, g ports.Generation, c ports.Change) error {
	switch r.flaw {
	case "swallows a failed commit":
		return nil
	case "keeps the rows when the commit fails":
		return errors.Join(errDiskFull, r.ReadModel.Commit(ctx, g, ports.Change{Rows: c.Rows}))
	case "calls a failed commit a conflict":
		return ports.ErrConflict
	}
	return errDiskFull
}

var errDiskFull = errors.New("the disk is full")

// granted is a change that begins with what there is, whatever it says itself.
func (r *readModel) granted(ctx context.Context, g ports.Generation, c ports.Change) ports.Change {
	places, _ := r.ReadModel.Places(ctx, g)
	at := map[string]string{}
	for _, p := range places {
		at[p.Shard] = p.Next
	}
	c.Places, c.Progress = slices.Clone(c.Places), slices.Clone(c.Progress)
	for i, p := range c.Places {
		c.Places[i].From = at[p.Shard]
	}
	for i, p := range c.Progress {
		loaded, _ := r.ReadModel.Load(ctx, g, []string{p.OrderID})
		c.Progress[i].WasVersion, c.Progress[i].WasBuffered = loaded[p.OrderID].Version, loaded[p.OrderID].Buffered
	}
	return c
}

// rewritten is a change whose additions were worked out from what was read, a moment ago.
func (r *readModel) rewritten(ctx context.Context, c ports.Change) ports.Change {
	was := map[string]int64{}
	for view, rows := range c.Rows {
		for _, a := range rows.Add {
			row, _ := r.ReadModel.Row(ctx, view, a.Key)
			for _, n := range a.Add {
				was[view+a.Key+n.Name] = row.Counter(n.Name)
			}
		}
	}
	time.Sleep(time.Millisecond) // a bubble's time passes when all wait
	return r.changed(c, func(view string, rows *ports.RowChanges) {
		for i, a := range rows.Add {
			now, _ := r.ReadModel.Row(ctx, view, a.Key)
			for k, n := range a.Add {
				rows.Add[i].Add[k].Value = was[view+a.Key+n.Name] + n.Value - now.Counter(n.Name)
			}
		}
	})
}

// changed is a copy of a change whose rows do may change.
func (r *readModel) changed(c ports.Change, do func(view string, rows *ports.RowChanges)) ports.Change {
	c.Rows = maps.Clone(c.Rows)
	for view, rows := range c.Rows {
		rows.Delete, rows.Insert, rows.Put = slices.Clone(rows.Delete), cloneRows(rows.Insert), cloneRows(rows.Put)
		rows.Add = slices.Clone(rows.Add)
		for i, a := range rows.Add {
			rows.Add[i].Add, rows.Add[i].Max = slices.Clone(a.Add), slices.Clone(a.Max)
		}
		do(view, &rows)
		c.Rows[view] = rows
	}
	return c
}

func cloneRows(rows []ports.Row) (clones []ports.Row) {
	for _, row := range rows {
		row.Fields = slices.Clone(row.Fields)
		clones = append(clones, row)
	}
	return clones
}

// spoil changes what is about to be committed, or commits part of it.
func (r *readModel) spoil(ctx context.Context, g ports.Generation, c ports.Change) (ports.Change, error) {
	granted := r.granted(ctx, g, c)
	switch r.flaw {
	case "takes the places for granted":
		c.Places = granted.Places
	case "takes the versions for granted":
		for i := range granted.Progress {
			granted.Progress[i].WasBuffered = c.Progress[i].WasBuffered
		}
		c.Progress = granted.Progress
	case "takes the number of buffered messages for granted":
		for i := range granted.Progress {
			granted.Progress[i].WasVersion = c.Progress[i].WasVersion
		}
		c.Progress = granted.Progress
	case "commits the rows before the rest":
		err := r.ReadModel.Commit(ctx, g, ports.Change{Rows: c.Rows})
		c.Rows = nil
		return c, err
	case "commits the places before the rest":
		err := r.ReadModel.Commit(ctx, g, ports.Change{Places: c.Places})
		c.Places = nil
		return c, err
	case "takes five hundred messages of a change":
		c.Progress = c.Progress[:min(len(c.Progress), 500)]
	case "buffers again as if for the first time":
		for _, b := range c.Buffer {
			release := []ports.EventRef{{OrderID: b.OrderID, Version: b.Version}}
			if err := r.ReadModel.Commit(ctx, g, ports.Change{Release: release}); err != nil {
				return c, err
			}
		}
	case "keeps the first reason":
		c.Buffer = slices.DeleteFunc(slices.Clone(c.Buffer), func(b ports.BufferedMessage) bool {
			known, _ := r.ReadModel.Buffered(ctx, g, b.OrderID)
			return slices.ContainsFunc(known, func(m ports.Message) bool { return m.Version == b.Version })
		})
	case "never releases":
		c.Release = nil
	case "releases all of an order":
		for _, e := range slices.Clone(c.Release) {
			known, _ := r.ReadModel.Buffered(ctx, g, e.OrderID)
			for _, m := range known {
				c.Release = append(c.Release, ports.EventRef{OrderID: m.OrderID, Version: m.Version})
			}
		}
	case "adds before it puts":
		adds := r.changed(c, func(_ string, rows *ports.RowChanges) { *rows = ports.RowChanges{Add: rows.Add} })
		if err := r.ReadModel.Commit(ctx, g, ports.Change{Rows: adds.Rows}); err != nil {
			return c, err
		}
		// What was made by Add is there now: not a conflict.
		return r.changed(c, func(_ string, rows *ports.RowChanges) {
			rows.Put, rows.Insert, rows.Add = append(rows.Put, rows.Insert...), nil, nil
		}), nil
	case "deletes last":
		first := r.changed(c, func(_ string, rows *ports.RowChanges) { rows.Delete = nil })
		if err := r.ReadModel.Commit(ctx, g, ports.Change{Rows: first.Rows}); err != nil {
			return c, err
		}
		return r.changed(c, func(_ string, rows *ports.RowChanges) { *rows = ports.RowChanges{Delete: rows.Delete} }), nil
	}
	return r.changed(c, func(view string, rows *ports.RowChanges) { r.spoilRows(ctx, view, rows) }), nil
}

func (r *readModel) spoilRows(ctx context.Context, view string, rows *ports.RowChanges) {
	written := slices.Concat(rows.Insert, rows.Put)
	known := func(row ports.Row) bool {
		there, _ := r.ReadModel.Row(ctx, view, row.Key)
		return len(there.Body) > 0 || len(there.Counters) > 0
	}
	eachField := func(do func(any) any) {
		for _, row := range written { // shares its fields with the change
			for i, f := range row.Fields {
				row.Fields[i].Value = do(f.Value)
			}
		}
	}
	switch r.flaw {
	case "takes a text of digits for a number":
		eachField(func(value any) any {
			if text, ok := value.(string); ok {
				if n, err := strconv.ParseInt(text, 10, 64); err == nil {
					return strconv.FormatInt(n, 10)
				}
			}
			return value
		})
	case "keeps numbers in floating point":
		eachField(func(value any) any {
			if n, ok := value.(int64); ok && n < 1<<62 && n > -1<<62 {
				return int64(float64(n))
			}
			return value
		})
	case "keeps 32 characters of a key":
		for i, row := range rows.Put {
			rows.Put[i].Key = row.Key[:min(len(row.Key), 32)]
		}
	case "keeps the first row":
		rows.Put = slices.DeleteFunc(rows.Put, known)
	case "keeps the indexed fields of the first row":
		for i, row := range rows.Put {
			if there, _ := r.ReadModel.Row(ctx, view, row.Key); len(there.Fields) > 0 {
				rows.Put[i].Fields = there.Fields
			}
		}
	case "never deletes", "lists what was deleted":
		for _, key := range rows.Delete {
			r.deleted[view+"/"+key] = true
		}
		for _, row := range written {
			delete(r.deleted, view+"/"+row.Key)
		}
		rows.Delete = nil
		rows.Put, rows.Insert = written, nil
	case "keeps the counters of a row that is put":
		for _, row := range rows.Put {
			there, _ := r.ReadModel.Row(ctx, view, row.Key)
			r.addTo(rows, row.Key, there.Counters)
		}
	case "puts counters":
		for _, row := range written {
			r.addTo(rows, row.Key, row.Counters)
		}
	case "replaces a known row on Insert":
		rows.Put, rows.Insert = append(rows.Put, rows.Insert...), nil
	case "leaves out an Insert of a known row":
		rows.Insert = slices.DeleteFunc(rows.Insert, known)
	case "deletes a key from all views":
		for _, key := range rows.Delete {
			for _, table := range r.tables {
				r.alsoDelete(ctx, table.Name, key)
			}
		}
	}
	for i, a := range rows.Add {
		there, _ := r.ReadModel.Row(ctx, view, a.Key)
		switch r.flaw {
		case "keeps the newest number":
			for k, n := range a.Add {
				rows.Add[i].Add[k].Value = n.Value - there.Counter(n.Name)
			}
		case "keeps the last maximum that came":
			for _, n := range a.Max {
				rows.Add[i].Add = append(rows.Add[i].Add, ports.Count{Name: n.Name, Value: n.Value - there.Counter(n.Name)})
			}
			rows.Add[i].Max = nil
		case "counts in floating point":
			for k, n := range a.Max {
				rows.Add[i].Max[k].Value = int64(float64(n.Value))
			}
		}
	}
}

func (r *readModel) addTo(rows *ports.RowChanges, key string, counters []ports.Count) {
	i := slices.IndexFunc(rows.Add, func(a ports.Addition) bool { return a.Key == key })
	if i < 0 {
		i = len(rows.Add)
		rows.Add = append(rows.Add, ports.Addition{Key: key})
	}
	rows.Add[i].Add = append(rows.Add[i].Add, counters...)
}

func (r *readModel) alsoDelete(ctx context.Context, view, key string) {
	live, _ := r.ReadModel.Live(ctx)
	_ = r.ReadModel.Commit(ctx, live, ports.Change{Rows: map[string]ports.RowChanges{view: {Delete: []string{key}}}})
}

// note keeps what the flaws need of a change that was taken.
func (r *readModel) note(c ports.Change) {
	r.touched, r.gaps = nil, c.Gaps
	for _, gap := range c.Gaps {
		if r.firstGaps == nil {
			r.firstGaps = map[string]ports.Gap{}
		}
		if _, known := r.firstGaps[gap.Place.Shard]; !known {
			r.firstGaps[gap.Place.Shard] = gap
		}
	}
	for _, p := range c.Places {
		r.touched = append(r.touched, p.Shard)
		r.lastAsOf = p.AsOf
		stays := r.has("ignores a place that stays") && p.From == p.To && p.To != ""
		if !stays && !(r.has("passes over a shard without a time") && p.AsOf.IsZero()) {
			r.asOf[p.Shard] = p.AsOf
		}
	}
	for _, p := range c.Progress {
		r.newest = max(r.newest, p.Version)
		r.states[p.OrderID] = p.State
	}
	for _, b := range c.Buffer {
		r.reasons[b.OrderID] = b.Reason
	}
	for view, rows := range c.Rows {
		for _, row := range rows.Put {
			r.rows[view+"/"+row.Key] = row
		}
	}
}
