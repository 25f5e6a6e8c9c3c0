package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// tick is the unit of times in /proc, on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// processorTime is what a process has used so far, in user mode and in the kernel.
func processorTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold spaces. Of what follows it, utime and stime are the fields 12 and 13.
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has an unknown form: %s", pid, text)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, err
}

// peakMemory is the most that a process has had in memory, in MiB.
func peakMemory(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kilobytes, err := strconv.ParseFloat(field(string(status), "VmHWM"), 64)
	return kilobytes / 1024, err
}

// mallocs is how many allocations the service has made.
func (p *process) mallocs() (float64, error) { return p.metric("go_memstats_mallocs_total") }

// metric is a figure without labels that the service tells of itself.
func (p *process) metric(name string) (float64, error) {
	text, err := p.get(context.Background(), "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("GET /metrics does not tell %s", name)
}

func ownMallocs() (float64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs), nil
}

// field is what follows a name and a colon in a text of such lines, without its unit.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == name {
			return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB"))
		}
	}
	return ""
}

// serverTime is the processor time that mongod has used, as it says itself.
func (l *lab) serverTime(ctx context.Context) (time.Duration, error) {
	var status struct {
		Extra struct {
			User   int64 `bson:"user_time_us"`
			System int64 `bson:"system_time_us"`
		} `bson:"extra_info"`
	}
	err := l.client.Database("admin").RunCommand(ctx, bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status)
	return time.Duration(status.Extra.User+status.Extra.System) * time.Microsecond, err
}

// findBroker is the process that listens at the first of Kafka's addresses, 0 when none on this machine does, as when it runs
// in a container.
func findBroker(brokers string) (pid int, err error) {
	first, _, _ := strings.Cut(brokers, ",")
	_, port, err := net.SplitHostPort(first)
	if err != nil {
		return 0, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return 0, err
	}
	// A line of the kernel's table: its number, the local address, the remote one, the state (0A is listening), ..., and as
	// the tenth field the socket.
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if to, err := os.Readlink(file); err == nil && sockets[to] {
			return strconv.Atoi(strings.Split(file, "/")[2])
		}
	}
	return 0, err
}

// meter measures what a process, mongod and Kafka use while something runs.
type meter struct {
	lab     *lab
	pid     int
	counts  func() (float64, error) // of allocations; nil when nobody counts them
	process time.Duration
	server  time.Duration
	broker  time.Duration
	mallocs float64
}

func (l *lab) startMeter(ctx context.Context, pid int, counts func() (float64, error)) (meter, error) {
	m := meter{lab: l, pid: pid, counts: counts}
	return m, m.look(ctx)
}

func (m *meter) look(ctx context.Context) (err error) {
	if m.counts != nil {
		if m.mallocs, err = m.counts(); err != nil {
			return err
		}
	}
	if m.process, err = processorTime(m.pid); err != nil {
		return err
	}
	if m.lab.broker != 0 {
		if m.broker, err = processorTime(m.lab.broker); err != nil {
			return err
		}
	}
	m.server, err = m.lab.serverTime(ctx)
	return err
}

// read fills in what each of so many operations cost since the start.
func (m meter) read(ctx context.Context, s *sample, operations int) error {
	now := m
	if err := now.look(ctx); err != nil {
		return err
	}
	n := max(operations, 1)
	s.cpu = (now.process - m.process) / time.Duration(n)
	s.serverCPU = (now.server - m.server) / time.Duration(n)
	s.brokerCPU = (now.broker - m.broker) / time.Duration(n)
	s.mallocs = (now.mallocs - m.mallocs) / float64(n)
	return nil
}
