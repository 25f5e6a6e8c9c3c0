package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// As in `hexorders 2>&1 | head -n 3`.
func TestTheServiceOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	d := newEmbedded(t)
	logReader, log, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := d.starts(exec.Command(program), log)
	_ = log.Close() // the process has its own
	p.ready()
	if err := logReader.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // each writes a line of the access log
		a, err := newClient(d.addr).do(t.Context(), "POST", "/orders", `{"buyerId":"9999"}`)
		if err != nil || a.status != http.StatusCreated {
			t.Fatalf("POST /orders: answer %s, error %v, want 201 (%v)", a, err, p.cmd.ProcessState)
		}
	}
	if code := p.stop(); code != 0 {
		t.Errorf("SIGTERM ends it with %s, want exit code 0", p.cmd.ProcessState)
	}
}

func TestAHangupStopsTheServiceInOrder(t *testing.T) {
	t.Parallel()
	// A test runner under nohup ignores SIGHUP, and its children would inherit that.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	p := newEmbedded(t).serve("serve")
	p.signal(syscall.SIGHUP)
	if code := p.wait(10 * time.Second); code != 0 {
		t.Errorf("SIGHUP ends it with %s, want exit code 0", p.cmd.ProcessState)
	}
	if !p.output.contains(`"msg":"stopped"`) {
		t.Error("it does not log that it has stopped")
	}
}

// nohup starts a program with SIGHUP ignored, so that it outlives its terminal.
func TestAHangupIsIgnoredUnderNohup(t *testing.T) {
	t.Parallel()
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Fatal(err)
	}
	d := newEmbedded(t)
	var log buffer
	p := d.starts(exec.Command(nohup, program), &log)
	p.ready()
	p.signal(syscall.SIGHUP)
	if err := pause(t.Context(), time.Second/2); err != nil {
		t.Fatal(err)
	}
	if status := p.readiness(); status != http.StatusOK || log.contains("stopping") {
		t.Errorf("after SIGHUP readiness is %d, want 200", status)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("SIGTERM ends it with %s, want exit code 0", p.cmd.ProcessState)
	}
}

// starts runs a command whose output goes to log.
func (d *defaults) starts(c *exec.Cmd, log io.Writer) *process {
	d.t.Helper()
	p := &process{t: d.t, name: "serve", addr: d.addr, ended: make(chan struct{}), cmd: c}
	c.Dir, c.Env, c.SysProcAttr = d.t.TempDir(), d.env.list(), dieWithUs()
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // ProcessState has the result
		close(p.ended)
	}()
	d.t.Cleanup(p.kill)
	return p
}
