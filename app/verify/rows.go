package verify

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hexorders/ports"
)

// The kinds of expected changes, the first byte of their values.
const (
	putRow = iota
	deleteRow
	addCounters
	unknownRow   // nothing is known of the row
	unknownOrder // nor of those whose keys begin with the key and a separator
)

// addRow keeps a row that was read: its vector, its counters, and a digest of the rest.
func (c *check) addRow(view int, row ports.Row) error {
	c.report.Rows++
	var value packer
	value.number(int64(len(c.vectors) - 1))
	value = append(value, digest(row)...)
	value.counts(row.Counters)
	return c.rows.add(append([]byte{byte(view)}, row.Key...), value)
}

// digest stands for the fields and the body of a row.
func digest(row ports.Row) []byte {
	fields := slices.Clone(row.Fields)
	slices.SortFunc(fields, func(a, b ports.Field) int { return strings.Compare(a.Name, b.Name) })
	var all packer
	for _, f := range fields {
		all.text(f.Name)
		all.text(fmt.Sprintf("%T %v", f.Value, f.Value))
	}
	all.text(string(row.Body))
	sum := sha256.Sum256(all)
	return sum[:digestSize]
}

const digestSize = 16

// noRow is the digest of a row that has counters only.
var noRow = digest(ports.Row{})

func (p *packer) counts(counts []ports.Count) {
	p.number(int64(len(counts)))
	for _, n := range counts {
		p.text(n.Name)
		p.number(n.Value)
	}
}

func (u *unpacker) counts() []ports.Count {
	counts := make([]ports.Count, u.number())
	for i := range counts {
		counts[i] = ports.Count{Name: u.text(), Value: u.number()}
	}
	return counts
}

// expectChanges adds the changes of rows that come with an epoch.
func (c *check) expectChanges(epoch int, changes []ports.RowChanges) error {
	for i, change := range changes {
		begin := func(kind byte) packer {
			value := packer{kind}
			value.number(int64(epoch))
			return value
		}
		for _, key := range change.Delete {
			if err := c.expectChange(i, key, begin(deleteRow)); err != nil {
				return err
			}
		}
		for _, row := range slices.Concat(change.Insert, change.Put) {
			if err := c.expectChange(i, row.Key, append(begin(putRow), digest(row)...)); err != nil {
				return err
			}
		}
		for _, a := range change.Add {
			value := begin(addCounters)
			value.counts(a.Add)
			value.counts(a.Max)
			if err := c.expectChange(i, a.Key, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowState is a row as it is or as it should be.
type rowState struct {
	there    bool
	digest   string
	counters map[string]int64
	unknown  bool
}

// compareRows goes along the rows that are there and those that should be, by view and key.
func (c *check) compareRows(ctx context.Context) error {
	if len(c.views) == 0 {
		return nil
	}
	rows, err := c.rows.sorted()
	if err != nil {
		return err
	}
	expected, err := c.expected.sorted()
	if err != nil {
		return err
	}
	unknown := "" // view and id of the last order of which nothing is known
	compared := int64(0)
	for !rows.done || !expected.done {
		key := ""
		switch {
		case expected.done:
			key = string(rows.key)
		case rows.done:
			key = rowOf(expected.key)
		default:
			key = min(string(rows.key), rowOf(expected.key))
		}
		view := int(key[0])
		is, vector := rowState{}, c.viewEnds[view]
		if !rows.done && int(rows.key[0]) == view { // what is not there was not there when the next row was read
			vector = int(readRow(rows.value, &rowState{}))
		}
		if !rows.done && string(rows.key) == key {
			readRow(rows.value, &is)
			if err := rows.next(); err != nil {
				return err
			}
			compared++
			c.options.Report(Progress{Step: "compare", Done: compared, Total: c.report.Rows})
		}
		should := rowState{digest: string(noRow)}
		for !expected.done && rowOf(expected.key) == key {
			if expected.value[0] == unknownOrder {
				unknown = key
			}
			should.apply(expected.value, vector)
			if err := expected.next(); err != nil {
				return err
			}
		}
		ofUnknown := unknown != "" && (key == unknown || strings.HasPrefix(key, unknown+"\x1f"))
		if should.unknown || ofUnknown {
			if is.there {
				c.report.UnprovenRows++
			}
			continue
		}
		if err := c.compareRow(ctx, view, key[1:], is, should); err != nil {
			return err
		}
	}
	c.options.Report(Progress{Step: "compare", Done: c.report.Rows, Total: c.report.Rows})
	return nil
}

// rowOf is view and key of an expected change.
func rowOf(key []byte) string { return string(key[:len(key)-9]) }

// readRow reads what addRow has kept, and returns the vector.
func readRow(value unpacker, row *rowState) (vector int64) {
	vector = value.number()
	row.there, row.digest, row.counters = true, string(value[:digestSize]), map[string]int64{}
	value = value[digestSize:]
	for _, n := range value.counts() {
		row.counters[n.Name] = n.Value
	}
	return vector
}

// apply makes an expected change, if the vector includes it.
func (r *rowState) apply(value unpacker, vector int) {
	kind := value[0]
	value = value[1:]
	if kind == unknownRow || kind == unknownOrder {
		r.unknown = true
		return
	}
	if int(value.number()) > vector {
		return
	}
	switch kind {
	case putRow:
		*r = rowState{there: true, digest: string(value), unknown: r.unknown}
	case deleteRow:
		*r = rowState{digest: string(noRow), unknown: r.unknown}
	case addCounters:
		if r.counters == nil {
			r.counters = map[string]int64{}
		}
		for _, n := range value.counts() {
			r.counters[n.Name] += n.Value
		}
		for _, n := range value.counts() {
			r.counters[n.Name] = max(r.counters[n.Name], n.Value)
		}
	}
}

// empty tells whether a row is as good as none: counters begin at 0.
func (r *rowState) empty() bool {
	for _, n := range r.counters {
		if n != 0 {
			return false
		}
	}
	return !r.there || r.digest == string(noRow)
}

func (c *check) compareRow(ctx context.Context, view int, key string, is, should rowState) error {
	d := Difference{View: c.views[view].Name, Key: key}
	switch {
	case is.empty() && should.empty():
		return nil
	case !is.there:
		d.Kind, d.Detail = MissingRow, countersDiffer(is, should)
	case should.empty():
		d.Kind = InventedRow
	case is.digest != should.digest:
		d.Kind = WrongRow
	default:
		d.Kind, d.Detail = WrongRow, countersDiffer(is, should)
		if d.Detail == "" {
			return nil
		}
	}
	if is.there && d.Detail == "" && c.report.Counts[d.Kind] < int64(c.options.Show) {
		row, err := c.options.ReadModel.Row(ctx, d.View, key)
		if err != nil {
			return err
		}
		d.Detail = fmt.Sprintf("it is %.300s", row.Body)
	}
	c.differ(d)
	return nil
}

// countersDiffer says which counters are wrong.
func countersDiffer(is, should rowState) string {
	names := maps.Clone(is.counters)
	if names == nil {
		names = map[string]int64{}
	}
	maps.Copy(names, should.counters)
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if is.counters[name] != should.counters[name] {
			wrong = append(wrong, fmt.Sprintf("%s is %d, the events say %d", name, is.counters[name], should.counters[name]))
		}
	}
	return strings.Join(wrong, "; ")
}
