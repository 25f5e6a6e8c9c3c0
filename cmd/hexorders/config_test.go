package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/adapters/kafka"
	"hexorders/adapters/nats"
	"hexorders/test/certificates"
)

// cleanEnvironment takes away what the shell that runs the tests has set; the test's end brings it back.
func cleanEnvironment(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix+"_") || strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, value) // so that it is restored
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWithoutVariablesTheDefaultsHold(t *testing.T) {
	cleanEnvironment(t)
	_, warnings, err := loadConfig()
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %v", err, warnings)
	}
	settings := readSettings(t)
	for name, want := range map[string]string{
		"HEXORDERS_STORE": "sqlite", "HEXORDERS_BROKER": "inproc", "HEXORDERS_HTTP_ADDR": "127.0.0.1:8080",
		"HEXORDERS_HTTP_REQUIRE_IF_MATCH": "false", "HEXORDERS_HTTP_RATE": "0", "HEXORDERS_HTTP_BURST": "20",
		"HEXORDERS_HTTP_MAX_COMMANDS": "128", "HEXORDERS_HTTP_MAX_CONNECTIONS": "4096",
		"HEXORDERS_HTTP_CORS_ORIGINS": "none", "HEXORDERS_HTTP_HOSTS": "auto",
		"HEXORDERS_SQLITE_PATH":      "hexorders.db",
		"HEXORDERS_MONGODB_URI":      "mongodb://127.0.0.1:27017/?replicaSet=rs0",
		"HEXORDERS_POSTGRES_URI":     "postgres://127.0.0.1:5432/hexorders?user=hexorders",
		"HEXORDERS_MONGODB_DATABASE": "hexorders", "HEXORDERS_MONGODB_MAX_BATCH": "256", "HEXORDERS_KAFKA_BROKERS": "127.0.0.1:9092",
		"HEXORDERS_KAFKA_TOPIC": "orders.events", "HEXORDERS_OUTBOX_RETENTION": "720h", "HEXORDERS_LOG_LEVEL": "info",
		"HEXORDERS_LOG_FORMAT": "auto",
	} {
		if got := textOf(settings, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// envconfig makes the names of the fields; the table of variables repeats them. Every field must be in the table.
func TestEveryFieldIsReadFromTheVariableOfItsName(t *testing.T) {
	cleanEnvironment(t)
	for _, v := range readSettings(t) {
		t.Setenv(v.name, "value of "+v.name)
	}
	if _, warnings, _ := loadConfig(); len(warnings) > 0 {
		t.Errorf("unknown to itself: %v", warnings)
	}
	settings := readSettings(t)
	for _, v := range settings {
		if want := "value of " + v.name; v.text != want {
			t.Errorf("%s is %q, want %q", v.name, v.text, want)
		}
	}
	if fields := countFields(reflect.TypeFor[environment]()); fields != len(settings) {
		t.Errorf("environment has %d settings, the table of variables %d", fields, len(settings))
	}
}

// Each variable is parsed once, into its own field of Config.
func TestEverySettingIsParsedIntoItsField(t *testing.T) {
	cleanEnvironment(t)
	ca := certificates.New(t, "authority")
	own := ca.Issue(t, "relay", certificates.Wish{})
	credentials := filepath.Join(t.TempDir(), "relay.creds")
	if err := os.WriteFile(credentials, []byte("-----BEGIN NATS USER JWT-----\neyJ0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"HEXORDERS_STORE": "mongodb", "HEXORDERS_BROKER": "kafka", "HEXORDERS_HTTP_ADDR": ":1", "HEXORDERS_HTTP_REQUIRE_IF_MATCH": "true",
		"HEXORDERS_HTTP_RATE": "0.5", "HEXORDERS_HTTP_BURST": "7", "HEXORDERS_HTTP_CORS_ORIGINS": "https://a.example, https://b.example",
		"HEXORDERS_HTTP_MAX_COMMANDS": "5", "HEXORDERS_HTTP_MAX_CONNECTIONS": "6",
		"HEXORDERS_HTTP_HOSTS":  "Shop.example, localhost",
		"HEXORDERS_SQLITE_PATH": "a.db", "HEXORDERS_MONGODB_URI": "mongodb://a", "HEXORDERS_MONGODB_DATABASE": "shop",
		"HEXORDERS_MONGODB_MAX_BATCH": "9", "HEXORDERS_POSTGRES_URI": "postgres://a/b",
		"HEXORDERS_KAFKA_BROKERS": "a:1,b:2", "HEXORDERS_KAFKA_TOPIC": "events", "HEXORDERS_OUTBOX_RETENTION": "90m",
		"HEXORDERS_VIEWS_WAIT": "2s", "HEXORDERS_CONSOLE": "off",
		"HEXORDERS_LOG_LEVEL": "warn", "HEXORDERS_LOG_FORMAT": "json",
		"HEXORDERS_NATS_URL": "tls://u:p@a:1, nats://b", "HEXORDERS_NATS_SUBJECT": "shop.events", "HEXORDERS_NATS_REPLICAS": "3",
		"HEXORDERS_NATS_CREDENTIALS": credentials, "HEXORDERS_NATS_TLS_CA": ca.File,
		"HEXORDERS_NATS_TLS_CERTIFICATE": own.Certificate, "HEXORDERS_NATS_TLS_KEY": own.Key,
		"HEXORDERS_KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "HEXORDERS_KAFKA_SASL_MECHANISM": "plain",
		"HEXORDERS_KAFKA_SASL_USERNAME": "relay", "HEXORDERS_KAFKA_SASL_PASSWORD": "hunter2",
		"HEXORDERS_KAFKA_SSL_CA": ca.File, "HEXORDERS_KAFKA_SSL_CERTIFICATE": own.Certificate, "HEXORDERS_KAFKA_SSL_KEY": own.Key,
	} {
		t.Setenv(name, value)
	}
	got, _, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	if got.Store.name != "mongodb" || got.Broker.name != "kafka" {
		t.Errorf("store %q, broker %q", got.Store.name, got.Broker.name)
	}
	got.Store, got.Broker = storeKind{}, brokerKind{} // rows hold functions, which do not compare
	var want Config
	want.HTTP.Addr, want.HTTP.RequireIfMatch, want.HTTP.Rate, want.HTTP.Burst = ":1", true, 0.5, 7
	want.HTTP.MaxCommands, want.HTTP.MaxConnections = 5, 6
	want.HTTP.CORSOrigins = []string{"https://a.example", "https://b.example"}
	want.HTTP.Hosts = []string{"shop.example", "localhost"}
	want.SQLite.Path = "a.db"
	want.MongoDB.URI, want.MongoDB.Database, want.MongoDB.MaxBatch = "mongodb://a", "shop", 9
	want.Postgres.URI = "postgres://a/b"
	want.Kafka.Brokers, want.Kafka.Topic = "a:1,b:2", "events"
	want.Kafka.Security = kafka.Security{
		Protocol: "sasl_ssl", Mechanism: "plain", Username: "relay", Password: "hunter2",
		CA: ca.File, Certificate: own.Certificate, Key: own.Key,
	}
	want.NATS.URL, want.NATS.Subject, want.NATS.Replicas = "tls://u:p@a:1, nats://b", "shop.events", 3
	want.NATS.Security = nats.Security{Credentials: credentials, CA: ca.File, Certificate: own.Certificate, Key: own.Key}
	want.Outbox.Retention, want.Views.Wait = 90*time.Minute, 2*time.Second
	want.Log.Level, want.Log.Format = slog.LevelWarn, "json"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parsed\n%+v\nwant\n%+v", got, want)
	}
}

func TestTheServiceLooksAtHostNamesOnTheLoopback(t *testing.T) {
	for address, want := range map[string][]string{
		"127.0.0.1:8080": {"localhost"}, "localhost:0": {"localhost"}, "[::1]:1": {"localhost"}, "127.1.2.3:1": {"localhost"},
		":8080": nil, "0.0.0.0:8080": nil, "[::]:1": nil, "10.0.0.1:1": nil, "orders.example:1": nil,
	} {
		cleanEnvironment(t)
		t.Setenv("HEXORDERS_HTTP_ADDR", address)
		c, _, err := loadConfig()
		if err != nil || !slices.Equal(c.HTTP.Hosts, want) || (c.HTTP.Hosts == nil) != (want == nil) {
			t.Errorf("%s: it answers for %q (%v), want %q", address, c.HTTP.Hosts, err, want)
		}
	}
}

func TestTheReadmeHasEverySettingWithItsDefault(t *testing.T) {
	cleanEnvironment(t)
	settings := readSettings(t)
	readme := readFile(t, "../../README.md")
	for _, v := range settings {
		if row := fmt.Sprintf("| `%s` | `%s` | %s |\n", v.name, v.text, v.about); !strings.Contains(readme, row) {
			t.Errorf("README.md lacks the row\n%s", row)
		}
	}
	if rows := strings.Count(readme, "| `HEXORDERS_"); rows != len(settings) {
		t.Errorf("README.md has %d settings, the program %d", rows, len(settings))
	}
}

func TestAVariableWithoutThePrefixIsNotOurs(t *testing.T) {
	cleanEnvironment(t)
	for _, name := range []string{"STORE", "LEVEL", "LOG_LEVEL", "URI", "ADDR", "HTTP_ADDR", "TOPIC"} {
		t.Setenv(name, "nonsense")
	}
	if _, _, err := loadConfig(); err != nil {
		t.Error(err)
	}
}

func TestEveryWrongValueIsNamedAtOnceWithItsRemedy(t *testing.T) {
	cleanEnvironment(t)
	settings := map[string][2]string{
		"HEXORDERS_STORE":                   {"mongo", "must be " + alternatives(names(stores))},
		"HEXORDERS_BROKER":                  {"memory", "must be inproc, kafka or nats"},
		"HEXORDERS_SQLITE_PATH":             {"data/", "must be the path of a file"},
		"HEXORDERS_HTTP_ADDR":               {"8080", "must be host:port"},
		"HEXORDERS_HTTP_REQUIRE_IF_MATCH":   {"yes", "must be false or true"},
		"HEXORDERS_HTTP_RATE":               {"many", "must be a number of requests a second"},
		"HEXORDERS_HTTP_BURST":              {"0", "must be a whole number from 1"},
		"HEXORDERS_HTTP_MAX_COMMANDS":       {"0", "must be a whole number from 1"},
		"HEXORDERS_HTTP_MAX_CONNECTIONS":    {"none", "must be a whole number from 1"},
		"HEXORDERS_HTTP_CORS_ORIGINS":       {"example.com", "must be origins such as"},
		"HEXORDERS_HTTP_HOSTS":              {"http://shop.example", "must be host names without a port"},
		"HEXORDERS_MONGODB_URI":             {"localhost:27017", "must look like mongodb://"},
		"HEXORDERS_MONGODB_DATABASE":        {"my.orders", "must be a name"},
		"HEXORDERS_MONGODB_MAX_BATCH":       {"0", "must be a whole number from 1 to 10000"},
		"HEXORDERS_POSTGRES_URI":            {"localhost:5432", "must look like postgres://"},
		"HEXORDERS_KAFKA_BROKERS":           {"kafka", "must be host:port"},
		"HEXORDERS_KAFKA_TOPIC":             {"orders events", "must have 1 to 249 of the characters"},
		"HEXORDERS_KAFKA_SECURITY_PROTOCOL": {"tls", "must be plaintext, ssl, sasl_plaintext or sasl_ssl"},
		"HEXORDERS_KAFKA_SASL_MECHANISM":    {"gssapi", "must be plain, scram-sha-256 or scram-sha-512"},
		"HEXORDERS_KAFKA_SASL_USERNAME":     {"relay", "counts only with HEXORDERS_KAFKA_SECURITY_PROTOCOL=sasl_ssl"},
		"HEXORDERS_KAFKA_SSL_CA":            {"ca.pem", "counts only with HEXORDERS_KAFKA_SECURITY_PROTOCOL=ssl"},
		"HEXORDERS_NATS_URL":                {"h:4222", "must look like nats://host:4222"},
		"HEXORDERS_NATS_SUBJECT":            {"orders.*", "must be words of a-z"},
		"HEXORDERS_NATS_REPLICAS":           {"0", "must be a whole number from 1 to 5"},
		"HEXORDERS_NATS_CREDENTIALS":        {"/nowhere.creds", "must be the path of a file of credentials"},
		"HEXORDERS_NATS_TLS_CA":             {"/nowhere.pem", "must be the path of a PEM file"},
		"HEXORDERS_NATS_TLS_KEY":            {"key.pem", "counts only with HEXORDERS_NATS_TLS_CERTIFICATE"},
		"HEXORDERS_KAFKA_SSL_KEY":           {"key.pem", "counts only with HEXORDERS_KAFKA_SSL_CERTIFICATE"},
		"HEXORDERS_OUTBOX_RETENTION":        {"30 days", "must be a duration such as 720h"},
		"HEXORDERS_VIEWS_WAIT":              {"10s", "must be a duration from 1ms to 9s"},
		"HEXORDERS_LOG_LEVEL":               {"verbose", "must be debug, info, warn or error"},
		"HEXORDERS_LOG_FORMAT":              {"xml", "must be auto, text or json"},
	}
	want := []string{fmt.Sprintf("%d settings are wrong:", len(settings))}
	for name, x := range settings {
		t.Setenv(name, x[0])
		want = append(want, name+"="+x[0]+": "+x[1])
	}
	_, _, err := loadConfig()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in:\n%v", part, err)
		}
	}
}

func TestValues(t *testing.T) {
	for name, values := range map[string]map[string]bool{
		"HEXORDERS_STORE": {"sqlite": true, "memory": true, "mongodb": true, "mongodb-events": true, "postgres": true,
			"mongodb-event": false, "mysql": false, "MEMORY": false, "": false},
		"HEXORDERS_BROKER":      {"inproc": true, "kafka": true, "nats": true, "memory": false, "rabbit": false},
		"HEXORDERS_SQLITE_PATH": {"hexorders.db": true, "/var/lib/hexorders/a b.db": true, "folder/": false, "": false},
		"HEXORDERS_HTTP_ADDR": {":8080": true, "0.0.0.0:0": true, "[::1]:80": true, "localhost:http": false,
			"h:65536": false, "h:-1": false, "": false},
		"HEXORDERS_HTTP_RATE":  {"0": true, "0.5": true, "1000": true, "-1": false, "NaN": false, "Inf": false, "": false},
		"HEXORDERS_HTTP_BURST": {"1": true, "1000000": true, "1000001": false, "1.5": false, "": false},
		"HEXORDERS_HTTP_CORS_ORIGINS": {
			"none": true, "*": true, "https://shop.example.com": true, "http://localhost:3000, https://a.b": true,
			"http://[::1]:3000": true,
			"https://a.b/":      false, "https://A.b": false, "a.b": false, "https://*.a.b": false, "/.*/": false,
			"https://a.b,": false, "null": false, "": false, "none,*": false,
		},
		"HEXORDERS_HTTP_HOSTS": {
			"auto": true, "*": true, "a": true, "a.b, c_d-e": true, "127.0.0.1": true, "a:80": false, "a,": false, ".a": false,
			"a/b": false, "*.a": false, "": false,
		},
		"HEXORDERS_MONGODB_URI": {
			"mongodb://a:1,b:2/?replicaSet=x": true, "mongodb+srv://u:p@cluster.example.com/": true, "mongodb://h": true,
			"http://h": false, "mongodb://": false, "mongodb:///db": false, "mongodb://h /": false, "": false,
		},
		"HEXORDERS_POSTGRES_URI": {
			"postgres://u:p@a:1,b:2/db?sslmode=verify-full&search_path=x": true, "postgresql://h": true, "postgres://h/db": true,
			"host=h password=hunter2": false, "postgres://h:port/": false, "postgres://h/db?sslmode=maybe": false,
			"http://h": false, "": false,
		},
		"HEXORDERS_MONGODB_DATABASE": {"hexorders_2": true, strings.Repeat("d", 64): false, "a b": false, "": false},
		"HEXORDERS_KAFKA_BROKERS": {"a:1,b:2": true, "a:1, b:2": true, "[::1]:9092": true, "a": false, "a:0": false,
			":9092": false, "a:1,": false, "PLAINTEXT://a:1": false, "": false},
		"HEXORDERS_NATS_URL": {"nats://a:1,tls://u:p@b": true, "nats://a, nats://b": true, "wss://a": true, "a:1": false, "http://a": false,
			"nats://": false, "nats://a:0": false, "nats://a,": false, "nats://a?x=y": false, "": false},
		"HEXORDERS_NATS_SUBJECT": {"orders.events_v2-x": true, "orders": true, ".a": false, "a..b": false, "a.": false, "a.*": false,
			"a.>": false, "a b": false, "$JS.a": false, strings.Repeat("s", 201): false, "": false},
		"HEXORDERS_VIEWS_WAIT": {"1ms": true, "9s": true, "0": false, "9.1s": false, "-1s": false, "1": false, "": false},
		"HEXORDERS_OUTBOX_RETENTION": {"720h": true, "1h30m": true, "0": true, "0s": true, "-1h": false, "30d": false,
			"720": false, "": false},
		"HEXORDERS_KAFKA_TOPIC": {"orders.events_v2-x": true, ".": false, "..": false, "a/b": false,
			strings.Repeat("t", 250): false, "": false},
	} {
		for value, good := range values {
			for _, v := range variables(&environment{}, &Config{}) {
				if v.name != name {
					continue
				}
				if err := v.parse(value); (err == nil) != good {
					t.Errorf("%s=%q: %v, want good=%v", name, value, err, good)
				}
			}
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for value, want := range map[string]string{
		"mongodb://root:hunter2@db:27017/?replicaSet=rs0":         "mongodb://***@db:27017/?replicaSet=rs0",
		"mongodb://root:hun@ter/2@db:27017/":                      "mongodb://***@db:27017/",
		"mongodb+srv://root@db/":                                  "mongodb+srv://***@db/",
		"mongodb://db/?tlsCertificateKeyFilePassword=hunter2&w=1": "mongodb://db/?tlsCertificateKeyFilePassword=***&w=1",
		"mongodb://db/?a=b&authMechanismProperties=TOKEN:hunter2": "mongodb://db/?a=b&authMechanismProperties=***",
		"postgres://root:hunter2@db/x?sslpassword=hunter2&a=b":    "postgres://***@db/x?sslpassword=***&a=b",
		"postgres://db/x?user=root&password=hunter2":              "postgres://db/x?user=root&password=***",
		"mongodb://127.0.0.1:27017/?replicaSet=rs0":               "mongodb://127.0.0.1:27017/?replicaSet=rs0",
		"root:hunter2@db":               "***@db",
		"root:hun@ter2@db":              "***@db",
		"mongodb:/root:hunter2@db/":     "***@db/",
		"mongodb//root:hunter2@db/":     "***@db/",
		"k1:9092,root:hunter2@k2:9092":  "***@k2:9092",
		"SASL://root:hunter2@k1:9092":   "SASL://***@k1:9092",
		"127.0.0.1:9092,127.0.0.1:9093": "127.0.0.1:9092,127.0.0.1:9093",
		"orders@home.db":                "orders@home.db",
		"hexorders":                     "hexorders",
	} {
		if got := masked(value); got != want {
			t.Errorf("%s is shown as %s, want %s", value, got, want)
		}
	}
}

func TestNoErrorShowsAPassword(t *testing.T) {
	for _, wrong := range []struct{ variable, value, shown string }{
		{"HEXORDERS_MONGODB_URI", "mongo://root:hunter2@db", "mongo://***@db"},
		{"HEXORDERS_MONGODB_URI", "root:hunter2@db", "***@db"},
		{"HEXORDERS_MONGODB_URI", "mongodb//root:hunter2@db", "***@db"},
		{"HEXORDERS_KAFKA_BROKERS", "root:hunter2@k1:9092", "***@k1:9092"},
		{"HEXORDERS_KAFKA_BROKERS", "k1:9092,root:hunter2@k2", "***@k2"},
		{"HEXORDERS_NATS_URL", "nats://root:hunter2@", "nats://***@"},
		{"HEXORDERS_NATS_URL", "nats://root:hunter2%zz@n1", "nats://***@n1"},
		{"HEXORDERS_NATS_URL", "nats://root:hunter2@n1,root:hunter2@n2", "nats://***@n2"},
		{"HEXORDERS_KAFKA_BROKERS", "sasl://root:hunter2@k1:9092", "sasl://***@k1:9092"},
	} {
		cleanEnvironment(t)
		t.Setenv(wrong.variable, wrong.value)
		for _, command := range []string{"serve", "config", "doctor", "outbox status"} {
			out, errOut, code := runCommand(t, strings.Fields(command)...)
			said := out + errOut
			if code == exitOK || strings.Contains(said, "hunter2") || !strings.Contains(said, wrong.shown) {
				t.Errorf("%s with %s=%s: exit code %d\n%s", command, wrong.variable, wrong.value, code, said)
			}
		}
	}
}

func TestVariablesThatNothingReadsAreWarnedOf(t *testing.T) {
	got := unknownVariables(variables(&environment{}, &Config{}), []string{
		"HEXORDERS_STORE=memory", "HEXORDERS_MONGO_URI=x", "HEXORDERS_KAFKA_BROKER=x", "HEXORDERS_FAVOURITE_COLOUR=blue", "PATH=/bin",
		"HEXORDERS_TEST_MONGODB_URI=x", "HEXORDERS_PORT=tcp://10.0.0.1:80", "HEXORDERS_PORT_8080_TCP_ADDR=10.0.0.1",
		"HEXORDERS_SERVICE_HOST=10.0.0.1",
	})
	want := []string{
		"nothing reads the variable HEXORDERS_FAVOURITE_COLOUR: see `hexorders config`",
		"nothing reads the variable HEXORDERS_KAFKA_BROKER: did you mean HEXORDERS_KAFKA_BROKERS?",
		"nothing reads the variable HEXORDERS_MONGO_URI: did you mean HEXORDERS_MONGODB_URI?",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEditDistance(t *testing.T) {
	for _, x := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"STORE", "STORES", 1}, {"ab", "ba", 2}} {
		if there, back := editDistance(x.a, x.b), editDistance(x.b, x.a); there != x.want || back != x.want {
			t.Errorf("%q to %q: %d, and back %d, want %d", x.a, x.b, there, back, x.want)
		}
	}
}

func TestTheConfigCommandShowsEverySettingAndItsSource(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "mongodb")
	t.Setenv("HEXORDERS_MONGODB_URI", "mongodb://root:hunter2@db/")
	t.Setenv("HEXORDERS_LOG_LEVEL", "loud")
	t.Setenv("HEXORDERS_LOGLEVEL", "debug")
	out, errOut, code := runCommand(t, "config")
	lines := map[string]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		lines[fields[0]] = strings.Join(fields[1:3], " ")
	}
	for name, want := range map[string]string{
		"HEXORDERS_STORE": "mongodb environment", "HEXORDERS_MONGODB_URI": "mongodb://***@db/ environment",
		"HEXORDERS_LOG_LEVEL": "loud environment", "HEXORDERS_BROKER": "inproc default",
	} {
		if lines[name] != want {
			t.Errorf("%s: %q, want %q", name, lines[name], want)
		}
	}
	if want := len(variables(&environment{}, &Config{})) + 1; len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
	if code != exitUsage || !strings.Contains(errOut, "HEXORDERS_LOG_LEVEL=loud: must be") ||
		!strings.Contains(errOut, "did you mean HEXORDERS_LOG_LEVEL?") {
		t.Errorf("exit code %d, errors %s", code, errOut)
	}
}

func TestTheConfigCommandNamesTheSourceOfEverySetting(t *testing.T) {
	cleanEnvironment(t)
	settings := readSettings(t)
	for _, from := range []string{"default", "environment"} {
		out, errOut, code := runCommand(t, "config")
		if code != exitOK || errOut != "" {
			t.Errorf("exit code %d, errors %s", code, errOut)
		}
		lines := strings.Split(out, "\n")
		for i, v := range settings {
			fields := strings.Fields(lines[i+1])
			if want := []string{v.name, v.text, from}; !slices.Equal(fields[:3], want) {
				t.Errorf("line %q, want it to begin with %q", lines[i+1], want)
			}
			if about := strings.Join(fields[3:], " "); about != v.about {
				t.Errorf("%s is about %q, want %q", v.name, about, v.about)
			}
			t.Setenv(v.name, v.text) // the same value, and set
		}
	}
}

func runCommand(t *testing.T, args ...string) (out, errOut string, exitCode int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exitCode = run(t.Context(), append([]string{}, args...), &stdout, &stderr)
	return stdout.String(), stderr.String(), exitCode
}

// readSettings is the table of variables with what the environment says.
func readSettings(t *testing.T) []variable {
	t.Helper()
	settings, err := readEnvironment(&Config{})
	if err != nil {
		t.Fatal(err)
	}
	return settings
}

func textOf(settings []variable, name string) string {
	for _, v := range settings {
		if v.name == name {
			return v.text
		}
	}
	return "no such variable"
}

func countFields(t reflect.Type) (n int) {
	for i := range t.NumField() {
		if field := t.Field(i).Type; field.Kind() == reflect.Struct {
			n += countFields(field)
		} else {
			n++
		}
	}
	return n
}
