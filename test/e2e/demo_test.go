package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var consoleIsAt = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)/console/`)

// demo starts `hexorders demo` and waits until it has said everything.
func demo(t testing.TB, env environment, args ...string) *process {
	t.Helper()
	p := launch(t, "demo", env, append([]string{"demo"}, args...)...)
	eventually(t, patience, "the demo has said everything", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("the demo ended while it started: %s", p.cmd.ProcessState)
		default:
		}
		return p.output.contains("Ctrl-C stops it.")
	})
	found := consoleIsAt.FindStringSubmatch(p.output.String())
	if found == nil {
		t.Fatalf("the demo does not say where the console is:\n%s", &p.output)
	}
	p.addr = found[1]
	return p
}

// service is the process that the demo watches over.
func (p *process) service() *os.Process {
	p.t.Helper()
	var service *os.Process
	eventually(p.t, patience, "the demo has a process for the service", func() bool {
		children, _ := exec.Command("pgrep", "-P", strconv.Itoa(p.cmd.Process.Pid)).Output() // it fails when there is none
		pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
		if err != nil {
			return false
		}
		service, err = os.FindProcess(pid)
		return err == nil
	})
	return service
}

func TestTheDemoStartsEverythingAndSaysWhatToType(t *testing.T) {
	t.Parallel()
	lookAtProgram()
	folder := t.TempDir()
	// A setting that the service could not start with does not count.
	p := demo(t, environment{"HEXORDERS_STORE": "none"}, "--folder", folder+"/kept")
	said := p.output.String()
	if !strings.Contains(said, folder+"/kept and stays there") {
		t.Errorf("it does not say where everything is:\n%s", said)
	}
	answers := map[string]string{}
	for line := range strings.Lines(said) {
		if command := strings.TrimSpace(line); strings.HasPrefix(command, "curl ") {
			answer, err := exec.Command("sh", "-c", "curl -sSf"+strings.TrimPrefix(command, "curl")).CombinedOutput()
			if err != nil || !json.Valid(answer) {
				t.Errorf("%s: %v, %s", command, err, answer)
			}
			answers[command] = string(answer)
		}
	}
	if len(answers) != 3 {
		t.Errorf("it says %d lines with curl, want 3:\n%s", len(answers), said)
	}
	eventually(t, patience, "the order is in a list", func() bool {
		response, err := http.Get("http://" + p.addr + "/orders?buyerId=9999")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		var page struct{ Orders []struct{ ID string } }
		if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
			t.Fatal(err)
		}
		return len(page.Orders) == 1
	})
	service := p.service()
	p.signal(syscall.SIGINT)
	if code := p.wait(10 * time.Second); code != 0 {
		t.Errorf("exit code after SIGINT: %d, want 0", code)
	}
	if err := service.Signal(syscall.Signal(0)); err == nil {
		t.Errorf("the service, process %d, outlives the demo", service.Pid)
	}
	if _, err := os.Stat(folder + "/kept/hexorders.db"); err != nil {
		t.Errorf("the folder was to be kept: %v", err)
	}
}

func TestAServiceThatIsKilledComesBackAndNoOrderOfTheTrickleFails(t *testing.T) {
	t.Parallel()
	lookAtProgram()
	temporary := t.TempDir()
	p := demo(t, environment{"TMPDIR": temporary}, "--orders", "50")
	paid := func() int {
		response, err := http.Get("http://" + p.addr + "/orders?status=paid&limit=200")
		if err != nil {
			return 0
		}
		defer func() { _ = response.Body.Close() }()
		var page struct{ Orders []struct{ ID string } }
		_ = json.NewDecoder(response.Body).Decode(&page) // the service may have been killed meanwhile
		return len(page.Orders)
	}
	for kill := range 2 {
		before := 20 * (kill + 1)
		eventually(t, patience, fmt.Sprintf("%d orders are paid", before), func() bool { return paid() >= before })
		service := p.service()
		if err := service.Kill(); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "another process is there", func() bool { return p.service().Pid != service.Pid })
	}
	eventually(t, patience, "60 orders are paid", func() bool { return paid() >= 60 })
	p.signal(syscall.SIGINT)
	if code := p.wait(10 * time.Second); code != 0 {
		t.Errorf("exit code after SIGINT: %d, want 0", code)
	}
	if n := strings.Count(p.output.String(), "it starts again"); n != 2 {
		t.Errorf("it says %d times that the service starts again, want 2", n)
	}
	if p.output.contains("failed") {
		t.Error("an order of the trickle failed")
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("of the temporary folder %v is left, %v", left, err)
	}
}

func TestTheServiceOfADemoThatIsKilledStops(t *testing.T) {
	t.Parallel()
	lookAtProgram()
	p := demo(t, environment{"TMPDIR": t.TempDir()})
	service := p.service()
	p.kill()
	eventually(t, patience, "the service has stopped", func() bool { return service.Signal(syscall.Signal(0)) != nil })
}
