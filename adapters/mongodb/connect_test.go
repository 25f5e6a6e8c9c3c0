package mongodb_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/ports"
)

func TestAStandaloneServerIsRefusedWithTheCommandThatHelps(t *testing.T) {
	s := startServer(t, "none")
	for name, uri := range map[string]string{
		"asked for any server":      "mongodb://" + s.address + "/",
		"asked for the replica set": "mongodb://" + s.address + "/?replicaSet=rs0&serverSelectionTimeoutMS=2000",
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, uri, mongodb.ErrNotReplicaSet, s.address, "--replSet rs0", "rs.initiate()", "scripts/services up")
		})
	}
}

func TestAServerThatIsDownIsNamedWithoutThePassword(t *testing.T) {
	address := freeAddress(t)
	started := time.Now()
	wantRefused(t, "mongodb://"+address+"/?replicaSet=rs0&serverSelectionTimeoutMS=300", ports.ErrUnavailable,
		address, "scripts/services up", "HEXORDERS_MONGODB_URI")
	wantRefused(t, "mongodb://hex:s3cret@"+address+"/?serverSelectionTimeoutMS=300", ports.ErrUnavailable, address)
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("that took %v, with a timeout of 300ms", took)
	}
}

// Two seconds here and above are for the server to say what it is, on a busy machine.
func TestAnotherReplicaSetIsRefusedByName(t *testing.T) {
	uri := mongotest.With(mongotest.With(mongotest.URI(), "replicaSet", "rs7"), "serverSelectionTimeoutMS", "2000")
	wantRefused(t, uri, nil, `"rs0"`, "replicaSet=rs7", "HEXORDERS_MONGODB_URI")
}

func TestAURIThatCannotBeReadIsRefusedWithoutThePassword(t *testing.T) {
	wantRefused(t, "mongodb://hex:s3cret/x@127.0.0.1:27017/", nil, "percent-encoded")
	wantRefused(t, "localhost:27017", nil, "URI", "scheme")
}

// The change stream waits on one connection for a second at a time: orders took two and more.
func TestAPoolOfOneConnectionIsRefusedWithTheLeastThatWorks(t *testing.T) {
	wantRefused(t, mongotest.With(mongotest.URI(), "maxPoolSize", "1"), nil, "maxPoolSize=1", "maxPoolSize=2", "HEXORDERS_MONGODB_URI")
}

// A tail waits longer than that for the next message.
func TestTheTimeoutOfTheURIEndsNoTail(t *testing.T) {
	uri := mongotest.With(mongotest.With(mongotest.URI(), "timeoutMS", "300"), "maxPoolSize", "2")
	db := mongotest.Connect(t, uri, "hexorders_test_timeout")
	store, outbox := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewOutbox(db, mongodb.OutboxOptions{Logger: quiet})
	save(t, store, newOrder(t, "first", 1))
	ctx, cancel := context.WithCancel(t.Context()) // no deadline: the relay's has none
	defer time.AfterFunc(1200*time.Millisecond, cancel).Stop()
	err := outbox.Tail(ctx, "", func(ports.Message, ports.Position) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the tail ended with %v, want it to go on", err)
	}
}

func TestACancelledConnectEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := mongodb.Connect(ctx, mongotest.URI(), "hexorders", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

func wantRefused(t *testing.T, uri string, want error, words ...string) {
	t.Helper()
	db, err := mongodb.Connect(t.Context(), uri, "hexorders", nil)
	if err == nil {
		_ = db.Client().Disconnect(context.Background())
		t.Fatalf("connected to %s", uri)
	}
	if want != nil && !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the message does not say %q: %v", word, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the message gives the password away: %v", err)
	}
}

// One server of its own goes through all that may happen to a server, because starting one takes seconds.
func TestAServerThatComesAndGoes(t *testing.T) {
	s := startServer(t, "rs0")
	// These make the driver notice within a second or two what it otherwise takes half a minute for.
	uri := "mongodb://" + s.address + "/?replicaSet=rs0&heartbeatFrequencyMS=500&connectTimeoutMS=500&serverSelectionTimeoutMS=500"
	db := mongotest.Connect(t, uri, "hexorders_test")
	store := mongodb.NewStore(db, mongodb.Options{Timeout: time.Second})
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{Logger: quiet})
	o := newOrder(t, "order-1", 1)
	save(t, store, o)
	p := tail(t, outbox, "", 1)[0].position

	// away checks every call while the server is away, and that a tail which was running ends or goes on.
	away := func(t *testing.T, goAway, comeBack func()) {
		t.Helper()
		tailed, next := make(chan error, 1), received{}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		go func() {
			tailed <- outbox.Tail(ctx, p, func(m ports.Message, p ports.Position) error {
				next = received{m, p}
				return errEnough
			})
		}()
		goAway()
		change(t, o, 1)
		parking, lease := mongodb.NewParking(db), mongodb.NewLease(db, "relay")
		for call, do := range map[string]func(context.Context) error{
			"Save":       func(ctx context.Context) error { return store.Save(ctx, o, ports.IdempotencyKey{}) },
			"Get":        func(ctx context.Context) error { _, err := store.Get(ctx, "order-1"); return err },
			"Position":   func(ctx context.Context) error { _, err := outbox.Position(ctx); return err },
			"Checkpoint": func(ctx context.Context) error { return outbox.Checkpoint(ctx, 1, p) },
			"Parked":     func(ctx context.Context) error { _, err := parking.Parked(ctx); return err },
			"Acquire":    func(ctx context.Context) error { _, err := lease.Acquire(ctx, "one", time.Minute); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if err := do(ctx); !errors.Is(err, ports.ErrUnavailable) {
				t.Errorf("%s: got %v, want ErrUnavailable", call, err)
			}
			cancel()
		}
		comeBack()
		retry(t, func() error { return store.Save(t.Context(), o, ports.IdempotencyKey{}) })
		switch err := <-tailed; {
		case ctx.Err() != nil:
			t.Fatal("Tail neither ends nor goes on")
		case errors.Is(err, ports.ErrUnavailable):
			next = tail(t, outbox, p, 1)[0]
		case !errors.Is(err, errEnough):
			t.Errorf("Tail: got %v, want ErrUnavailable", err)
		}
		if next.Version != o.Version() {
			t.Errorf("after the server came back, %s was next, want version %d", next.ID, o.Version())
		}
		p = next.position
	}

	t.Run("it is killed and started again", func(t *testing.T) {
		away(t, func() { s.kill(t, syscall.SIGKILL) }, func() { s.run(t, "up") })
	})
	t.Run("it hangs", func(t *testing.T) {
		away(t, func() { s.kill(t, syscall.SIGSTOP) }, func() { s.kill(t, syscall.SIGCONT) })
	})
	t.Run("it is no longer the primary", func(t *testing.T) {
		command := func(d bson.D) {
			direct, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + s.address + "/?directConnection=true"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = direct.Disconnect(context.Background()) }()
			if err := direct.Database("admin").RunCommand(t.Context(), d).Err(); err != nil {
				t.Fatal(err)
			}
		}
		away(t, func() {
			command(bson.D{{Key: "replSetStepDown", Value: 60}, {Key: "force", Value: true}})
			wantRefused(t, uri, ports.ErrUnavailable, s.address, `"rs0" has no primary`)
		}, func() {
			command(bson.D{{Key: "replSetFreeze", Value: 0}})
		})
	})
}

// retry calls until it works, because a server that comes back takes a moment to be elected and noticed.
func retry(t *testing.T, call func() error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		err := call()
		if err == nil {
			return
		}
		if !errors.Is(err, ports.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// server is a mongod that this test may do anything to.
type server struct {
	address string
	dir     string
	env     []string
}

// startServer starts one with scripts/services. replset "none" makes it a standalone server.
func startServer(t *testing.T, replset string) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "HEXORDERS_") {
			s.env = append(s.env, variable)
		}
	}
	s.env = append(s.env, "SERVICES_NATIVE=1", "SERVICES_DIR="+s.dir,
		"SERVICES_DIST="+cmp.Or(os.Getenv("SERVICES_DIST"), services(t, ".services", "dist")),
		"SERVICES_MONGODB_PORT=free", "SERVICES_MONGODB_REPLSET="+replset)
	t.Cleanup(func() { s.run(t, "down") })
	s.run(t, "up")
	port, err := os.ReadFile(filepath.Join(s.dir, "mongodb.port"))
	if err != nil {
		t.Fatal(err)
	}
	s.address = "127.0.0.1:" + strings.TrimSpace(string(port))
	return s
}

func (s *server) run(t *testing.T, command string) {
	t.Helper()
	c := exec.Command(services(t, "scripts", "services"), command, "mongodb")
	c.Env = s.env
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("scripts/services %s mongodb: %v\n%s", command, err, out)
	}
}

func (s *server) kill(t *testing.T, signal syscall.Signal) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "mongodb.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(fmt.Errorf("signal %v to mongod %d: %w", signal, pid, err))
	}
}

func services(t *testing.T, path ...string) string {
	t.Helper()
	full, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return full
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
