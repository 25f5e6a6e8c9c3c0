package docs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

// loop is what bash runs: each command as if it were typed, its own end marked. Commands come through descriptor 3, so
// that none can eat the next. When descriptor 4 closes the test is over, however it ended, and so is everything that
// was started here.
const loop = `
{ read -r -u 4; kill -9 -- -$$; } 3<&- >/dev/null 2>&1 &
disown
while IFS= read -r -d '' -u 3 command; do
  eval "$command" </dev/null 3<&- 4<&-
  printf '\n%s %d\n' "$MARK" $?
done
`

// shell is a bash in which a page is typed.
type shell struct {
	t        testing.TB
	commands io.Writer
	output   chan string // lines, with their ends
	mark     string
}

func newShell(t testing.TB, environment []string) *shell {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatalf("install bash, which the pages are written for: %v", err)
	}
	s := &shell{t: t, output: make(chan string, 1000), mark: "end-" + uuid.NewString()}
	commands, commandsIn := pipe(t)
	life, lifeIn := pipe(t)
	outputOut, output := pipe(t)
	c := exec.Command(bash, "-c", loop)
	c.Dir = repository
	c.Env = append(environment, "MARK="+s.mark, "TMPDIR="+t.TempDir()) // where mktemp makes its folders
	c.Stdout, c.Stderr, c.ExtraFiles = output, output, []*os.File{commands, life}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for _, theirs := range []*os.File{commands, life, output} {
		_ = theirs.Close()
	}
	s.commands = commandsIn
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(s.output)
		for lines := bufio.NewReader(outputOut); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return // the last process that could write has ended
			}
			s.output <- line
		}
	}()
	t.Cleanup(func() {
		_ = lifeIn.Close()
		for range s.output {
		}
		<-read
		_ = c.Wait() // it was killed
		_, _ = commandsIn.Close(), outputOut.Close()
	})
	return s
}

// patience is for one command. The longest one compiles the program in a new clone, beside other tests.
const patience = 5 * time.Minute

// run types a command and returns what it prints, errors included.
func (s *shell) run(command string) (output string, exitCode int, err error) {
	if _, err := io.WriteString(s.commands, command+"\x00"); err != nil {
		return "", 0, err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, open := <-s.output:
			if !open {
				return output, 0, fmt.Errorf("the shell has ended")
			}
			if code, found := strings.CutPrefix(line, s.mark+" "); found {
				exitCode, err := strconv.Atoi(strings.TrimSpace(code))
				return strings.TrimSuffix(output, "\n"), exitCode, err
			}
			output += line
		case <-late.C:
			return output, 0, fmt.Errorf("it has not ended after %s", patience)
		}
	}
}

func pipe(t testing.TB) (out, in *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

// passing are lines that may come or not: what a bash without a terminal says about its jobs, in other words than one
// with a terminal, and that the broker is still making the topic.
var passing = regexp.MustCompile(`(?m)^(\S*bash: line \d+: +\d+ Killed .*|waiting: .*)\n`)

// follow types all of a page's commands and compares what comes.
func follow(t *testing.T, w *world, page string) {
	t.Helper()
	steps, _, err := parse(read(t, page), w.setup)
	if err != nil {
		t.Fatalf("%s, %v", page, err)
	}
	if len(steps) == 0 {
		t.Fatalf("%s has no commands", page)
	}
	s := newShell(t, w.environment())
	known := newIDs()
	for _, step := range steps {
		where := fmt.Sprintf("%s:%d: %s", page, step.line, step.command)
		command, err := known.inCommand(step.command)
		if err != nil {
			t.Fatalf("%s\n%v", where, err)
		}
		output, code, err := s.run(strings.NewReplacer("localhost:8080", w.addr, "127.0.0.1:8080", w.addr).Replace(command))
		if err != nil {
			t.Fatalf("%s\n%v\n%s", where, err, output)
		}
		if code != 0 {
			t.Errorf("%s\nexit code %d", where, code)
		}
		if err := known.compare(step.output, w.asOnPage(output)); err != nil {
			t.Errorf("%s\n%v", where, err)
		}
		if t.Failed() {
			return // what follows would only follow from it
		}
	}
	t.Logf("%s: %d commands", page, len(steps))
}

// asOnPage puts the default places in place of this test's.
func (w *world) asOnPage(output string) string {
	output = passing.ReplaceAllString(output, "")
	for name, usual := range map[string]string{
		"HEXORDERS_HTTP_ADDR":        "127.0.0.1:8080",
		"HEXORDERS_MONGODB_URI":      "mongodb://127.0.0.1:27017/?replicaSet=rs0",
		"HEXORDERS_MONGODB_DATABASE": "hexorders",
		"HEXORDERS_KAFKA_BROKERS":    "127.0.0.1:9092",
		"HEXORDERS_KAFKA_TOPIC":      "orders.events",
	} {
		if here := w.places[name]; here != "" {
			output = strings.ReplaceAll(output, here, usual)
		}
	}
	return output
}

func TestTheShellSaysWhatCommandsPrint(t *testing.T) {
	t.Parallel()
	s := newShell(t, os.Environ())
	for _, x := range []struct {
		command, output string
		code            int
	}{
		{"x=5", "", 0},
		{"echo $x; echo to stderr >&2", "5\nto stderr\n", 0},
		{"printf 'no end of line'", "no end of line", 0},
		{"cat", "", 0}, // gets nothing to read, the next command least of all
		{"sh -c 'exit 3'", "", 3},
		{"for i in 1 2; do echo \\\n  $i; done", "1\n2\n", 0},
		{"seq 1000000 | head -n 1", "1\n", 0},
	} {
		output, code, err := s.run(x.command)
		if output != x.output || code != x.code || err != nil {
			t.Errorf("%s: output %q, exit code %d, error %v; want %q, %d", x.command, output, code, err, x.output, x.code)
		}
	}
}

func TestWhatTheShellStartedEndsWithTheTest(t *testing.T) {
	t.Parallel()
	var pid int
	t.Run("", func(t *testing.T) {
		s := newShell(t, os.Environ())
		output, _, err := s.run("tail -f /dev/null & echo $!") // waits for ever
		if err != nil {
			t.Fatal(err)
		}
		if pid, err = strconv.Atoi(strings.TrimSpace(output)); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("process %d is not there: %v", pid, err)
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(pid, 0) == nil && !zombie(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlives the test that started it", pid)
		}
	}
}

// zombie: nobody may have asked yet how the process ended.
func zombie(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(status), ") Z ")
}
