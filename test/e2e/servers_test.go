package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// servers are a MongoDB and a Kafka.
type servers struct {
	mongoURI string
	brokers  string
}

// shared are the servers that all tests use that leave them as they are. A test fails when they are not there: a
// test that was skipped has shown nothing.
func shared(t testing.TB) servers {
	t.Helper()
	if err := sharedAnswer(); err != nil {
		t.Fatalf("run scripts/services up: %v", err)
	}
	return sharedServers
}

var sharedServers = servers{
	mongoURI: setting("HEXORDERS_TEST_MONGODB_URI", "mongodb://127.0.0.1:27017/?replicaSet=rs0"),
	brokers:  setting("HEXORDERS_TEST_KAFKA_BROKERS", "127.0.0.1:9092"),
}

var sharedAnswer = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(sharedServers.mongoURI))
	if err != nil {
		return fmt.Errorf("MongoDB: %w", err)
	}
	defer func() { _ = client.Disconnect(context.Background()) }()
	if err := client.Ping(ctx, readpref.Primary()); err != nil {
		return fmt.Errorf("MongoDB at %s: %w", sharedServers.mongoURI, err)
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(sharedServers.brokers, ",")...))
	if err != nil {
		return fmt.Errorf("Kafka: %w", err)
	}
	defer kafka.Close()
	if err := kafka.Ping(ctx); err != nil {
		return fmt.Errorf("Kafka at %s: %w", sharedServers.brokers, err)
	}
	return nil
})

// private are servers of one test, which starts and stops them as it likes; they are stopped when it ends. None runs
// at first.
type private struct {
	servers
	postgresURI, natsURL string
	folder               string         // of their data
	ports                map[string]int // by the name of the server
	environment          []string
}

func newPrivate(t testing.TB, settings ...string) *private {
	t.Helper()
	p := &private{folder: t.TempDir(), ports: map[string]int{}}
	// PostgreSQL runs as another user when this one is root.
	if err := os.Chmod(filepath.Dir(p.folder), 0o711); err != nil {
		t.Fatal(err)
	}
	p.environment = append(cleanEnvironment(),
		"SERVICES_NATIVE=1", // a server of its own is a process, not a project of a Docker engine
		"SERVICES_DIR="+p.folder,
		"SERVICES_DIST="+setting("SERVICES_DIST", filepath.Join(repository, ".services", "dist")),
		"SERVICES_MONGODB_REPLSET=rs0",
		"SERVICES_KAFKA_HEAP=256m",
	)
	names := []string{"mongodb", "kafka", "postgres", "nats"}
	for _, name := range names {
		p.ports[name] = freePort(t)
		p.environment = append(p.environment, fmt.Sprintf("SERVICES_%s_PORT=%d", strings.ToUpper(name), p.ports[name]))
	}
	p.environment = append(p.environment, settings...)
	p.mongoURI = fmt.Sprintf("mongodb://127.0.0.1:%d/?replicaSet=rs0", p.ports["mongodb"])
	p.brokers = fmt.Sprintf("127.0.0.1:%d", p.ports["kafka"])
	p.postgresURI = fmt.Sprintf("postgres://127.0.0.1:%d/hexorders?user=hexorders", p.ports["postgres"])
	p.natsURL = fmt.Sprintf("nats://127.0.0.1:%d", p.ports["nats"])
	t.Cleanup(func() {
		if output, err := p.command("down", names...).CombinedOutput(); err != nil {
			t.Errorf("the private servers could not be stopped: %v\n%s", err, output)
		}
	})
	return p
}

// do runs scripts/services up or down for one server and waits until it is ready or gone.
func (p *private) do(t testing.TB, command, server string) {
	t.Helper()
	if output, err := p.command(command, server).CombinedOutput(); err != nil {
		t.Fatalf("scripts/services %s %s: %v\n%s", command, server, err, output)
	}
}

func (p *private) command(command string, servers ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(repository, "scripts", "services"), append([]string{command}, servers...)...)
	c.Env = p.environment
	return c
}

// kill sends SIGKILL to a server and waits until its port is free: the kernel closes the files of a dead process a moment
// later.
func (p *private) kill(t testing.TB, server string) {
	t.Helper()
	p.signal(t, server, syscall.SIGKILL)
	eventually(t, patience, "the port of the dead server is free", func() bool { return free(p.ports[server]) })
}

func (p *private) signal(t testing.TB, server string, s syscall.Signal) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.folder, server+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, s)
	}
	if err != nil {
		t.Fatalf("%v to %s: %v", s, server, err)
	}
}

// ports are handed out once each, since a test needs its port to be its own also while nothing listens on it. They
// are below those that the kernel gives to outgoing connections.
var ports struct {
	sync.Mutex
	given []int
}

func freePort(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	const lowest, highest = 20000, 31998
	start := lowest + (os.Getpid()*2654435761)%(highest-lowest)
	for i := range highest - lowest {
		port := lowest + (start-lowest+3*i)%(highest-lowest)
		// The one above must be free as well: Kafka's controller takes it.
		if slices.Contains(ports.given, port) || slices.Contains(ports.given, port+1) || slices.Contains(ports.given, port-1) ||
			!free(port) || !free(port+1) {
			continue
		}
		ports.given = append(ports.given, port)
		return port
	}
	t.Fatal("no port is free")
	return 0
}

func free(port int) bool {
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
