package verify_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hexorders/app/verify"
)

// corruption changes one thing behind the service's back.
type corruption struct {
	name  string
	apply func(*victim)
	found []verify.Kind // one of them has to be told
}

// victim is a database and a random order in it.
type victim struct {
	*testing.T
	db         *sql.DB
	random     *rand.Rand
	generation int
	order      string
	version    int // of the order
	at         int // a random version of it
	affected   []string
}

// exec changes exactly one row.
func (v *victim) exec(query string, args ...any) {
	v.Helper()
	result, err := v.db.ExecContext(v.Context(), query, args...)
	if err != nil {
		v.Fatalf("%s: %v", query, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		v.Fatalf("%s with %v: %d rows, error %v", query, args, n, err)
	}
}

func (v *victim) text(query string, args ...any) (text string) {
	v.Helper()
	if err := v.db.QueryRowContext(v.Context(), query, args...).Scan(&text); err != nil {
		v.Fatalf("%s: %v", query, err)
	}
	return text
}

// table is one of the live generation.
func (v *victim) table(name string) string { return fmt.Sprintf(`"rm%d_%s"`, v.generation, name) }

// key is that of a random row of a view, which is what changes.
func (v *victim) key(view string) string {
	key := v.text(`SELECT key FROM ` + v.table("rows_"+view) + ` ORDER BY random() LIMIT 1`)
	v.affected = []string{key}
	v.order = ""
	return key
}

const ofEvent = ` WHERE order_id = ? AND version = ?`

var (
	damagedStore = []verify.Kind{verify.DamagedOrder, verify.DamagedEvent}
	inTopic      = []verify.Kind{verify.AlteredInTopic}
)

var corruptions = []corruption{
	{"an order's status", func(v *victim) {
		v.exec(`UPDATE orders SET status = iif(status = 'PAID', 'CANCELLED', 'PAID') WHERE id = ?`, v.order)
	}, damagedStore},
	{"an order's version is too high", func(v *victim) {
		v.exec(`UPDATE orders SET version = version + 1 WHERE id = ?`, v.order)
	}, []verify.Kind{verify.MissingInStore}},
	{"an order's version is too low", func(v *victim) {
		v.exec(`UPDATE orders SET version = version - 1 WHERE id = ?`, v.order)
	}, damagedStore},
	{"an order's buyer", func(v *victim) {
		v.exec(`UPDATE orders SET buyer_id = buyer_id || '0' WHERE id = ?`, v.order)
	}, damagedStore},
	{"an order's items", func(v *victim) {
		v.exec(`UPDATE orders SET items = '[{"productId":"x","amount":1}]' WHERE id = ?`, v.order)
	}, damagedStore},
	{"an order's items are no JSON", func(v *victim) {
		v.exec(`UPDATE orders SET items = '[' WHERE id = ?`, v.order)
	}, damagedStore},
	{"an order's time", func(v *victim) {
		v.exec(`UPDATE orders SET updated_at = '2026-01-01T00:00:00.000Z' WHERE id = ?`, v.order)
	}, damagedStore},
	{"an order is deleted", func(v *victim) {
		v.exec(`DELETE FROM orders WHERE id = ?`, v.order)
	}, damagedStore},

	{"a committed event's payload", func(v *victim) {
		v.exec(`UPDATE outbox SET payload = replace(payload, '"version"', '"versiom"')`+ofEvent, v.order, v.at)
	}, inTopic},
	{"a committed event's payload is no JSON", func(v *victim) {
		v.exec(`UPDATE outbox SET payload = substr(payload, 2)`+ofEvent, v.order, v.at)
	}, damagedStore},
	{"a committed event's type", func(v *victim) {
		v.exec(`UPDATE outbox SET type = 'OrderPaidd'`+ofEvent, v.order, v.at)
	}, damagedStore},
	{"a committed event's time", func(v *victim) {
		v.exec(`UPDATE outbox SET occurred_at = '2026-01-01T00:00:00.000Z'`+ofEvent, v.order, v.at)
	}, inTopic},
	{"a committed event is deleted", func(v *victim) {
		v.exec(`DELETE FROM outbox`+ofEvent, v.order, v.at)
	}, []verify.Kind{verify.MissingInStore}},
	{"a committed event has a later version", func(v *victim) {
		v.exec(`UPDATE outbox SET version = version + 100`+ofEvent, v.order, v.at)
	}, []verify.Kind{verify.MissingInStore}},
	{"a committed event belongs to no order", func(v *victim) {
		v.affected = append(v.affected, v.order+"x")
		v.exec(`UPDATE outbox SET order_id = order_id || 'x'`+ofEvent, v.order, v.at)
	}, []verify.Kind{verify.MissingInStore}},

	{"a published event is deleted", func(v *victim) {
		v.deleteFromTopic()
	}, []verify.Kind{verify.MissingInTopic}},
	{"a published event's payload", func(v *victim) {
		v.exec(`UPDATE topic SET payload = replace(payload, '"version"', '"versiom"') WHERE seq = `+v.record(), v.order, v.at)
	}, inTopic},
	{"a published event's type", func(v *victim) {
		v.exec(`UPDATE topic SET type = 'OrderPaidd' WHERE seq = `+v.record(), v.order, v.at)
	}, inTopic},
	{"a published event's time", func(v *victim) {
		v.exec(`UPDATE topic SET occurred_at = '2026-01-01T00:00:00.000Z' WHERE seq = `+v.record(), v.order, v.at)
	}, inTopic},
	{"a published event names another order", func(v *victim) {
		v.affected = append(v.affected, v.order+"x")
		v.exec(`UPDATE topic SET order_id = order_id || 'x' WHERE seq = `+v.record(), v.order, v.at)
	}, []verify.Kind{verify.InventedInTopic}},
	{"a published event names a later version", func(v *victim) {
		v.exec(`UPDATE topic SET version = version + 100 WHERE seq = `+v.record(), v.order, v.at)
	}, []verify.Kind{verify.InventedInTopic}},
	{"a published event names no version", func(v *victim) {
		v.exec(`UPDATE topic SET version = 0 WHERE seq = `+v.record(), v.order, v.at)
	}, []verify.Kind{verify.ForeignInTopic}},
	{"two published events changed places", func(v *victim) {
		if v.at = v.version; v.at == 1 {
			v.deleteFromTopic() // there is no other
			return
		}
		v.deleteLaterRecords()
		last, before := v.text(`SELECT seq FROM topic`+ofEvent, v.order, v.at), v.text(`SELECT seq FROM topic`+ofEvent, v.order, v.at-1)
		for _, step := range [][2]string{{last, "-1"}, {before, last}, {"-1", before}} {
			v.exec(`UPDATE topic SET seq = ? WHERE seq = ?`, step[1], step[0])
		}
	}, []verify.Kind{verify.OutOfOrder, verify.MissingInTopic}},
	{"an event was published that was never committed", func(v *victim) {
		v.exec(`INSERT INTO topic (order_id, version, type, payload, occurred_at, traceparent)
			VALUES (?, ?, 'OrderPaid', '{}', '2026-01-01T00:00:00.000Z', '')`, v.order, v.version+1)
	}, []verify.Kind{verify.InventedInTopic}},
	{"an event was published twice, with two contents", func(v *victim) {
		v.exec(`INSERT INTO topic (order_id, version, type, payload, occurred_at, traceparent)
			VALUES (?, ?, 'OrderPaid', '{}', '2026-01-01T00:00:00.000Z', '')`, v.order, v.at)
	}, inTopic},

	{"a summary is deleted", func(v *victim) {
		v.exec(`DELETE FROM `+v.table("rows_order-summary")+` WHERE key = ?`, v.key("order-summary"))
	}, []verify.Kind{verify.MissingRow}},
	{"a summary's text", func(v *victim) {
		v.exec(`UPDATE `+v.table("rows_order-summary")+` SET body = replace(body, '"version":', '"version":1') WHERE key = ?`,
			v.key("order-summary"))
	}, []verify.Kind{verify.WrongRow}},
	{"a summary's field", func(v *victim) {
		v.exec(`UPDATE `+v.table("rows_order-summary")+` SET totalAmount = totalAmount + 1 WHERE key = ?`, v.key("order-summary"))
	}, []verify.Kind{verify.WrongRow}},
	{"a summary is invented", func(v *victim) {
		v.affected = []string{"nobody"}
		v.exec(`INSERT INTO ` + v.table("rows_order-summary") + ` (key, body, buyer) VALUES ('nobody', '{}', 'b')`)
	}, []verify.Kind{verify.InventedRow}},
	{"a line of a timeline is deleted", func(v *victim) {
		v.exec(`DELETE FROM `+v.table("rows_timeline")+` WHERE key = ?`, v.key("timeline"))
	}, []verify.Kind{verify.MissingRow}},
	{"a line of a timeline", func(v *victim) {
		v.exec(`UPDATE `+v.table("rows_timeline")+` SET body = replace(body, '"text":"', '"text":"not ') WHERE key = ?`, v.key("timeline"))
	}, []verify.Kind{verify.WrongRow}},
	{"a line of a timeline is invented", func(v *victim) {
		v.affected = []string{v.order + "\x1f000000099"}
		v.exec(`INSERT INTO `+v.table("rows_timeline")+` (key, body) VALUES (?, '{}')`, v.affected[0])
	}, []verify.Kind{verify.InventedRow}},
	{"a buyer's count", func(v *victim) {
		v.exec(`UPDATE `+v.table("rows_buyer-activity")+` SET PENDING = PENDING + 1 WHERE key = ?`, v.key("buyer-activity"))
	}, []verify.Kind{verify.WrongRow}},
	{"a buyer's counts are deleted", func(v *victim) {
		v.exec(`DELETE FROM `+v.table("rows_buyer-activity")+` WHERE key = ?`, v.key("buyer-activity"))
	}, []verify.Kind{verify.MissingRow}},
	{"a product's sales", func(v *victim) {
		v.exec(`UPDATE `+v.table("rows_product-sales")+` SET units = units - 1 WHERE key = ?`, v.key("product-sales"))
	}, []verify.Kind{verify.WrongRow}},
	{"a product's sales are invented", func(v *victim) {
		v.affected = []string{"nothing"}
		v.exec(`INSERT INTO ` + v.table("rows_product-sales") + ` (key, units) VALUES ('nothing', 1)`)
	}, []verify.Kind{verify.InventedRow}},

	{"the views are said to be behind with an order", func(v *victim) {
		v.exec(`UPDATE `+v.table("progress")+` SET version = version - 1 WHERE order_id = ?`, v.order)
	}, []verify.Kind{verify.MissingInViews}},
	{"the views are said to be ahead with an order", func(v *victim) {
		v.exec(`UPDATE `+v.table("progress")+` SET version = version + 1 WHERE order_id = ?`, v.order)
	}, []verify.Kind{verify.AheadInViews}},
	{"the views remember an order in another state", func(v *victim) {
		v.exec(`UPDATE `+v.table("progress")+` SET state = replace(state, '"version":', '"version":1') WHERE order_id = ?`, v.order)
	}, []verify.Kind{verify.WrongProgress}},
	{"the views have forgotten an order", func(v *victim) {
		v.exec(`DELETE FROM `+v.table("progress")+` WHERE order_id = ?`, v.order)
	}, []verify.Kind{verify.MissingInViews}},
}

// record is the first record of the event.
func (v *victim) record() string { return `(SELECT min(seq) FROM topic` + ofEvent + `)` }

// deleteFromTopic deletes all records of the event.
func (v *victim) deleteFromTopic() {
	v.deleteLaterRecords()
	v.exec(`DELETE FROM topic`+ofEvent, v.order, v.at)
}

// deleteLaterRecords leaves the order's first record of each event.
func (v *victim) deleteLaterRecords() {
	_, err := v.db.ExecContext(v.Context(), `DELETE FROM topic WHERE order_id = ? AND seq NOT IN
		(SELECT min(seq) FROM topic WHERE order_id = ? GROUP BY version)`, v.order, v.order)
	if err != nil {
		v.Fatal(err)
	}
}

// Two hundred single corruptions, each of a database that is whole but for it: every one is told, as what it is, and
// nothing is told of the orders and rows that have no part in it.
func TestEverySingleCorruptionIsFound(t *testing.T) {
	const databases, total = 4, 200
	seed := seedOf(t)
	random := rand.New(rand.NewPCG(seed, 1))
	var templates [][]byte
	for range databases {
		templates = append(templates, template(t, random, 30))
	}
	for n := range total {
		kind, seed := corruptions[n%len(corruptions)], random.Uint64()
		t.Run(fmt.Sprintf("%d %s", n, kind.name), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "orders.db")
			if err := os.WriteFile(path, templates[n%databases], 0o600); err != nil {
				t.Fatal(err)
			}
			w, db := openFile(t, path)
			v := &victim{T: t, db: db, random: rand.New(rand.NewPCG(seed, 2))}
			v.choose()
			kind.apply(v)
			r := w.check()
			if !slices.ContainsFunc(kind.found, func(k verify.Kind) bool { return r.Counts[k] > 0 }) {
				t.Errorf("order %s, version %d of %d: want one of %v, got %s", v.order, v.at, v.version, kind.found, inWords(r))
			}
			for _, d := range r.Differences {
				if !v.hasPartIn(d) {
					t.Errorf("order %s, version %d of %d, and %q changed, but not %+v", v.order, v.at, v.version, v.affected, d)
				}
			}
		})
	}
}

// choose finds an order and what it has a part in.
func (v *victim) choose() {
	v.generation = 2 // of a read model that was rebuilt once
	n := v.text(`SELECT count(*) FROM orders`)
	var orders int
	_, _ = fmt.Sscan(n, &orders)
	var buyer, items string
	err := v.db.QueryRowContext(v.Context(), `SELECT id, version, buyer_id, items FROM orders ORDER BY id LIMIT 1 OFFSET ?`,
		v.random.IntN(orders)).Scan(&v.order, &v.version, &buyer, &items)
	if err != nil {
		v.Fatal(err)
	}
	v.at = 1 + v.random.IntN(v.version)
	v.affected = []string{v.order, buyer, "tea", "pot", "cup", "a, \"b\" <c>"}
}

func (v *victim) hasPartIn(d verify.Difference) bool {
	if d.View == "" {
		return slices.Contains(v.affected, d.Order)
	}
	return slices.Contains(v.affected, d.Key) || v.order != "" && strings.HasPrefix(d.Key, v.order+"\x1f")
}

// seedOf is a new seed, or the one of a run that is to be repeated.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("HEXORDERS_TEST_SEED"); given != "" {
		if _, err := fmt.Sscan(given, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("HEXORDERS_TEST_SEED=%d repeats this run", seed)
	return seed
}

func TestCleanWorldsAgree(t *testing.T) {
	seed := seedOf(t)
	for n := range 20 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			w := newMemory(t)
			if n%4 == 0 {
				w, _ = openFile(t, filepath.Join(t.TempDir(), "orders.db"))
			}
			w.live(random, 30)
			if n%2 == 0 {
				w.rebuild()
			} else {
				w.consume()
			}
			w.wantAgreement()
		})
	}
}
