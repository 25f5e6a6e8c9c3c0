package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kversion"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// fact is a thing that figures depend on.
type fact struct{ Name, Value string }

// describe says on what is measured.
func (l *lab) describe(ctx context.Context) ([]fact, error) {
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	kilobytes, err := strconv.ParseFloat(field(string(memory), "MemTotal"), 64)
	if err != nil {
		return nil, fmt.Errorf("/proc/meminfo: %w", err)
	}
	var mongod struct {
		Version string `bson:"version"`
	}
	if err := l.client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&mongod); err != nil {
		return nil, err
	}
	kafka, err := l.kafkaVersion(ctx)
	if err != nil {
		return nil, err
	}
	kafka += ", one broker"
	if l.broker == 0 {
		kafka += ", no process of this machine: its processor time is missing in all sums"
	}
	facts := []fact{
		{"processor", fmt.Sprintf("%s, %d cores for everything", field(string(cpus), "model name"), runtime.NumCPU())},
		{"memory", fmt.Sprintf("%.0f GiB", kilobytes/(1<<20))},
		{"kernel", "Linux " + strings.TrimSpace(string(kernel))},
		{"MongoDB", mongod.Version + ", a replica set of one member"},
		{"Kafka", kafka},
		{"Go", strings.TrimPrefix(runtime.Version(), "go")},
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			switch module.Path {
			case "go.mongodb.org/mongo-driver/v2", "github.com/confluentinc/confluent-kafka-go/v2",
				"github.com/gin-gonic/gin", "github.com/tsenart/vegeta/v12", "github.com/valyala/fasthttp":
				facts = append(facts, fact{module.Path, module.Version})
			}
		}
	}
	commit, err := output(ctx, "git", "-C", l.repository, "describe", "--always", "--dirty")
	if err != nil {
		commit = "unknown: not a checkout"
	}
	return append(facts, fact{"commit", commit}), nil
}

// kafkaVersion is a guess by what the broker can do; it does not tell its version.
func (l *lab) kafkaVersion(ctx context.Context) (string, error) {
	versions, err := l.admin.ApiVersions(ctx)
	if err != nil {
		return "", err
	}
	for _, broker := range versions {
		if broker.Err != nil {
			return "", broker.Err
		}
		return strings.TrimPrefix(kversion.FromApiVersionsResponse(broker.Raw()).VersionGuess(), "v"), nil
	}
	return "", fmt.Errorf("no broker answers at %s", l.brokers)
}

// loadAverage is what the machine does beside: how many processes wanted to run over the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}
