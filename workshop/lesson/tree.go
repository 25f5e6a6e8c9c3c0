package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tree is a checkout. It is looked at, and changed, by git alone, and the index that a participant works with is left
// as it is: a command that needs an index has one of its own.
type tree struct{ root string }

// findTree is the checkout that the working directory is in.
func findTree(ctx context.Context) (tree, error) {
	root, err := tree{"."}.git(ctx, "", nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return tree{}, fmt.Errorf("a lesson needs a git clone of the project, not only its files: %w", err)
	}
	return tree{strings.TrimSpace(root)}, nil
}

// git runs one command of git, with an index of its own if one is named.
func (t tree) git(ctx context.Context, index string, input []byte, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = t.root
	command.Stdin = bytes.NewReader(input)
	command.Env = os.Environ()
	if index != "" {
		command.Env = append(command.Env, "GIT_INDEX_FILE="+index)
	}
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		return string(output), fmt.Errorf("git %s: %w\n%s", args[0], err, bytes.TrimSpace(complaints.Bytes()))
	}
	return string(output), nil
}

// withIndex calls f with an index that holds a commit or a tree.
func (t tree) withIndex(ctx context.Context, of string, f func(index string) error) error {
	folder, err := os.MkdirTemp("", "hexorders-lesson-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	index := filepath.Join(folder, "index")
	if _, err := t.git(ctx, index, nil, "read-tree", of); err != nil {
		return err
	}
	return f(index)
}

// snapshot is the id of a git tree with all files as they are now, new ones included and ignored ones not.
func (t tree) snapshot(ctx context.Context) (id string, err error) {
	err = t.withIndex(ctx, "HEAD", func(index string) error {
		if _, err := t.git(ctx, index, nil, "add", "--all"); err != nil {
			return err
		}
		id, err = t.git(ctx, index, nil, "write-tree")
		return err
	})
	return strings.TrimSpace(id), err
}

// patched is the id of a tree with patches over it. Files are not touched. Flags are those of git apply.
func (t tree) patched(ctx context.Context, base string, patches []string, flags ...string) (id string, err error) {
	err = t.withIndex(ctx, base, func(index string) error {
		for _, patch := range patches {
			if _, err := t.git(ctx, index, nil, append(append([]string{"apply", "--cached"}, flags...), patch)...); err != nil {
				return fmt.Errorf("%s does not fit: %w", t.short(patch), err)
			}
		}
		id, err = t.git(ctx, index, nil, "write-tree")
		return err
	})
	return strings.TrimSpace(id), err
}

// started is the id of the tree in which a lesson begins: a commit and the lesson's start over it.
func (t tree) started(ctx context.Context, l lesson, commit string) (string, error) {
	if !l.has(t.root, startPatch) {
		return t.patched(ctx, commit, nil)
	}
	return t.patched(ctx, commit, []string{l.file(t.root, startPatch)})
}

func (t tree) diff(ctx context.Context, from, to string, paths ...string) (string, error) {
	return t.git(ctx, "", nil, append([]string{"diff", "--binary", "--full-index", from, to, "--"}, paths...)...)
}

func (t tree) changed(ctx context.Context, from, to string) ([]string, error) {
	names, err := t.git(ctx, "", nil, "diff", "--name-only", from, to)
	return strings.Fields(names), err
}

// move changes the files from one tree to another; they are as the first one is.
func (t tree) move(ctx context.Context, from, to string) error {
	patch, err := t.diff(ctx, from, to)
	if err != nil || patch == "" {
		return err
	}
	_, err = t.git(ctx, "", []byte(patch), "apply", "--whitespace=nowarn")
	return err
}

func (t tree) head(ctx context.Context) (string, error) {
	id, err := t.git(ctx, "", nil, "rev-parse", "HEAD")
	return strings.TrimSpace(id), err
}

func (t tree) short(file string) string {
	if name, err := filepath.Rel(t.root, file); err == nil {
		return name
	}
	return file
}

// refresh renews a lesson's patches after the code under them has moved. The commit that last wrote them is the one they
// fit: their results there are the base of a three-way merge with today's files.
func (t tree) refresh(ctx context.Context, l lesson) (written []string, err error) {
	then, err := t.git(ctx, "", nil, "log", "-1", "--format=%H", "--", l.file(t.root, "*.patch"))
	if then = strings.TrimSpace(then); err != nil || then == "" {
		return nil, errors.Join(err, errors.New("no commit has these patches yet"))
	}
	startThen, err := t.started(ctx, l, then)
	if err != nil {
		return nil, err
	}
	head, err := t.head(ctx)
	if err != nil {
		return nil, err
	}
	start := head
	for _, name := range append([]string{startPatch}, l.overStart(t.root)...) {
		file := l.file(t.root, name)
		if !l.has(t.root, name) {
			continue
		}
		base, over := startThen, start
		if name == startPatch {
			base, over = then, head
		}
		if _, err := t.patched(ctx, base, []string{file}); err != nil { // its files are known to git now
			return written, err
		}
		result, err := t.patched(ctx, over, []string{file}, "--3way")
		if err != nil {
			return written, fmt.Errorf("%w\nRenew this one by hand: change the files, then SAVE it", err)
		}
		if name == startPatch {
			start = result
		}
		patch, err := t.diff(ctx, over, result)
		if err != nil {
			return written, err
		}
		if err := os.WriteFile(file, []byte(patch), 0o644); err != nil { //nolint:gosec // everybody may read it
			return written, err
		}
		written = append(written, t.short(file))
	}
	return written, nil
}

// overStart are the patches that lie over the start: the steps and the solution.
func (l lesson) overStart(root string) (names []string) {
	for k := 2; k <= len(l.Red); k++ {
		if l.has(root, stepPatch(k)) {
			names = append(names, stepPatch(k))
		}
	}
	return append(names, solutionPatch)
}
