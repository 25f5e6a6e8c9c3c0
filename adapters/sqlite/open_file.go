package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// openFile recognises the file that was opened. SQLite goes on to write to a file that was deleted or moved away, and what
// it writes is lost when it closes the file.
type openFile struct {
	path string
	info os.FileInfo
}

func identify(path string) (f openFile, err error) {
	if f.path, err = filepath.Abs(path); err != nil { // the working directory may change
		return openFile{}, err
	}
	f.info, err = os.Stat(f.path)
	return f, err
}

// check returns ErrFileGone unless the path still leads to the file. It takes about a microsecond: much less than a commit.
func (f openFile) check() error {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, f.info) {
		return ErrFileGone
	}
	return nil // without permission to look, SQLite finds faults itself
}
