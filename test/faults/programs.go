package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A program is a build of hexorders, in the folder of the run.
type program string

const (
	current   program = "hexorders"
	before    program = "hexorders-before" // of the version before
	withClock program = "hexorders-clock"  // its clock can be set
)

// versionBefore is a commit that people can have in production while they upgrade to this one.
const versionBefore = "7202c15"

// build builds the programs that the faults need.
func build(ctx context.Context, folder string, chosen []fault) error {
	repository, err := repository()
	if err != nil {
		return err
	}
	builds := map[program]func() error{
		current:   func() error { return goBuild(ctx, folder, current, repository) },
		before:    func() error { return buildBefore(ctx, folder, repository) },
		withClock: func() error { return buildWithClock(ctx, folder, repository) },
	}
	needed := map[program]bool{current: true}
	for _, f := range chosen {
		needed[f.startsWith()] = true
	}
	for p := range needed {
		if err := builds[p](); err != nil {
			return err
		}
	}
	return nil
}

func (f fault) startsWith() program { return cmp.Or(f.program, current) }

func goBuild(ctx context.Context, folder string, p program, checkout string, flags ...string) error {
	args := slices.Concat([]string{"build"}, flags, []string{"-o", filepath.Join(folder, string(p)), "./cmd/hexorders"})
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = checkout
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", c, err, output)
	}
	return nil
}

func buildBefore(ctx context.Context, folder, repository string) error {
	checkout := filepath.Join(folder, "before")
	if err := sh("mkdir %[1]s; git -C %[2]s archive %[3]s | tar -x -C %[1]s", checkout, repository, versionBefore); err != nil {
		return fmt.Errorf("the version before is commit %s, which a shallow clone lacks: %w", versionBefore, err)
	}
	return goBuild(ctx, folder, before, checkout, "-buildvcs=false")
}

// buildWithClock builds the program with a package time of which clockCode is a part.
func buildWithClock(ctx context.Context, folder, repository string) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	standard := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(standard, "time.go"))
	if err != nil {
		return err
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if bytes.Count(source, []byte(now)) != 1 {
		return fmt.Errorf("%s/time.go does not have %q any more: change programs.go", standard, now)
	}
	source = bytes.Replace(source, []byte(now), []byte(now+"\tsec += clockOffset()\n"), 1)
	changed, added := filepath.Join(folder, "time.go"), filepath.Join(folder, "clock.go")
	overlay := filepath.Join(folder, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(standard, "time.go"): changed, filepath.Join(standard, "clock_offset.go"): added,
	}})
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(changed, source, 0o600), os.WriteFile(added, []byte(clockCode), 0o600),
		os.WriteFile(overlay, replace, 0o600))
	if err != nil {
		return err
	}
	return goBuild(ctx, folder, withClock, repository, "-overlay", overlay)
}

func repository() (string, error) {
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("run it inside the checkout: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}
