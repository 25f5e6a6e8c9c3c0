package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/pelletier/go-toml/v2"
)

// progress is how far a participant is. It lies in workshop/.mine, which git ignores, beside the work of lessons that
// were put aside.
type progress struct {
	Done   []int  `toml:"done"`
	Lesson int    `toml:"lesson"` // whose start is in the files now, 0: none
	Commit string `toml:"commit"` // that it was put over
}

func (t tree) mine(name string) string { return filepath.Join(t.root, "workshop", ".mine", name) }

func (t tree) loadProgress() (p progress, err error) {
	text, err := os.ReadFile(t.mine("progress.toml"))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = toml.Unmarshal(text, &p)
	}
	return p, err
}

func (t tree) save(p progress) error {
	text, err := toml.Marshal(p)
	if err != nil {
		return err
	}
	return t.keep("progress.toml", text)
}

func (t tree) keep(name string, text []byte) error {
	if err := os.MkdirAll(t.mine(""), 0o755); err != nil {
		return err
	}
	return os.WriteFile(t.mine(name), text, 0o600)
}

func (p progress) done(l lesson) bool { return slices.Contains(p.Done, l.Number) }

func (p *progress) tick(l lesson) {
	if !p.done(l) {
		p.Done = append(p.Done, l.Number)
		slices.Sort(p.Done)
	}
}
