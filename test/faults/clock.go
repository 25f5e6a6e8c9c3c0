package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The clock of a service can be set: its program is built with a time package whose Now adds the seconds that a file says.
// Go asks the kernel for the time without libc, so that libfaketime has no hold on it, and the program itself is not
// changed for this.
const (
	clockVar  = "HEXORDERS_FAULTS_CLOCK"
	clockCode = `package time

import "syscall"

var clockFile, _ = syscall.Getenv("` + clockVar + `")

func clockOffset() (seconds int64) {
	if clockFile == "" {
		return 0
	}
	f, err := syscall.Open(clockFile, syscall.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	var text [16]byte
	n, _ := syscall.Read(f, text[:])
	syscall.Close(f)
	sign := int64(1)
	for _, c := range text[:max(n, 0)] {
		if c == '-' {
			sign = -1
		} else if c >= '0' && c <= '9' {
			seconds = 10*seconds + int64(c-'0')
		}
	}
	return sign * seconds
}
`
)

func (b *bed) buildWithClock(ctx context.Context) (program string, err error) {
	program = filepath.Join(b.folder, "hexorders-clock")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(folder, "time.go"))
	if err != nil {
		return "", err
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if bytes.Count(source, []byte(now)) != 1 {
		return "", fmt.Errorf("%s/time.go does not have %q any more: change clock.go", folder, now)
	}
	source = bytes.Replace(source, []byte(now), []byte(now+"\tsec += clockOffset()\n"), 1)
	changed, added := filepath.Join(b.folder, "time.go"), filepath.Join(b.folder, "clock.go")
	overlay := filepath.Join(b.folder, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(folder, "time.go"): changed, filepath.Join(folder, "clock_offset.go"): added,
	}})
	if err != nil {
		return "", err
	}
	err = errors.Join(os.WriteFile(changed, source, 0o600), os.WriteFile(added, []byte(clockCode), 0o600),
		os.WriteFile(overlay, replace, 0o600))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", program, "./cmd/hexorders")
	build.Dir = b.repository
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", build, err, output)
	}
	return program, nil
}

// clock makes the fault that sets one service's clock.
func clock(by time.Duration) func(context.Context, *bed) error {
	return func(ctx context.Context, b *bed) error {
		program, err := b.buildWithClock(ctx)
		if err != nil {
			return err
		}
		node, file := hexes[0], filepath.Join(b.folder, "clock")
		if _, err := b.stop(node, short); err != nil {
			return err
		}
		b.environment = append(b.environment, clockVar+"="+file)
		if err := b.serveWith(ctx, program, node); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(int(by/time.Second))), 0o600); err != nil {
			return err
		}
		return errors.Join(b.clockIs(ctx, node, by), wait(ctx, short), os.Remove(file))
	}
}

// clockIs proves that the clock was set: the Date of an answer tells.
func (b *bed) clockIs(ctx context.Context, node string, by time.Duration) error {
	return b.until(ctx, "the clock of "+node+" is set", func(ctx context.Context) error {
		o, err := newClients([]string{b.base(node)}).command(ctx, 0, 201, "/orders", `{"buyerId":"clock"}`)
		if err != nil {
			return err
		}
		text, err := read(ctx, b.base(node)+"/orders/"+o.ID)
		if err != nil {
			return err
		}
		var said struct{ CreatedAt time.Time }
		if err := json.Unmarshal([]byte(text), &said); err != nil {
			return err
		}
		if off := time.Until(said.CreatedAt); (off - by).Abs() > time.Minute {
			return fmt.Errorf("an order was created %s from now", off)
		}
		return nil
	})
}
