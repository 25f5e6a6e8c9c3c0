// Package e2e runs the built program as a process, against a real MongoDB and a real Kafka, as its users do, and
// judges what it left behind with package checker, whose Kafka client is not the program's.
//
// A test that stops or breaks a server has one of its own (servers_test.go); the others share the one that
// scripts/services or scripts/with-services started, each with a database and a topic of its own.
//
// Variables:
//
//	HEXORDERS_TEST_MONGODB_URI, HEXORDERS_TEST_KAFKA_BROKERS   the shared servers; scripts/services' defaults otherwise
//	HEXORDERS_E2E_SCALE=10                                     ten times the orders and kills
//	HEXORDERS_E2E_OUTAGE=5s                                    how long Kafka stays away; a minute otherwise
//	HEXORDERS_E2E_REBUILD=1000000                              so many events to rebuild the views from; 30,000 otherwise
//	HEXORDERS_E2E_RACE=1                                       the program under test has the race detector
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// program is the built binary.
var program string

func TestMain(m *testing.M) {
	// These tests mostly wait, for servers to start and leases to run out; one a processor would leave it idle. What
	// `go test -parallel` says wins, because it is parsed later.
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hexorders-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "hexorders")
	args := []string{"build", "-o", program}
	if os.Getenv("HEXORDERS_E2E_RACE") == "1" {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "./cmd/hexorders")...)
	build.Dir = repository
	build.Env = append(os.Environ(), "CGO_ENABLED=1") // the Kafka client needs it
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, output)
		return 1
	}
	return m.Run()
}

// repository is the checkout: tests run in the folder of their package.
var repository = func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
}()

// scale multiplies the size of the tests that kill things.
var scale = func() int {
	n, err := strconv.Atoi(setting("HEXORDERS_E2E_SCALE", "1"))
	if err != nil || n < 1 {
		panic("HEXORDERS_E2E_SCALE must be a whole number from 1 on")
	}
	return n
}()

// rebuilt is how many events there are to rebuild the views from.
var rebuilt = func() int {
	n, err := strconv.Atoi(setting("HEXORDERS_E2E_REBUILD", "30000"))
	if err != nil || n < 10*commands {
		panic("HEXORDERS_E2E_REBUILD must be a whole number from 30 on")
	}
	return n / commands * commands
}()

// outage is how long Kafka stays away.
var outage = func() time.Duration {
	d, err := time.ParseDuration(setting("HEXORDERS_E2E_OUTAGE", "60s"))
	if err != nil {
		panic("HEXORDERS_E2E_OUTAGE must be a duration such as 5s")
	}
	return d
}()

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// cleanEnvironment is ours without what would configure the program or the servers: what a shell has set must not
// change a result.
func cleanEnvironment() []string {
	var clean []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "HEXORDERS_") && !strings.HasPrefix(variable, "OTEL_") {
			clean = append(clean, variable)
		}
	}
	return clean
}

// patience is how long a test waits for what has no time promised: long, because a machine may be busy with other things,
// and what is broken stays broken.
const patience = 2 * time.Minute

// eventually polls until a condition holds, and fails the test when it does not in time.
func eventually(t testing.TB, timeout time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", timeout, what)
		case <-t.Context().Done():
			t.Fatalf("the test ended before this: %s", what)
		}
	}
}
