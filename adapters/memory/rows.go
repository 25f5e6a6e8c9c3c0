package memory

import (
	"cmp"
	"slices"
	"strings"

	"hexorders/ports"
)

// rows are those of one view, by key. A list looks at every row with its prefix: fine for tests and lessons.
type rows []*ports.Row

// find is where the row under a key is, or where it belongs.
func (v rows) find(key string) (i int, found bool) {
	return slices.BinarySearchFunc(v, key, func(row *ports.Row, key string) int { return strings.Compare(row.Key, key) })
}

func (v rows) get(key string) ports.Row {
	if i, found := v.find(key); found {
		return copyOf(*v[i])
	}
	return ports.Row{Key: key}
}

func (v rows) put(row ports.Row) rows {
	row = copyOf(row)
	i, found := v.find(row.Key)
	if !found {
		return slices.Insert(v, i, &row)
	}
	v[i] = &row
	return v
}

func (v rows) change(c ports.RowChanges) rows {
	for _, key := range c.Delete {
		if i, found := v.find(key); found {
			v = slices.Delete(v, i, i+1)
		}
	}
	for _, row := range slices.Concat(c.Insert, c.Put) {
		row.Counters = nil
		v = v.put(row)
	}
	for _, a := range c.Add {
		row := v.get(a.Key)
		for _, n := range a.Add {
			*counter(&row, n.Name) += n.Value
		}
		for _, n := range a.Max {
			c := counter(&row, n.Name)
			*c = max(*c, n.Value)
		}
		v = v.put(row)
	}
	return v
}

// counter is one of a row, which gets it when it has none.
func counter(row *ports.Row, name string) *int64 {
	i := slices.IndexFunc(row.Counters, func(c ports.Count) bool { return c.Name == name })
	if i < 0 {
		i = len(row.Counters)
		row.Counters = append(row.Counters, ports.Count{Name: name})
	}
	return &row.Counters[i].Value
}

// list is the page of a query after a place, nil for the first page.
func (v rows) list(q ports.Query, after *ports.RowPlace) (page ports.RowPage) {
	place := func(row ports.Row) ports.RowPlace { return ports.RowPlace{Value: row.Field(q.Sort), Key: row.Key} }
	from, _ := v.find(q.Prefix)
	var found []ports.Row
	for _, row := range v[from:] {
		if !strings.HasPrefix(row.Key, q.Prefix) {
			break
		}
		if has(*row, q.Equal) && has(*row, q.Filter) && (after == nil || compare(q, place(*row), *after) > 0) {
			found = append(found, *row)
		}
	}
	slices.SortFunc(found, func(a, b ports.Row) int { return compare(q, place(a), place(b)) })
	for _, row := range found {
		if page.Full(q) {
			page.Next = q.Next(page.Rows[len(page.Rows)-1])
			break
		}
		page.Rows = append(page.Rows, copyOf(row))
	}
	return page
}

// has tells whether a row belongs to a list of rows with this field, or to one of all rows, for the zero Field.
func has(row ports.Row, f ports.Field) bool {
	return f == ports.Field{} || row.Field(f.Name) == f.Value
}

// compare places in the order of the list.
func compare(q ports.Query, a, b ports.RowPlace) int {
	if q.Descending {
		a, b = b, a
	}
	textA, _ := a.Value.(string)
	textB, _ := b.Value.(string)
	numberA, _ := a.Value.(int64)
	numberB, _ := b.Value.(int64)
	return cmp.Or(strings.Compare(textA, textB), cmp.Compare(numberA, numberB), strings.Compare(a.Key, b.Key))
}

// copyOf shares nothing with the original.
func copyOf(row ports.Row) ports.Row {
	row.Fields, row.Body, row.Counters = slices.Clone(row.Fields), slices.Clone(row.Body), slices.Clone(row.Counters)
	return row
}
