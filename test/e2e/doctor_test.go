package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// noFileYet is the line about a store that serving creates. Doctor does not create it.
const noFileYet = "note store|file does not exist|start the service, which creates it|HEXORDERS_SQLITE_PATH"

func TestDoctorFindsNothingWrong(t *testing.T) {
	t.Parallel()
	t.Run("with the embedded default", func(t *testing.T) {
		t.Parallel()
		d := newEmbedded(t)
		doctor(t, program, d.env, 0, "ok settings", "ok address|"+d.addr+" is free", noFileYet+"|"+d.file,
			"ok broker|in this process", "ok cgo")
	})
	t.Run("with nothing that lasts", func(t *testing.T) {
		t.Parallel()
		doctor(t, program, newEmbedded(t).env.with("HEXORDERS_STORE", "memory"), 0, "ok settings", "ok address", "ok store",
			"note broker|in memory only|HEXORDERS_BROKER=kafka keeps them", "ok relay|in the process that serves", "ok views", "ok cgo")
	})
	t.Run("with a service that runs", func(t *testing.T) {
		t.Parallel()
		d := newEmbedded(t)
		d.serve("serve")
		client := newClient(d.addr)
		for _, path := range []string{"/orders?buyerId=nobody", "/buyers/nobody/activity", "/orders/none/timeline"} {
			eventually(t, patience, "the view of "+path+" is filled", func() bool {
				a, err := client.do(t.Context(), "GET", path, "")
				return err == nil && a.header.Get("View-Age") != ""
			})
		}
		doctor(t, program, d.env, 0, "ok settings", "ok address|a service is running at "+d.addr, "ok store",
			"ok broker", "ok relay|holds the lease and publishes", "ok views|up to date as of", "ok cgo")
	})
	t.Run("without cgo, which only Kafka needs", func(t *testing.T) {
		t.Parallel()
		without, err := programWithoutCgo()
		if err != nil {
			t.Fatal(err)
		}
		doctor(t, without, newEmbedded(t).env, 0, "ok settings", "ok address", noFileYet, "ok broker",
			"note cgo|install gcc")
	})
	t.Run("with MongoDB and Kafka", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		// A topic that is missing is no fault: serving creates it.
		doctor(t, program, w.env, 0, "ok settings", "ok address", "ok store|orders are kept in database "+w.source.Database,
			"ok replicas", "ok clock",
			"note broker|the topic does not exist: "+w.source.Topic+"|`hexorders serve` creates it",
			"ok relay|no relay holds the lease", "note views|no process has filled them yet", "ok cgo")
		w.createTopic("1048588")
		doctor(t, program, w.env, 0, "ok settings", "ok address", "ok store", "ok replicas", "ok clock",
			"ok broker|Kafka answers at "+w.source.Brokers+", topic "+w.source.Topic+" is there",
			"ok relay|no relay holds the lease", "note views|no process has filled them yet", "ok cgo")
	})
}

// One thing is broken at a time: that line says what and how to mend it, and the others are as they were.
func TestDoctorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	t.Run("two variables", func(t *testing.T) {
		t.Parallel()
		env := newEmbedded(t).env.with("HEXORDERS_STORE", "mongo").with("HEXORDERS_LOG_LEVEL", "loud")
		doctor(t, program, env, 1, "BAD settings|2 settings are wrong",
			"|HEXORDERS_STORE=mongo: must be sqlite, memory, mongodb, mongodb-events or postgres",
			"|HEXORDERS_LOG_LEVEL=loud: must be debug, info, warn or error")
	})
	t.Run("a variable that nothing reads", func(t *testing.T) {
		t.Parallel()
		env := newEmbedded(t).env.with("HEXORDERS_MONGO_URI", "mongodb://db/")
		doctor(t, program, env, 0, "ok settings", "note settings|did you mean HEXORDERS_MONGODB_URI?", "ok address",
			noFileYet, "ok broker", "ok cgo")
	})
	t.Run("a stranger has the port and answers like one", func(t *testing.T) {
		t.Parallel()
		stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, "<html>welcome</html>") // 200, whatever the path is
		}))
		t.Cleanup(stranger.Close)
		d := newEmbedded(t)
		addr := stranger.Listener.Addr().String()
		doctor(t, program, d.env.with("HEXORDERS_HTTP_ADDR", addr), 1, "ok settings",
			"BAD address|cannot listen on "+addr+", the port is taken|choose another with HEXORDERS_HTTP_ADDR",
			noFileYet, "ok broker", "ok cgo")
	})
	t.Run("a stranger has the port and says nothing", func(t *testing.T) {
		t.Parallel()
		d := newEmbedded(t)
		silent, err := net.Listen("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = silent.Close() })
		doctor(t, program, d.env, 1, "ok settings", "BAD address|the port is taken|HEXORDERS_HTTP_ADDR", noFileYet,
			"ok broker", "ok cgo")
	})
	t.Run("the folder of the database", func(t *testing.T) {
		t.Parallel()
		d := newEmbedded(t)
		env := d.env.with("HEXORDERS_SQLITE_PATH", filepath.Join(filepath.Dir(d.file), "data", "hexorders.db"))
		doctor(t, program, env, 1, "ok settings", "ok address",
			"BAD store|the folder does not exist: create it|HEXORDERS_SQLITE_PATH", "ok broker", "ok cgo")
	})
	t.Run("MongoDB is down", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		nobody := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		env := w.env.with("HEXORDERS_MONGODB_URI", "mongodb://"+nobody+"/?replicaSet=rs0").with("HEXORDERS_BROKER", "inproc")
		doctor(t, program, env, 1, "ok settings", "ok address",
			"BAD store|no MongoDB answers at "+nobody+"|scripts/services up|HEXORDERS_MONGODB_URI",
			"ok broker|kept beside the orders", "ok cgo")
	})
	t.Run("MongoDB is not a replica set", func(t *testing.T) {
		t.Parallel()
		own := newPrivate(t, "SERVICES_MONGODB_REPLSET=none")
		own.do(t, "up", "mongodb")
		w := newWorld(t, servers{own.mongoURI, shared(t).brokers})
		w.createTopic("1048588")
		doctor(t, program, w.env, 1, "ok settings", "ok address",
			"BAD store|not a replica set|--replSet rs0|rs.initiate()", "ok broker", "ok cgo")
	})
	t.Run("Kafka is down", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		nobody := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		doctor(t, program, w.env.with("HEXORDERS_KAFKA_BROKERS", nobody), 1, "ok settings", "ok address", "ok store",
			"ok replicas", "ok clock",
			"BAD broker|no Kafka broker answers at "+nobody+"|scripts/services up|HEXORDERS_KAFKA_BROKERS",
			"ok relay|no relay holds the lease", "note views|no process has filled them yet", "ok cgo")
	})
	t.Run("Kafka without cgo", func(t *testing.T) {
		t.Parallel()
		without, err := programWithoutCgo()
		if err != nil {
			t.Fatal(err)
		}
		env := newEmbedded(t).env.with("HEXORDERS_BROKER", "kafka")
		doctor(t, without, env, 1, "ok settings", "ok address", noFileYet,
			"BAD broker|built without cgo|install gcc|CGO_ENABLED=1|HEXORDERS_BROKER=inproc", "BAD cgo|install gcc")
	})
}

// doctor runs `hexorders doctor` and expects these lines and no others. Each is given as its mark and what it is about,
// then passages that it must have: "BAD store|create it|HEXORDERS_SQLITE_PATH".
func doctor(t *testing.T, binary string, env environment, exitCode int, want ...string) {
	t.Helper()
	output, code := ends(t, exec.Command(binary, "doctor"), env)
	t.Logf("exit code %d\n%s", code, output)
	if code != exitCode {
		t.Errorf("exit code %d, want %d", code, exitCode)
	}
	lines := strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	if exitCode != 0 {
		bad := 0
		for _, line := range want {
			if strings.HasPrefix(line, "BAD ") {
				bad++
			}
		}
		want = append(want, fmt.Sprintf("|hexorders: %d of these checks failed", bad))
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d", len(lines), len(want))
	}
	for i, line := range lines {
		passages := strings.Split(want[i], "|")
		if mark, about, found := strings.Cut(passages[0], " "); found {
			passages[0] = fmt.Sprintf("%-4s  %-9s  ", mark, about) // in columns
		}
		for _, passage := range passages {
			if !strings.Contains(line, passage) {
				t.Errorf("line %d is %q, want it to say %q", i+1, line, passage)
			}
		}
	}
}

// backlogOldAfter is when a waiting event is reported, and a second for the clocks.
const backlogOldAfter = 11 * time.Second

// Orders are taken while no relay runs. After a while doctor and outbox status say so, over each store.
func TestABacklogThatNobodyPublishesIsReported(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"mongodb", "mongodb-events"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, shared(t))
			w.env = w.env.with("HEXORDERS_STORE", store).with("HEXORDERS_BROKER", "inproc")
			api := w.serve("api", "--roles", "api")
			if _, err := w.client().do(t.Context(), "POST", "/orders", `{"buyerId":"9999"}`); err != nil {
				t.Fatal(err)
			}
			ordered := time.Now()
			if got := w.command("outbox", "status"); !strings.Contains(got, "\nrelay       none holds the lease\n") {
				t.Errorf("with a new event outbox status prints\n%s", got)
			}
			const stuck = "nobody publishes: no relay holds the lease, and event "
			// Not asked a hundred times meanwhile: each time is a process.
			eventually(t, patience, "the event is old", func() bool { return time.Since(ordered) > backlogOldAfter })
			if got := w.command("outbox", "status"); !strings.Contains(got, stuck) {
				t.Errorf("with an old event outbox status prints\n%s", got)
			}
			output, code := ends(t, exec.Command(program, "doctor"), w.env)
			if !strings.Contains(output, "note  relay      "+stuck) || code != 0 {
				t.Errorf("doctor ends with %d and prints\n%s", code, output)
			}
			api.kill()
			w.serve("all").says(holdsLease, patience)
			eventually(t, patience, "outbox status names the relay", func() bool {
				return strings.Contains(w.command("outbox", "status"), " holds the lease\n") &&
					!strings.Contains(w.command("outbox", "status"), "none holds")
			})
		})
	}
}
