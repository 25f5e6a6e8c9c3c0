package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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

type demoState struct {
	Token string
	State struct {
		Stopped   map[string]bool
		Committed int
		Outbox    struct{ Published, Waiting, Parked, Lost, Duplicates int }
		Dual      struct {
			Published, Lost int
			Orders          []string
		}
		Deleted struct {
			Events, Unread int
			Rebuild        string
		}
	}
}

// state is what the page Break it shows.
func (p *process) state() (s demoState) {
	p.t.Helper()
	eventually(p.t, patience, "the demo says how it is", func() bool {
		response, err := http.Get("http://" + p.addr + "/console/demo/state")
		if err != nil {
			return false // it was killed
		}
		defer func() { _ = response.Body.Close() }()
		s = demoState{}
		return response.StatusCode == http.StatusOK && json.NewDecoder(response.Body).Decode(&s) == nil
	})
	return s
}

// press presses a button of the page Break it and returns the status of the answer.
func (p *process) press(button, token string) int {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.addr+"/console/demo/press/"+button, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("X-Demo-Token", token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func TestBreakItLosesNothingOfTheOutboxAndEventsOfTheDualWrite(t *testing.T) {
	t.Parallel()
	d := newEmbedded(t)
	p := demo(t, environment{}, "--folder", filepath.Dir(d.file))
	press := func(button string) {
		t.Helper()
		if status := p.press(button, p.state().Token); status != http.StatusNoContent {
			t.Fatalf("press %s: %d, want 204", button, status)
		}
	}
	const orders, stages = 500, 6
	total := orders * commands
	begin := make(chan struct{}, total)
	l := &load{orders: orders, clients: 8, client: newClient(p.addr), begin: begin}
	l.start(t.Context())
	released := 0
	stage := func() {
		t.Helper()
		for range total / stages {
			begin <- struct{}{}
			released++
		}
		eventually(t, patience, "the commands of the stage are carried out", func() bool {
			return l.answered.Load()+l.lost.Load() >= int64(released-l.clients)
		})
	}
	for _, button := range []string{"relay", "broker", "views"} {
		press(button)
		if !p.state().State.Stopped[button] {
			t.Errorf("%s is not stopped", button)
		}
		stage()
		press(button)
	}
	press("poison")
	stage()
	before := p.service().Pid
	press("kill")
	stage()
	eventually(t, patience, "another process is there", func() bool { return p.service().Pid != before })
	for ; released < total; released++ {
		begin <- struct{}{}
	}
	close(begin)
	eventually(t, patience, "all that can be published is", func() bool {
		s := p.state().State
		return s.Outbox.Waiting == 0 && s.Outbox.Parked > 0
	})
	press("repair")
	eventually(t, patience, "what was parked is published", func() bool { return p.state().State.Outbox.Parked == 0 })
	if err := l.wait(); err != nil {
		t.Fatal(err)
	}
	d.complete()
	var s demoState
	eventually(t, patience, "the events of the dual write are in its topic or lost", func() bool {
		s = p.state()
		return s.State.Dual.Published+s.State.Dual.Lost == s.State.Committed
	})
	t.Logf("%+v; %s", s.State, l)
	if s.State.Outbox.Lost != 0 || s.State.Outbox.Published != s.State.Committed {
		t.Errorf("the outbox lost %d of %d events and published %d", s.State.Outbox.Lost, s.State.Committed, s.State.Outbox.Published)
	}
	if s.State.Dual.Lost == 0 || len(s.State.Dual.Orders) == 0 {
		t.Errorf("the dual write lost %d events, of %v: want some", s.State.Dual.Lost, s.State.Dual.Orders)
	}
	if v, code, said := verify(t, d.env, "30s"); code != 0 || v.Events != s.State.Committed || v.Duplicates != s.State.Outbox.Duplicates {
		t.Errorf("the page says %+v, verify ends with %d and says\n%s", s.State, code, said)
	}
	p.signal(syscall.SIGINT)
	if code := p.wait(10 * time.Second); code != 0 {
		t.Errorf("exit code after SIGINT: %d, want 0", code)
	}
	if lost := d.lostByDualWrite(); lost != s.State.Dual.Lost {
		t.Errorf("the page says that the dual write lost %d events, verify counts %d", s.State.Dual.Lost, lost)
	}
	if report := d.judge(s.State.Outbox.Duplicates, l.told()); report.Committed != s.State.Committed {
		t.Errorf("the page counted %d events, the file has %d", s.State.Committed, report.Committed)
	}
	viewsOf(t, d.serve("serve"), d.topic())
}

// lostByDualWrite lets verify compare a copy of the store with the topic of the dual write.
func (d *defaults) lostByDualWrite() (lost int) {
	d.t.Helper()
	dual := filepath.Join(filepath.Dir(d.file), "dual-write.db")
	copied := filepath.Join(d.t.TempDir(), "copy.db")
	if _, err := d.db.Exec(`VACUUM INTO ?`, copied); err != nil {
		d.t.Fatal(err)
	}
	db, err := sql.Open("sqlite", copied)
	if err != nil {
		d.t.Fatal(err)
	}
	db.SetMaxOpenConns(1) // an ATTACH is of a connection
	defer func() { _ = db.Close() }()
	for _, statement := range []string{`ATTACH '` + dual + `' AS dual`, `DELETE FROM topic`, `INSERT INTO topic SELECT * FROM dual.topic`} {
		if _, err := db.Exec(statement); err != nil {
			d.t.Fatalf("%s: %v", statement, err)
		}
	}
	v, _, _ := verify(d.t, d.env.with("HEXORDERS_SQLITE_PATH", copied), "100ms")
	for _, difference := range v.Differences {
		if difference.Kind == "missing-in-topic" {
			lost = difference.Count
		}
	}
	return lost
}

// Records that are deleted before the views have read them are missing in the views, and the page says so, also after a
// restart. They are not lost: they were in the topic. The command that the page shows brings them back from the store.
func TestBreakItSaysWhatTheViewsLackWhenRecordsAreDeleted(t *testing.T) {
	t.Parallel()
	p := demo(t, environment{}, "--folder", filepath.Join(t.TempDir(), "malee's folder"))
	incomplete := ""
	press := func(button string) {
		t.Helper()
		if status := p.press(button, p.state().Token); status != http.StatusNoContent {
			t.Fatalf("press %s: %d, want 204", button, status)
		}
	}
	ordersOf := func(buyer string) int {
		response, err := http.Get("http://" + p.addr + "/orders?buyerId=" + buyer)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		incomplete = response.Header.Get("View-Incomplete")
		var page struct{ Orders []struct{ ID string } }
		if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
			t.Fatal(err)
		}
		return len(page.Orders)
	}
	place := func(buyer string) {
		t.Helper()
		before := p.state().State.Outbox.Published
		response, err := http.Post("http://"+p.addr+"/orders", "application/json",
			strings.NewReader(`{"buyerId":"`+buyer+`","items":[{"productId":"1111","amount":1}]}`))
		if err != nil || response.StatusCode != http.StatusCreated {
			t.Fatalf("place an order: %v, %v", response, err)
		}
		_ = response.Body.Close()
		eventually(t, patience, "the event is in the topic", func() bool { return p.state().State.Outbox.Published == before+1 })
	}
	place("read")
	eventually(t, patience, "the view has read it", func() bool { return ordersOf("read") == 1 })
	press("views")
	place("unread")
	place("unread")
	press("delete")
	press("views")
	place("later")
	eventually(t, patience, "the view has read what came later", func() bool { return ordersOf("later") == 1 })
	check := func() {
		t.Helper()
		eventually(t, patience, "the page has counted", func() bool { s := p.state().State; return s.Committed == 4 && s.Deleted.Events == 3 })
		s := p.state().State
		if s.Deleted.Unread != 2 || s.Outbox.Published != 4 || s.Outbox.Lost != 0 || ordersOf("read") != 1 || ordersOf("unread") != 0 {
			t.Errorf("the page says %+v, and the list of the deleted has %d orders", s, ordersOf("unread"))
		}
		if incomplete != "messages-deleted" {
			t.Errorf("the list says View-Incomplete: %q, want messages-deleted", incomplete)
		}
	}
	check()
	service := p.service()
	if err := service.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "another process is there", func() bool { return p.service().Pid != service.Pid })
	check()

	rebuild := strings.Replace(p.state().State.Deleted.Rebuild, " hexorders ", " "+program+" ", 1)
	if said, code := ends(t, exec.Command("sh", "-c", rebuild), environment{}); code != 0 {
		t.Errorf("%s ends with %d and says\n%s", rebuild, code, said)
	}
	if s := p.state().State; s.Deleted.Unread != 0 || s.Deleted.Events != 3 || ordersOf("unread") != 2 || incomplete != "" {
		t.Errorf("after the rebuild the page says %+v, and the list, incomplete: %q, has %d orders", s, incomplete, ordersOf("unread"))
	}
}

func TestOnlyThePageOfADemoCanBreakIt(t *testing.T) {
	t.Parallel()
	p := demo(t, environment{"TMPDIR": t.TempDir()})
	if status := p.press("relay", "guessed"); status != http.StatusForbidden || p.state().State.Stopped["relay"] {
		t.Errorf("with a wrong token: %d, want 403 and nothing stopped", status)
	}
	// The token is not for a page whose host name was made to lead here.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.addr+"/console/demo/state", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "rebound.example"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _ = response.Body.Close(); response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("the state for another host: %d, want 421", response.StatusCode)
	}
	d := newEmbedded(t)
	other := d.serve("serve")
	for _, path := range []string{"break.html", "state"} {
		response, err := http.Get("http://" + other.addr + "/console/demo/" + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s in a service that is no demo: %d, want 404", path, response.StatusCode)
		}
	}
}
