package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// outcome is what a lesson's test said.
type outcome struct {
	green  bool
	output string
	took   time.Duration
}

// test runs the lesson's test in a checkout.
func (l lesson) test(ctx context.Context, root string) (outcome, error) {
	args := append([]string{"-tags", "exercise"}, l.Flags...)
	if l.Run != "" {
		args = append(args, "-run", l.Run)
	}
	return goTest(ctx, root, append(args, l.Packages...)...)
}

// goTest runs go test. That tests are red is no error, that there are none is one.
func goTest(ctx context.Context, root string, args ...string) (outcome, error) {
	command := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1"}, args...)...)
	command.Dir = root
	// A suite that waits for what never comes gives up early: in a lesson that is usual. A caller may want more patience.
	command.Env = append([]string{"PORTTEST_PATIENCE=5s"}, os.Environ()...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	began := time.Now()
	err := command.Run()
	o := outcome{green: err == nil, output: output.String(), took: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return o, ctx.Err()
	case err != nil && !errors.As(err, &exit):
		return o, err
	case o.green && (strings.Contains(o.output, "[no tests to run]") || strings.Contains(o.output, "[no test files]")):
		return o, errors.New("go test finds no test:\n" + o.output)
	}
	return o, nil
}

// says is the line of the output that has a text in it, "" if none has.
func (o outcome) says(text string) string {
	for line := range strings.Lines(o.output) {
		if strings.Contains(line, text) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// step is the step of the lesson that is red, from 1, and the line that says so; 0 when it is red for another reason. The
// tests stand in the order of the work, so the first one that fails decides: a step that is half done is not done.
func (l lesson) step(o outcome) (step int, line string) {
	first := o.firstFailure()
	for i, text := range l.Red {
		if line := first.says(text); line != "" {
			return i + 1, line
		}
	}
	return 0, first.reason()
}

// firstFailure is what the first test that failed said; all of it when no test has run.
func (o outcome) firstFailure() outcome {
	const failed = "\n--- FAIL: "
	if _, from, found := strings.Cut("\n"+o.output, failed); found {
		first, _, _ := strings.Cut(from, failed)
		o.output = first
	}
	return o
}

var position = regexp.MustCompile(`^\s*\S+\.go:\d+:`)

// reason is the first line that names a place in a Go file, of the compiler or of a test.
func (o outcome) reason() string {
	for line := range strings.Lines(o.output) {
		if position.MatchString(line) {
			return strings.TrimSpace(line)
		}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(o.output), "\n")
	return first
}
