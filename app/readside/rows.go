package readside

import (
	"slices"

	"hexorders/ports"
)

// Rows collects what a batch changes in the rows of one view. Changes of one row become one change: the last Put wins,
// and what is added is summed up.
type Rows struct {
	expected int            // number of changes, about; to save time
	changes  []rowChange    // of Insert, Put and Delete
	byKey    map[string]int // where a key's change stands in changes
	added    []ports.Addition
	addedTo  map[string]int // where a key's addition stands in added
}

// rowChange is one change of a row. The zero kind is none.
type rowChange struct {
	kind rowChangeKind
	row  ports.Row
}

type rowChangeKind int

const (
	rowInserted rowChangeKind = iota + 1
	rowPut
	rowDeleted
)

// Insert makes a row under a key that has none.
func (r *Rows) Insert(row ports.Row) {
	if c := r.change(row.Key); c.kind == 0 {
		*c = rowChange{rowInserted, row}
	} else {
		r.Put(row)
	}
}

// Put replaces the row under its key, counters included, or makes it.
func (r *Rows) Put(row ports.Row) {
	c := r.change(row.Key)
	if c.row = row; c.kind != rowInserted {
		c.kind = rowPut
	}
	r.forgetAdditions(row.Key)
}

// Delete removes the row under a key, with its counters. None is no error.
func (r *Rows) Delete(key string) {
	c := r.change(key)
	if c.kind == rowInserted {
		c.kind = 0
	} else {
		*c = rowChange{rowDeleted, ports.Row{Key: key}}
	}
	r.forgetAdditions(key)
}

// Add adds n, which may be below 0, to a counter of the row under a key.
func (r *Rows) Add(key, counter string, n int64) {
	count(&r.addition(key).Add, counter, n, func(a, b int64) int64 { return a + b })
}

// Max makes a counter of the row under a key at least n.
func (r *Rows) Max(key, counter string, n int64) {
	count(&r.addition(key).Max, counter, n, func(a, b int64) int64 { return max(a, b) })
}

func (r *Rows) forgetAdditions(key string) {
	if i, ok := r.addedTo[key]; ok {
		r.added[i] = ports.Addition{Key: key}
	}
}

func (r *Rows) change(key string) *rowChange {
	i, ok := r.byKey[key]
	if !ok {
		if r.byKey == nil {
			r.byKey, r.changes = make(map[string]int, r.expected), make([]rowChange, 0, r.expected)
		}
		i = len(r.changes)
		r.byKey[key] = i
		r.changes = append(r.changes, rowChange{})
	}
	return &r.changes[i]
}

func (r *Rows) addition(key string) *ports.Addition {
	i, ok := r.addedTo[key]
	if !ok {
		if r.addedTo == nil {
			r.addedTo = map[string]int{}
		}
		i = len(r.added)
		r.addedTo[key] = i
		r.added = append(r.added, ports.Addition{Key: key})
	}
	return &r.added[i]
}

func count(counts *[]ports.Count, counter string, n int64, join func(a, b int64) int64) {
	for i, c := range *counts {
		if c.Name == counter {
			(*counts)[i].Value = join(c.Value, n)
			return
		}
	}
	*counts = append(*counts, ports.Count{Name: counter, Value: n})
}

// collected are the changes for a commit; any is false when there are none.
func (r *Rows) collected() (c ports.RowChanges, any bool) {
	var kinds [rowDeleted + 1]int
	for i := range r.changes {
		kinds[r.changes[i].kind]++
	}
	c.Insert, c.Put = slices.Grow(c.Insert, kinds[rowInserted]), slices.Grow(c.Put, kinds[rowPut])
	for _, change := range r.changes {
		switch change.kind {
		case rowInserted:
			c.Insert = append(c.Insert, change.row)
		case rowPut:
			c.Put = append(c.Put, change.row)
		case rowDeleted:
			c.Delete = append(c.Delete, change.row.Key)
		}
	}
	for _, a := range r.added {
		if len(a.Add)+len(a.Max) > 0 {
			c.Add = append(c.Add, a)
		}
	}
	return c, len(c.Insert)+len(c.Put)+len(c.Delete)+len(c.Add) > 0
}
