package sqlite

import (
	"strings"

	"hexorders/ports"
)

// statement writes rows of one kind. When it has a text for a row, one execution writes many: that takes a third less
// time than one execution a row. One that claims changes fewer rows when one of them is not what the change began with.
type statement struct {
	before, row, after string
	claims             bool
	columns            int
	args               []any // of all rows
	size               int   // bytes, about
}

func (s *statement) add(args ...any) {
	const row = 200 // bytes, about, with its index entries
	s.size += row
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			s.size += len(arg)
		case []byte:
			s.size += len(arg)
		}
	}
	s.columns = len(args)
	s.args = append(s.args, args...)
}

func (s *statement) write(t *tx) error {
	for args := s.args; len(args) > 0; {
		rows := s.atOnce(len(args) / s.columns)
		text := s.before
		if s.row != "" {
			text += strings.Repeat(s.row+`, `, rows-1) + s.row + s.after
		}
		changed, err := t.exec(text, args[:rows*s.columns]...)
		if err != nil {
			return err
		}
		if s.claims && changed < int64(rows) {
			return ports.ErrConflict
		}
		args = args[rows*s.columns:]
	}
	return nil
}

// atOnce is how many of these rows one execution writes: one of few numbers, so that few statements are prepared.
func (s *statement) atOnce(rows int) int {
	switch {
	case s.row == "" || rows < 8:
		return 1
	case rows < 64:
		return 8
	}
	return 64
}
