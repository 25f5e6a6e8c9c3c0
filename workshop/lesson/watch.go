package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long files must be left alone before they count as saved: editors write a file in several steps.
const settle = 150 * time.Millisecond

// waitForChange returns when the files differ from a snapshot, and have been left alone for a moment.
func (t tree) waitForChange(ctx context.Context, from string) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := t.watchFolders(ctx, watcher); err != nil {
		return err
	}
	still := time.NewTimer(0) // at once, for what was saved before the watch began
	for {
		select {
		case <-still.C:
			// Not every event counts: a backup file of an editor, say, which git ignores.
			if now, err := t.snapshot(ctx); err != nil || now != from {
				return err
			}
		case event := <-watcher.Events:
			if event.Has(fsnotify.Create) {
				if info, err := os.Stat(event.Name); err == nil && info.IsDir() {
					if err := watcher.Add(event.Name); err != nil {
						return err
					}
				}
			}
			if event.Op != fsnotify.Chmod {
				still.Reset(settle)
			}
		case err := <-watcher.Errors:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watchFolders watches each folder in which git knows a file, or would.
func (t tree) watchFolders(ctx context.Context, watcher *fsnotify.Watcher) error {
	names, err := t.git(ctx, "", nil, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	watched := map[string]bool{}
	for name := range strings.SplitSeq(names, "\x00") {
		for folder := filepath.Dir(name); name != "" && !watched[folder]; folder = filepath.Dir(folder) {
			watched[folder] = true
			if err := watcher.Add(filepath.Join(t.root, folder)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}
