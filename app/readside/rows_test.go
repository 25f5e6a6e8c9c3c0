package readside

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hexorders/adapters/memory"
	"hexorders/ports"
)

// Changes that are collected make the same rows as the changes one by one, with at most one change of a row.
func TestCollectedChangesMakeTheSameRows(t *testing.T) {
	if c, any := (&Rows{}).collected(); any {
		t.Errorf("nothing has changed, and a commit gets %+v", c)
	}
	table := ports.Table{Name: "table", Counters: []string{"n", "max"}}
	rapid.Check(t, func(t *rapid.T) {
		one, collected := memory.NewReadModel([]ports.Table{table}), memory.NewReadModel([]ports.Table{table})
		commit := func(to *memory.ReadModel, r *Rows) {
			changes, any := r.collected()
			if !any {
				return
			}
			wantOneChangeOfARow(t, changes)
			change := ports.Change{Rows: map[string]ports.RowChanges{"table": changes}}
			if err := to.Commit(t.Context(), ports.Generation{Number: 1}, change); err != nil {
				t.Fatalf("commit of %+v: %v", changes, err)
			}
		}
		there := map[string]bool{}
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			var batch Rows
			for range rapid.IntRange(1, 8).Draw(t, "changes") {
				key, n := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"), rapid.Int64Range(0, 9).Draw(t, "n")
				row := ports.Row{Key: key, Body: fmt.Append(nil, n)}
				kind := rapid.SampledFrom([]string{"write", "put", "delete", "add", "max"}).Draw(t, "kind")
				for _, r := range []*Rows{&batch, {}} {
					switch {
					case kind == "write" && !there[key]:
						r.Insert(row)
					case kind == "write", kind == "put":
						r.Put(row)
					case kind == "delete":
						r.Delete(key)
					case kind == "add":
						r.Add(key, "n", n-5)
					case kind == "max":
						r.Max(key, "max", n)
					}
					if r != &batch {
						commit(one, r)
					}
				}
				there[key] = kind != "delete"
			}
			commit(collected, &batch)
			for _, key := range []string{"a", "b"} {
				got, err := collected.Row(t.Context(), "table", key)
				want, err2 := one.Row(t.Context(), "table", key)
				if err != nil || err2 != nil || !reflect.DeepEqual(sorted(got), sorted(want)) {
					t.Fatalf("row %s: got %+v, want %+v, errors %v, %v", key, got, want, err, err2)
				}
			}
		}
	})
}

// sorted has the counters in a fixed order, and none that is 0: a store may show it or not.
func sorted(row ports.Row) ports.Row {
	row.Counters = slices.DeleteFunc(row.Counters, func(c ports.Count) bool { return c.Value == 0 })
	slices.SortFunc(row.Counters, func(a, b ports.Count) int { return len(a.Name) - len(b.Name) })
	return row
}

func wantOneChangeOfARow(t *rapid.T, c ports.RowChanges) {
	keys, added := map[string]int{}, map[string]int{}
	for _, key := range c.Delete {
		keys[key]++
	}
	for _, row := range slices.Concat(c.Insert, c.Put) {
		keys[row.Key]++
	}
	for _, a := range c.Add {
		added[a.Key]++
	}
	for _, key := range []string{"a", "b"} {
		if keys[key] > 1 || added[key] > 1 {
			t.Fatalf("row %s: more than one change in %+v", key, c)
		}
	}
}
