package ports

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Shapes are the shapes of tables, by the tables' names. A store records them with a generation when it makes the tables:
// a program whose table has another shape cannot use the table that is there.
type Shapes map[string]string

// ShapesOf are those of a program's tables.
func ShapesOf(tables []Table) Shapes {
	shapes := Shapes{}
	for _, t := range tables {
		shapes[t.Name] = t.Shape()
	}
	return shapes
}

// Shape is a fingerprint of the table's indexes, with their fields, and of its counters, in any order: 8 hexadecimal digits.
func (t Table) Shape() string {
	var parts []string
	for _, i := range t.Indexes {
		parts = append(parts, fmt.Sprintf("index %q %q %q", i.Equal, i.Sort, i.Filter))
	}
	for _, counter := range t.Counters {
		parts = append(parts, fmt.Sprintf("counter %q", counter))
	}
	slices.Sort(parts)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:4])
}

// Usable are the names, sorted, of the recorded tables that a program with these shapes can use, and of those that it does
// not have. A table without a recorded shape was made by a version that recorded none, and can be used.
func (recorded Shapes) Usable(program Shapes) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(recorded)), func(name string) bool {
		want, known := program[name]
		return known && recorded[name] != "" && recorded[name] != want
	})
}

// Adopt records the program's shape of each table that has no recorded one. It reports whether there was any.
func (recorded Shapes) Adopt(program Shapes) (adopted bool) {
	for name, shape := range program {
		if was, found := recorded[name]; found && was == "" {
			recorded[name], adopted = shape, true
		}
	}
	return adopted
}
