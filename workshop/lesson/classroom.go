package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// classroom is what the command works with.
type classroom struct {
	tree     tree
	lessons  []lesson
	progress progress
	out      io.Writer
	color    bool
	thai     bool
}

// request is what was asked of a lesson; without anything its test is run at each change.
type request struct {
	hint     int
	solution string
	reset    bool
	once     bool
	save     string
	refresh  bool
}

func (c *classroom) serve(ctx context.Context, l lesson, asked request) error {
	switch {
	case asked.hint != 0:
		return c.hint(l, asked.hint)
	case asked.save != "":
		return c.savePatch(ctx, l, asked.save)
	case asked.refresh:
		written, err := c.tree.refresh(ctx, l)
		c.say("written: %s\n", strings.Join(written, ", "))
		return err
	case asked.reset:
		return c.putAside(ctx, l)
	case asked.solution == "apply":
		if err := c.applySolution(ctx, l); err != nil {
			return err
		}
	case asked.solution != "":
		text, err := os.ReadFile(l.file(c.tree.root, solutionPatch))
		c.say("%s\n`make lesson N=%d SOLUTION=apply` puts it into the files and keeps your work as a patch.\n", text, l.Number)
		return err
	}
	if err := c.begin(ctx, l); err != nil {
		return err
	}
	return c.work(ctx, l, asked.once)
}

func (c *classroom) list() error {
	c.say("       minutes  needs         lesson\n")
	for _, l := range c.lessons {
		tick, here := " ", ""
		if c.progress.done(l) {
			tick = c.green("✓")
		}
		if c.progress.Lesson == l.Number {
			here = "  <- in your files now"
		}
		c.say("%s %3d  %7d  %-12s  %s%s\n", tick, l.Number, l.Minutes, l.needs(), l.title(c.thai), here)
	}
	first, found := c.next(lesson{Number: c.progress.Lesson})
	if !found {
		first = c.lessons[0]
	}
	c.say("\n`make lesson N=%d` begins one. `bin/lesson -h` lists what else there is.\n", first.Number)
	return nil
}

func (c *classroom) hint(l lesson, n int) error {
	page, err := os.ReadFile(c.tree.root + "/" + l.page(c.thai))
	if err != nil {
		return err
	}
	texts := hints(string(page))
	if n < 1 || n > len(texts) {
		return fmt.Errorf("%s has the hints 1 to %d", l.name(), len(texts))
	}
	c.say("%s\n", texts[n-1])
	return nil
}

// begin puts the start of a lesson into the files, unless it is there already.
func (c *classroom) begin(ctx context.Context, l lesson) error {
	head, err := c.tree.head(ctx)
	if err != nil {
		return err
	}
	if c.progress.Lesson == l.Number {
		return c.sameCommit(l, head)
	}
	for _, other := range c.lessons {
		if other.Number != c.progress.Lesson {
			continue
		}
		if !c.progress.done(other) {
			return fmt.Errorf("lesson %d is in your files and not done. `make lesson N=%d RESET=1` puts them back and keeps "+
				"your work as a patch", other.Number, other.Number)
		}
		if err := c.putAside(ctx, other); err != nil {
			return err
		}
	}
	now, err := c.tree.snapshot(ctx)
	if err != nil {
		return err
	}
	if files, err := c.tree.changed(ctx, head, now); err != nil || len(files) > 0 {
		return errors.Join(err, fmt.Errorf("%s begins with the files as git has them, and these are changed or new:\n  %s\n"+
			"Commit them, or put them aside with `git stash -u`", l.name(), strings.Join(files, "\n  ")))
	}
	start, err := c.tree.started(ctx, l, head)
	if err != nil {
		return fmt.Errorf("%w\nThe code under it has moved; `make lesson N=%d REFRESH=1` renews it", err, l.Number)
	}
	files, err := c.tree.changed(ctx, now, start)
	if err != nil {
		return err
	}
	c.progress.Lesson, c.progress.Commit = l.Number, head
	if err := c.tree.save(c.progress); err != nil { // first: what is in the files must be known, also after a kill
		return err
	}
	if err := c.tree.move(ctx, now, start); err != nil {
		return err
	}
	c.say("%s: %s\n%d minutes, needs %s. Read %s\n", l.name(), l.title(c.thai), l.Minutes, l.needs(), l.page(c.thai))
	for _, file := range files {
		c.say("  changed for this lesson: %s\n", file)
	}
	return nil
}

func (c *classroom) sameCommit(l lesson, head string) error {
	if head == c.progress.Commit {
		return nil
	}
	return fmt.Errorf("%s was begun on commit %.9s, and the checkout is at %.9s now. `git reset --soft %.9s` takes later "+
		"commits back and keeps the files", l.name(), c.progress.Commit, head, c.progress.Commit)
}

// putAside puts the files back as git has them. What the participant wrote is kept as a patch over the start.
func (c *classroom) putAside(ctx context.Context, l lesson) error {
	if c.progress.Lesson != l.Number {
		return fmt.Errorf("%s is not in your files: nothing to put back", l.name())
	}
	head, err := c.tree.head(ctx)
	if err == nil {
		err = c.sameCommit(l, head)
	}
	if err != nil {
		return err
	}
	if err := c.moveTo(ctx, l, head); err != nil {
		return err
	}
	c.progress.Lesson, c.progress.Commit = 0, ""
	c.say("%s is out of your files.\n", l.name())
	return c.tree.save(c.progress)
}

// moveTo changes the files to a tree, after it has kept the work on a lesson.
func (c *classroom) moveTo(ctx context.Context, l lesson, target string) error {
	start, err := c.tree.started(ctx, l, c.progress.Commit)
	if err != nil {
		return err
	}
	now, err := c.tree.snapshot(ctx)
	if err != nil {
		return err
	}
	work, err := c.tree.diff(ctx, start, now)
	if err != nil {
		return err
	}
	if work != "" {
		name := l.Folder + "-" + time.Now().Format("20060102-150405") + ".patch"
		if err := c.tree.keep(name, []byte(work)); err != nil {
			return err
		}
		c.say("Your work is kept. After `make lesson N=%d ONCE=1` this brings it back:\n  git apply %s\n",
			l.Number, c.tree.short(c.tree.mine(name)))
	}
	return c.tree.move(ctx, now, target)
}

func (c *classroom) applySolution(ctx context.Context, l lesson) error {
	if err := c.begin(ctx, l); err != nil {
		return err
	}
	start, err := c.tree.started(ctx, l, c.progress.Commit)
	if err != nil {
		return err
	}
	solved, err := c.tree.patched(ctx, start, []string{l.file(c.tree.root, solutionPatch)})
	if err != nil {
		return err
	}
	return c.moveTo(ctx, l, solved)
}

// savePatch writes the changes in the files as one of the lesson's patches. The lesson's own pages, test and patches are no
// part of it.
func (c *classroom) savePatch(ctx context.Context, l lesson, name string) error {
	base, err := c.tree.head(ctx)
	if err == nil && name+".patch" != startPatch {
		base, err = c.tree.started(ctx, l, base)
	}
	if err != nil {
		return err
	}
	now, err := c.tree.snapshot(ctx)
	if err != nil {
		return err
	}
	own := ":(exclude)workshop/" + l.Folder + "/"
	patch, err := c.tree.diff(ctx, base, now, ".", own+"*.patch", own+"README*", own+"lesson_test.go",
		":(exclude)workshop/lessons.toml")
	if err != nil {
		return err
	}
	file := l.file(c.tree.root, name+".patch")
	if !slices.Contains([]string{startPatch, solutionPatch, stepPatch(2), stepPatch(3)}, name+".patch") {
		return fmt.Errorf("SAVE=%s: start, step-2, step-3 or solution", name)
	}
	c.say("%s: %d lines\n", c.tree.short(file), addedLines(patch))
	return os.WriteFile(file, []byte(patch), 0o644) //nolint:gosec // everybody may read it
}

// addedLines are those that somebody writes to get from one side of a patch to the other.
func addedLines(patch string) (n int) {
	for line := range strings.Lines(patch) {
		if strings.HasPrefix(line, "+") && !strings.HasPrefix(line, "+++ ") {
			n++
		}
	}
	return n
}

// work runs the lesson's test, at each change of a file, until it is green.
func (c *classroom) work(ctx context.Context, l lesson, once bool) error {
	for {
		tested, err := c.tree.snapshot(ctx)
		if err != nil {
			return err
		}
		c.say("\ngo test %s ...\n", strings.Join(l.Packages, " "))
		o, err := l.test(ctx, c.tree.root)
		if err != nil {
			return err
		}
		if o.green {
			return c.celebrate(l)
		}
		if err := c.explain(l, o); err != nil || once {
			return err
		}
		c.say("\nWaiting for a change of a file. Ctrl-C leaves; `make lesson N=%d HINT=1` in another terminal helps.\n", l.Number)
		if err := c.tree.waitForChange(ctx, tested); err != nil {
			return err
		}
	}
}

// mostLines of go test's output are shown: a suite that fails in its middle says much that counts for nothing.
const mostLines = 30

// explain shows the line that counts first, then what else go test said.
func (c *classroom) explain(l lesson, o outcome) error {
	step, line := l.step(o)
	switch {
	case step == 0:
		c.say("%s  mend this first; the page of %s does not show this line:\n", c.red("red"), l.name())
	case len(l.Red) > 1:
		c.say("%s  step %d of %d\n", c.red("red"), step, len(l.Red))
	default:
		c.say("%s\n", c.red("red"))
	}
	c.say("\n    %s\n\n", c.red(line))
	if err := c.tree.keep("output.txt", []byte(o.output)); err != nil {
		return err
	}
	lines := strings.SplitAfter(strings.TrimRight(o.output, "\n"), "\n")
	c.say("%s\n", strings.Join(lines[:min(len(lines), mostLines)], ""))
	if len(lines) > mostLines {
		c.say("... and %d more lines in %s\n", len(lines)-mostLines, c.tree.short(c.tree.mine("output.txt")))
	}
	return nil
}

func (c *classroom) celebrate(l lesson) error {
	c.progress.tick(l)
	c.say("%s  %s is done. Now the questions at the end of %s\n", c.green("green"), l.name(), l.page(c.thai))
	if len(l.Neighbours) > 0 {
		c.say("Did it break anything else? `go test %s`\n", strings.Join(l.Neighbours, " "))
	}
	if n, found := c.next(l); found {
		c.say("Next: `make lesson N=%d`, %s (%d minutes). It puts your work aside as a patch.\n", n.Number, n.title(c.thai), n.Minutes)
	} else {
		c.say("That was the last one.\n")
	}
	return c.tree.save(c.progress)
}

// next is the first lesson after this one that is not done, or else the first of all.
func (c *classroom) next(after lesson) (l lesson, found bool) {
	for _, candidate := range c.lessons {
		if !c.progress.done(candidate) && (!found || l.Number <= after.Number && candidate.Number > after.Number) {
			l, found = candidate, true
		}
	}
	return l, found
}

func (c *classroom) say(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

func (c *classroom) red(text string) string   { return c.paint("\x1b[1;31m", text) }
func (c *classroom) green(text string) string { return c.paint("\x1b[1;32m", text) }

func (c *classroom) paint(color, text string) string {
	if !c.color {
		return text
	}
	return color + text + "\x1b[0m"
}
