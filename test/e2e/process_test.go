package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is the program under test, running.
type process struct {
	t      testing.TB
	name   string
	addr   string // where it serves HTTP
	cmd    *exec.Cmd
	output buffer
	ended  chan struct{}
	memory int // the most that it had so far, in MiB, as far as anybody looked
}

// environment are the program's variables.
type environment map[string]string

func (e environment) with(name, value string) environment {
	other := maps.Clone(e)
	other[name] = value
	return other
}

func (e environment) list() []string {
	list := cleanEnvironment()
	for _, name := range slices.Sorted(maps.Keys(e)) {
		list = append(list, name+"="+e[name])
	}
	return list
}

// launch starts the program. Whatever becomes of the test, the process ends with it, and a failed test shows what
// the process had to say.
func launch(t testing.TB, name string, env environment, args ...string) *process {
	t.Helper()
	return launchOther(t, program, name, env, args...)
}

func launchOther(t testing.TB, program, name string, env environment, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, addr: env["HEXORDERS_HTTP_ADDR"], ended: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = t.TempDir() // so that a .env or a database file of the checkout plays no part
	p.cmd.Env = env.list()
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = dieWithUs()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		for _, sign := range []string{"DATA RACE", "panic: "} {
			if p.output.contains(sign) {
				t.Errorf("%s says %q", p.name, sign)
			}
		}
		if t.Failed() {
			t.Logf("output of %s (pid %d, %s), without its access log:\n%s", p.name, p.cmd.Process.Pid,
				p.cmd.ProcessState, p.output.remarkable())
		}
	})
	return p
}

// ready waits until the process says that it is.
func (p *process) ready() *process {
	p.t.Helper()
	eventually(p.t, patience, p.name+" is ready", func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("%s ended while it started: %s", p.name, p.cmd.ProcessState)
		default:
		}
		return p.readiness() == http.StatusOK
	})
	return p
}

// readiness is the status of /readyz, 0 when nothing answers.
func (p *process) readiness() int {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + p.addr + "/readyz")
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// says waits until the process has logged something.
func (p *process) says(what string, timeout time.Duration) {
	p.t.Helper()
	eventually(p.t, timeout, fmt.Sprintf("%s says %q", p.name, what), func() bool { return p.output.contains(what) })
}

const holdsLease = "relay holds the lease"

// kill is kill -9: nothing in the process gets to know of it.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// stop asks the process to end and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.wait(10 * time.Second)
}

// signal sends one to this process and no other.
func (p *process) signal(s syscall.Signal) {
	// It fails only when the process has ended, and then there is nobody to tell.
	_ = p.cmd.Process.Signal(s)
}

func (p *process) wait(timeout time.Duration) int {
	p.t.Helper()
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		p.t.Fatalf("%s still runs after %s", p.name, timeout)
	}
	return p.cmd.ProcessState.ExitCode()
}

// buffer is what a process has written so far.
type buffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *buffer) contains(what string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Contains(b.text, []byte(what))
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// remarkable are the beginnings of the last lines that are not about a request that went well.
func (b *buffer) remarkable() string {
	const most, longest = 20, 300
	var lines []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, `"msg":"request"`) && strings.Contains(line, `"level":"INFO"`) {
			continue
		}
		if len(line) > longest {
			line = line[:longest] + "...\n"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines[max(0, len(lines)-most):], "")
}
