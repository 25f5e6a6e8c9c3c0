package e2e

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/mongodb/mongotest"
	"hexorders/test/certificates"
)

// The README's flow over a MongoDB and a Kafka with TLS and users, a process for each role, and each with a user who may do
// what docs/secure.md lists and no more; then what doctor says of wrong settings. It is one test, because starting such
// servers takes seconds.
func TestSecuredServers(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	var starting sync.WaitGroup
	for _, server := range []string{"mongodb", "kafka"} {
		starting.Go(func() { s.do(t, "up", server) })
	}
	starting.Wait()
	w := newWorld(t, s.servers)
	w.mongoUser("owner", "p%40ss", bson.A{bson.D{{Key: "role", Value: "dbOwner"}, {Key: "db", Value: w.source.Database}}})
	w.env["HEXORDERS_MONGODB_URI"] = s.uriFor("owner", "p%40ss")
	expires := startExpiring(t, s, w)
	t.Run("the flow with least rights", func(t *testing.T) {
		leastRights(t, s, w, slices.Concat(listedRights(t, ofMongoDB), listedRights(t, ofKafka)))
	})
	t.Run("doctor", func(t *testing.T) {
		// All wait for answers, so four settings are tried at a time.
		for some := range slices.Chunk(wrongSettings(t, s, w), 4) {
			t.Run("", func(t *testing.T) { // what it starts ends with it
				for _, check := range tried(t, w, some) {
					check()
				}
			})
		}
	})
	t.Run("a certificate expires while the service runs", func(t *testing.T) { expires.check(t, s) })
}

// tried starts doctor and the service with each of the settings, and returns the checks of what they say.
func tried(t *testing.T, w *world, settings []wrongSetting) (checks []func()) {
	t.Helper()
	for _, c := range settings {
		doctor := launch(t, "doctor", c.env, "doctor")
		checks = append(checks, func() {
			t.Run(c.name, func(t *testing.T) {
				doctor.wait(patience)
				output := doctor.output.String()
				for line := range strings.Lines(output) {
					if strings.HasPrefix(line, c.mark) && containsAll(line, c.says) {
						t.Log(line)
						return
					}
				}
				t.Errorf("doctor has no line %q with %q:\n%s", c.mark, c.says, output)
			})
		})
		if !strings.HasPrefix(c.mark, "BAD") {
			continue
		}
		service := launch(t, c.name, c.env.with("HEXORDERS_HTTP_ADDR", w.newAddr()), "serve")
		checks = append(checks, func() {
			t.Run("start with "+c.name, func(t *testing.T) {
				eventually(t, patience, "the start says what is wrong", func() bool {
					return containsAll(strings.ReplaceAll(service.output.String(), `\"`, `"`), c.says)
				})
			})
		})
	}
	return checks
}

// expiring is a service whose certificate for MongoDB expires.
type expiring struct {
	process *process
	client  *client
	at      time.Time
}

func startExpiring(t *testing.T, s *secured, w *world) *expiring {
	t.Helper()
	const life, database = 20 * time.Second, "e2e-expiring"
	w.mongoUser("CN=short,OU=services,O=hexorders", "", bson.A{bson.D{{Key: "role", Value: "dbOwner"}, {Key: "db", Value: database}}})
	env := w.env.with("HEXORDERS_MONGODB_DATABASE", database).with("HEXORDERS_BROKER", "inproc").with("HEXORDERS_HTTP_ADDR", w.newAddr())
	e := &expiring{client: newClient(env["HEXORDERS_HTTP_ADDR"]), at: time.Now().Add(life)}
	own := s.ca.Issue(t, "short", certificates.Wish{Valid: life})
	e.process = launch(t, "expiring", env.with("HEXORDERS_MONGODB_URI", s.uri(own)), "serve").ready()
	return e
}

// check: the service goes on with the connections that it has; when it needs new ones it says what is wrong and is not ready;
// and it goes on with the renewed file, without a restart.
func (e *expiring) check(t *testing.T, s *secured) {
	order := func() int {
		a, err := e.client.do(t.Context(), "POST", "/orders", `{"buyerId":"9999"}`)
		if err != nil {
			t.Error(err)
		}
		return a.status
	}
	eventually(t, patience, "the certificate has expired", func() bool { return time.Now().After(e.at) })
	if status, ready := order(), e.process.readiness(); status != 201 || ready != 200 {
		t.Errorf("over the connections that it has: an order gets %d, readiness is %d, want 201 and 200", status, ready)
	}
	s.do(t, "down", "mongodb")
	s.do(t, "up", "mongodb")
	e.process.says("short.pem (tlsCertificateKeyFile in HEXORDERS_MONGODB_URI) expired at", patience)
	if ready := e.process.readiness(); ready != 503 {
		t.Errorf("without a connection readiness is %d, want 503", ready)
	}
	s.ca.Issue(t, "short", certificates.Wish{})
	renewed := time.Now()
	e.process.ready()
	t.Logf("ready %s after the file was renewed", time.Since(renewed))
	if status := order(); status != 201 {
		t.Errorf("with the renewed certificate an order gets %d, want 201", status)
	}
}

// leastRights prepares a world and lets each role do all its work with these rights alone.
func leastRights(t testing.TB, s *secured, w *world, rights []right) {
	t.Helper()
	w.createTopic("4096")
	w.command("views", "status") // the owner of the database prepares it once
	var mongo, kafka []right
	for _, r := range rights {
		switch r.server {
		case ofMongoDB:
			mongo = append(mongo, r)
		case ofKafka:
			kafka = append(kafka, r)
		}
	}
	w.grantInMongoDB(mongo)
	w.grantInKafka(kafka)
	user := func(role string) environment {
		uri := s.uri(s.ca.Issue(t, w.userOf(role), certificates.Wish{})) + "&appName=" + w.source.Database
		return w.env.with("HEXORDERS_MONGODB_URI", uri)
	}
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("relay-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	relay := s.kafkaUser(user("relay"), "relay").with("HEXORDERS_KAFKA_SASL_PASSWORD_FILE", secret)
	delete(relay, "HEXORDERS_KAFKA_SASL_PASSWORD")
	e := &employee{t, w, map[string]environment{"api": user("api"), "relay": relay, "views": s.kafkaUser(user("views"), "views")}}
	e.works(w.fullDisk)
	old := bson.D{{Key: "name", Value: bson.D{{Key: "$regex", Value: `^readmodel\.1\.`}}}}
	left, err := w.mongo.Database(w.source.Database).ListCollectionNames(t.Context(), old)
	if err != nil || len(left) > 0 {
		t.Errorf("views %s: after a rebuild the collections of the old views are still there: %v, error %v", lacksARight, left, err)
	}
}

// oneFullDisk: the server has one such switch.
var oneFullDisk sync.Mutex

// fullDisk makes the server answer the world's next insert as one with a full disk does.
func (w *world) fullDisk() (freed func()) {
	w.t.Helper()
	oneFullDisk.Lock()
	set := func(ctx context.Context, mode any) error {
		_, err := mongotest.SetFailPoint(ctx, w.mongo, w.source.Database, mode, "insert", bson.D{{Key: "errorCode", Value: 14031}})
		return err
	}
	freed = sync.OnceFunc(func() {
		defer oneFullDisk.Unlock()
		if err := set(context.WithoutCancel(w.t.Context()), "off"); err != nil {
			w.t.Errorf("free the disk: %v", err)
		}
	})
	w.t.Cleanup(freed)
	if err := set(w.t.Context(), "alwaysOn"); err != nil {
		w.t.Fatal(err)
	}
	return freed
}

// mongoUser makes a user: with a password, or without one of that certificate.
func (w *world) mongoUser(name, password string, roles bson.A) {
	w.t.Helper()
	database, command := "$external", bson.D{{Key: "createUser", Value: name}, {Key: "roles", Value: roles}}
	if password != "" {
		database, command = "admin", append(command, bson.E{Key: "pwd", Value: strings.ReplaceAll(password, "%40", "@")})
	}
	if err := w.mongo.Database(database).RunCommand(w.t.Context(), command).Err(); err != nil {
		w.t.Fatal(err)
	}
}

type wrongSetting struct {
	name string
	env  environment
	mark string // how the line of doctor begins
	says []string
}

func wrongSettings(t *testing.T, s *secured, w *world) []wrongSetting {
	t.Helper()
	another := certificates.New(t, "another")
	expired := s.ca.Issue(t, "api-expired", certificates.Wish{Valid: -time.Minute})
	trusted := s.ca.Issue(t, "stranger", certificates.Wish{})
	late := lateServer(t, s.ca.Issue(t, "late", certificates.Wish{Hosts: []string{"127.0.0.1"}, Valid: -time.Minute}))
	// A doctor who is asked about one server sees the other without a fault.
	mongo := w.env.with("HEXORDERS_BROKER", "inproc").with("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	kafka := s.kafkaUser(mongo.with("HEXORDERS_STORE", "memory").with("HEXORDERS_BROKER", "kafka"), "relay")
	in := func(text, old, replacement string) environment {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in %q", old, text)
		}
		return mongo.with("HEXORDERS_MONGODB_URI", strings.Replace(text, old, replacement, 1))
	}
	right := s.uriFor("owner", "p%40ss")
	kafkaSSL := mongo.with("HEXORDERS_STORE", "memory").with("HEXORDERS_BROKER", "kafka").with("HEXORDERS_KAFKA_BROKERS", s.ssl).
		with("HEXORDERS_KAFKA_SECURITY_PROTOCOL", "ssl").with("HEXORDERS_KAFKA_SSL_CA", s.ca.File)
	certificate := func(own certificates.Files) environment {
		return kafkaSSL.with("HEXORDERS_KAFKA_SSL_CERTIFICATE", own.Certificate).with("HEXORDERS_KAFKA_SSL_KEY", own.Key)
	}
	plain := kafka.with("HEXORDERS_KAFKA_SASL_MECHANISM", "plain").with("HEXORDERS_KAFKA_SASL_PASSWORD", "plain-secret")
	return []wrongSetting{
		{"MongoDB: right", in(right, "p%40ss", "p%40ss"), "ok    store", nil},
		{"MongoDB: wrong password", in(right, "p%40ss", "hunter2"), "BAD   store",
			[]string{`refuses the user "owner"`, "HEXORDERS_MONGODB_URI"}},
		{"MongoDB: untrusted", in(right, s.ca.File, another.File), "BAD   store", []string{"unknown authority", "set tlsCAFile"}},
		{"MongoDB: host name", in(right, "127.0.0.1", "localhost"), "BAD   store",
			[]string{"localhost", "a name in the server's certificate"}},
		{"MongoDB: expired", in(right, s.mongo, late), "BAD   store", []string{"expired", "renew it"}},
		{"MongoDB: own certificate expired", mongo.with("HEXORDERS_MONGODB_URI", s.uri(expired)), "BAD   store",
			[]string{"tlsCertificateKeyFile", "expired at", "renew it"}},
		{"MongoDB: unknown certificate", mongo.with("HEXORDERS_MONGODB_URI", s.uri(trusted)), "BAD   store",
			[]string{"CN=stranger,OU=services,O=hexorders", "create this user in the database $external"}},
		{"MongoDB: no TLS", in(right, "tls=true&tlsCAFile="+s.ca.File, "w=1"), "BAD   store", []string{"wants TLS: add tls=true"}},
		{"MongoDB: no rights", mongo.with("HEXORDERS_MONGODB_URI", s.uri(s.ca.Issue(t, w.userOf("relay"), certificates.Wish{}))).
			with("HEXORDERS_MONGODB_DATABASE", "other"), "BAD   store", []string{"not authorized on other", "docs/secure.md"}},

		{"Kafka: scram-sha-512", kafka, "ok    broker", nil},
		{"Kafka: scram-sha-256", kafka.with("HEXORDERS_KAFKA_SASL_MECHANISM", "scram-sha-256"), "ok    broker", nil},
		{"Kafka: plain", plain, "ok    broker", nil},
		{"Kafka: without TLS", plain.with("HEXORDERS_KAFKA_BROKERS", s.saslPlaintext).with("HEXORDERS_KAFKA_SSL_CA", "system").
			with("HEXORDERS_KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"), "ok    broker", nil},
		{"Kafka: wrong password", kafka.with("HEXORDERS_KAFKA_SASL_PASSWORD", "hunter2"), "BAD   broker",
			[]string{`refuses the user "relay"`, "HEXORDERS_KAFKA_SASL_PASSWORD"}},
		{"Kafka: untrusted", kafka.with("HEXORDERS_KAFKA_SSL_CA", another.File), "BAD   broker",
			[]string{"unknown authority", "set HEXORDERS_KAFKA_SSL_CA"}},
		{"Kafka: host name", kafka.with("HEXORDERS_KAFKA_BROKERS", strings.Replace(s.saslSSL, "127.0.0.1", "localhost", 1)), "BAD   broker",
			[]string{"localhost", "a name in the broker's certificate"}},
		{"Kafka: expired", kafka.with("HEXORDERS_KAFKA_BROKERS", late), "BAD   broker", []string{"expired", "renew it"}},
		{"Kafka: own certificate", certificate(trusted), "BAD   broker", []string{"authorization failed", "docs/secure.md"}},
		{"Kafka: own certificate expired", certificate(expired), "BAD   broker", []string{"HEXORDERS_KAFKA_SSL_CERTIFICATE", "expired at"}},
		{"Kafka: no certificate", kafkaSSL, "BAD   broker", []string{"Set HEXORDERS_KAFKA_SSL_CERTIFICATE"}},
		{"Kafka: no TLS", mongo.with("HEXORDERS_STORE", "memory").with("HEXORDERS_BROKER", "kafka").
			with("HEXORDERS_KAFKA_BROKERS", s.saslSSL), "BAD   broker", []string{"wants TLS: set HEXORDERS_KAFKA_SECURITY_PROTOCOL"}},
		{"Kafka: TLS where there is none", kafka.with("HEXORDERS_KAFKA_BROKERS", s.brokers), "BAD   broker",
			[]string{"this port takes no TLS"}},
		{"Kafka: no rights", kafka.with("HEXORDERS_KAFKA_TOPIC", "other"), "BAD   broker",
			[]string{"authorization failed", "docs/secure.md"}},
	}
}

// lateServer is what a server looks like whose certificate has expired: neither mongod nor Kafka starts with such a one.
func lateServer(t *testing.T, own certificates.Files) (address string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(own.Certificate, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = connection.(*tls.Conn).Handshake() // it fails: the client does not accept the certificate
				_ = connection.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

func containsAll(line string, passages []string) bool {
	for _, passage := range passages {
		if !strings.Contains(line, passage) {
			return false
		}
	}
	return true
}
