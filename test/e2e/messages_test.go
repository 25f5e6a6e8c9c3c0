package e2e

import (
	"net"
	"strings"
	"testing"
	"time"
)

// What is wrong with the surroundings is said in a sentence with the way out, and the process ends.
func TestClearMessages(t *testing.T) {
	t.Parallel()
	t.Run("MongoDB is not a replica set", func(t *testing.T) {
		t.Parallel()
		own := newPrivate(t, "SERVICES_MONGODB_REPLSET=none")
		own.do(t, "up", "mongodb")
		w := newWorld(t, servers{own.mongoURI, shared(t).brokers})
		fixes := []string{"not a replica set", "--replSet rs0", "rs.initiate()"}
		complains(t, w.env, fixes...)
		// A URI without the set's name makes the driver connect, and the program find out later.
		alone, _, _ := strings.Cut(own.mongoURI, "?")
		complains(t, w.env.with("HEXORDERS_MONGODB_URI", alone), fixes...)
	})
	t.Run("MongoDB is down", func(t *testing.T) {
		t.Parallel()
		own := newPrivate(t)
		w := newWorld(t, servers{own.mongoURI, shared(t).brokers})
		complains(t, w.env, own.mongoURI[len("mongodb://"):strings.Index(own.mongoURI, "/?")], "scripts/services up",
			"HEXORDERS_MONGODB_URI")
	})
	t.Run("the port is taken", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		listener, err := net.Listen("tcp", w.env["HEXORDERS_HTTP_ADDR"])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		complains(t, w.env, w.env["HEXORDERS_HTTP_ADDR"], "HEXORDERS_HTTP_ADDR")
	})
	t.Run("the store is unknown", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		complains(t, w.env.with("HEXORDERS_STORE", "mongo"), "HEXORDERS_STORE=mongo: must be ", " mongodb")
	})
	t.Run("several variables are wrong", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		env := w.env.with("HEXORDERS_STORE", "mongo").with("HEXORDERS_BROKER", "rabbit").
			with("HEXORDERS_HTTP_ADDR", "nowhere").with("HEXORDERS_LOG_LEVEL", "loud")
		complains(t, env, "HEXORDERS_STORE", "HEXORDERS_BROKER", "HEXORDERS_HTTP_ADDR", "HEXORDERS_LOG_LEVEL")
	})
}

// complains starts the program and expects it to end soon, having said all of these and nothing unseemly.
func complains(t *testing.T, env environment, want ...string) {
	t.Helper()
	started := time.Now()
	p := launch(t, "serve", env, "serve")
	code := p.wait(10 * time.Second)
	output := p.output.String()
	t.Logf("exit code %d after %.1f s:\n%s", code, time.Since(started).Seconds(), output)
	if code == 0 {
		t.Error("exit code is 0, want another")
	}
	for _, text := range want {
		if !strings.Contains(output, text) {
			t.Errorf("the message does not say %q", text)
		}
	}
	for _, text := range []string{"panic", "goroutine ", ".go:"} {
		if strings.Contains(output, text) {
			t.Errorf("the message shows the inside of the program: %q", text)
		}
	}
}
