package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

//go:embed page.md
var page string

// writePage writes docs/faults.md: the text of page.md, and a line for each fault.
func writePage(to string, rows []row, took time.Duration) error {
	var b bytes.Buffer
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, page, len(rows), took.Round(time.Second), time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(),
		strings.Join(strings.Fields(string(load))[:3], ", "))
	for _, r := range rows {
		b.WriteString(r.line())
	}
	return os.WriteFile(to, b.Bytes(), 0o644)
}

func copyLogs(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	logs, err := fs.Glob(os.DirFS(from), "*.log")
	if err != nil {
		return err
	}
	for _, name := range logs {
		source, err := os.Open(filepath.Join(from, name))
		if err != nil {
			return err
		}
		target, err := os.Create(filepath.Join(to, name))
		if err == nil {
			_, err = io.Copy(target, source)
			_ = target.Close()
		}
		_ = source.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
