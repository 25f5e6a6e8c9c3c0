package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/spf13/cobra"

	"hexorders/adapters/kafka"
	"hexorders/adapters/nats"
	"hexorders/adapters/telemetry"
)

const prefix = "HEXORDERS"

// Config is the settings, parsed. Nothing parses a setting again.
type Config struct {
	Store  storeKind
	Broker brokerKind
	HTTP   struct {
		Addr           string
		RequireIfMatch bool
		Rate           float64 // requests a second
		Burst          int
		MaxCommands    int
		MaxConnections int
		CORSOrigins    []string
		Hosts          []string // nil: all
	}
	SQLite  struct{ Path string }
	MongoDB struct {
		URI      string
		Database string
		MaxBatch int
	}
	Postgres struct{ URI string }
	Kafka    struct {
		Brokers  string // host:port, several with commas
		Topic    string
		Security kafka.Security
	}
	NATS struct {
		URL      string // several with commas
		Subject  string
		Replicas int
		Security nats.Security
	}
	Outbox  struct{ Retention time.Duration }
	Views   struct{ Wait time.Duration }
	Console bool
	Log     struct {
		Level  slog.Level
		Format string
	}
}

// environment is the settings as text. The names of the fields make the names of the variables: HTTP.Addr is
// HEXORDERS_HTTP_ADDR, and with split_words HTTP.RequireIfMatch is HEXORDERS_HTTP_REQUIRE_IF_MATCH. There are no envconfig
// tags: with one, envconfig also takes the variable without the prefix, and a LOG_LEVEL that was meant for another
// program would count.
//
// Every field is a string, because envconfig stops at the first value that it cannot convert. The table in variables
// parses them, and finds every wrong one.
type environment struct {
	Store  string `default:"sqlite"`
	Broker string `default:"inproc"`
	HTTP   struct {
		Addr           string `default:"127.0.0.1:8080"`
		RequireIfMatch string `default:"false" split_words:"true"`
		Rate           string `default:"0"`
		Burst          string `default:"20"`
		MaxCommands    string `default:"128" split_words:"true"`
		MaxConnections string `default:"4096" split_words:"true"`
		CORSOrigins    string `default:"none" split_words:"true"`
		Hosts          string `default:"auto"`
	}
	SQLite struct {
		Path string `default:"hexorders.db"`
	}
	MongoDB struct {
		URI      string `default:"mongodb://127.0.0.1:27017/?replicaSet=rs0"`
		Database string `default:"hexorders"`
		MaxBatch string `default:"256" split_words:"true"`
	}
	Postgres struct {
		URI string `default:"postgres://127.0.0.1:5432/hexorders?user=hexorders"`
	}
	Kafka struct {
		Brokers string `default:"127.0.0.1:9092"`
		Topic   string `default:"orders.events"`

		SecurityProtocol string `default:"plaintext" split_words:"true"`
		SASL             struct {
			Mechanism string `default:"scram-sha-512"`
			Username  string `default:"none"`
			Password  string `default:"none"`
		}
		SSL struct {
			CA          string `default:"system"`
			Certificate string `default:"none"`
			Key         string `default:"none"`
		}
	}
	NATS struct {
		URL         string `default:"nats://127.0.0.1:4222"`
		Subject     string `default:"orders.events"`
		Replicas    string `default:"1"`
		Credentials string `default:"none"`
		TLS         struct {
			CA          string `default:"system"`
			Certificate string `default:"none"`
			Key         string `default:"none"`
		}
	}
	Outbox struct {
		Retention string `default:"720h"`
	}
	Views struct {
		Wait string `default:"1s"`
	}
	Console string `default:"on"`
	Log     struct {
		Level  string `default:"info"`
		Format string `default:"auto"`
	}
}

// variable is one setting: its name, its text, what it is for, and where its value goes.
type variable struct {
	name  string
	text  string
	about string
	parse func(text string) error // the error says what the text must look like
}

// variables is the table of all settings. Parsing one stores its value in c.
func variables(e *environment, c *Config) []variable {
	return []variable{
		{"HEXORDERS_STORE", e.Store, "where orders are kept: " + strings.Join(names(stores), ", "), into(&c.Store, kindOf(stores))},
		{"HEXORDERS_BROKER", e.Broker, "where events go: " + strings.Join(names(brokers), ", "), into(&c.Broker, kindOf(brokers))},
		{"HEXORDERS_HTTP_ADDR", e.HTTP.Addr, "where to listen, host:port", into(&c.HTTP.Addr, parseAddress)},
		{"HEXORDERS_HTTP_REQUIRE_IF_MATCH", e.HTTP.RequireIfMatch, "true: a command on an order needs If-Match",
			into(&c.HTTP.RequireIfMatch, parseBool)},
		{"HEXORDERS_HTTP_RATE", e.HTTP.Rate, "requests a second of one client address; 0: no limit",
			into(&c.HTTP.Rate, parseRate)},
		{"HEXORDERS_HTTP_BURST", e.HTTP.Burst, "how many of them may come at once",
			into(&c.HTTP.Burst, wholeNumber(1, 1_000_000))},
		{"HEXORDERS_HTTP_MAX_COMMANDS", e.HTTP.MaxCommands, "commands under way; further ones get 503 overloaded",
			into(&c.HTTP.MaxCommands, wholeNumber(1, 1_000_000))},
		{"HEXORDERS_HTTP_MAX_CONNECTIONS", e.HTTP.MaxConnections, "open connections; further ones get 503 too-many-connections",
			into(&c.HTTP.MaxConnections, wholeNumber(1, 1_000_000))},
		{"HEXORDERS_HTTP_CORS_ORIGINS", e.HTTP.CORSOrigins, "whose pages may call the API, with commas; * for all",
			into(&c.HTTP.CORSOrigins, parseOrigins)},
		{"HEXORDERS_HTTP_HOSTS", e.HTTP.Hosts, "host names to answer for, with commas; auto: localhost on the loopback, else all",
			func(text string) (err error) {
				c.HTTP.Hosts, err = parseHosts(text, c.HTTP.Addr)
				return err
			}},
		{"HEXORDERS_SQLITE_PATH", e.SQLite.Path,
			"the file, created when it is not there; beside it is what a small store does not keep, in hexorders.STORE.db",
			into(&c.SQLite.Path, parsePath)},
		{"HEXORDERS_MONGODB_URI", e.MongoDB.URI, "a replica set", into(&c.MongoDB.URI, parseMongoURI)},
		{"HEXORDERS_MONGODB_DATABASE", e.MongoDB.Database, "its database", into(&c.MongoDB.Database, parseDatabase)},
		{"HEXORDERS_MONGODB_MAX_BATCH", e.MongoDB.MaxBatch, "saves that may share a transaction; 1: none",
			into(&c.MongoDB.MaxBatch, wholeNumber(1, 10_000))},
		{"HEXORDERS_POSTGRES_URI", e.Postgres.URI, "a database; its tables go into the first schema of search_path",
			into(&c.Postgres.URI, parsePostgresURI)},
		{"HEXORDERS_KAFKA_BROKERS", e.Kafka.Brokers, "host:port, several with commas", into(&c.Kafka.Brokers, parseBrokers)},
		{"HEXORDERS_KAFKA_TOPIC", e.Kafka.Topic, "created when it is not there", into(&c.Kafka.Topic, parseTopic)},
		{"HEXORDERS_KAFKA_SECURITY_PROTOCOL", e.Kafka.SecurityProtocol, "plaintext, ssl, sasl_plaintext, sasl_ssl",
			into(&c.Kafka.Security.Protocol, oneOf("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"))},
		{"HEXORDERS_KAFKA_SASL_MECHANISM", e.Kafka.SASL.Mechanism, "of the sasl protocols: plain, scram-sha-256, scram-sha-512",
			into(&c.Kafka.Security.Mechanism, oneOf("plain", "scram-sha-256", "scram-sha-512"))},
		{"HEXORDERS_KAFKA_SASL_USERNAME", e.Kafka.SASL.Username, "their user", into(&c.Kafka.Security.Username, parseSASL(c))},
		{"HEXORDERS_KAFKA_SASL_PASSWORD", e.Kafka.SASL.Password, "the user's password",
			into(&c.Kafka.Security.Password, parseSASL(c))},
		{"HEXORDERS_KAFKA_SSL_CA", e.Kafka.SSL.CA, "PEM file of those who sign brokers' certificates; system: this machine's",
			into(&c.Kafka.Security.CA, withKafkasTLS(c, parseCertificates("system")))},
		{"HEXORDERS_KAFKA_SSL_CERTIFICATE", e.Kafka.SSL.Certificate, "PEM file: the certificate of this client",
			into(&c.Kafka.Security.Certificate, withKafkasTLS(c, parseCertificates("none")))},
		{"HEXORDERS_KAFKA_SSL_KEY", e.Kafka.SSL.Key, "PEM file: its key",
			into(&c.Kafka.Security.Key, parseKey("HEXORDERS_KAFKA_SSL_CERTIFICATE", &c.Kafka.Security.Certificate))},
		{"HEXORDERS_NATS_URL", e.NATS.URL, "nats://host:port, tls:// with TLS, several with commas",
			into(&c.NATS.URL, parseNATS)},
		{"HEXORDERS_NATS_SUBJECT", e.NATS.Subject, "of the stream, which is created when it is not there",
			into(&c.NATS.Subject, nats.ParseSubject)},
		{"HEXORDERS_NATS_REPLICAS", e.NATS.Replicas, "servers that keep the stream, when it is created: 1, 3, 5",
			into(&c.NATS.Replicas, wholeNumber(1, 5))},
		{"HEXORDERS_NATS_CREDENTIALS", e.NATS.Credentials, "file with this client's JWT and key",
			into(&c.NATS.Security.Credentials, parseCredentials)},
		{"HEXORDERS_NATS_TLS_CA", e.NATS.TLS.CA, "PEM file of those who sign servers' certificates; system: this machine's",
			into(&c.NATS.Security.CA, parseCertificates("system"))},
		{"HEXORDERS_NATS_TLS_CERTIFICATE", e.NATS.TLS.Certificate, "PEM file: the certificate of this client",
			into(&c.NATS.Security.Certificate, parseCertificates("none"))},
		{"HEXORDERS_NATS_TLS_KEY", e.NATS.TLS.Key, "PEM file: its key",
			into(&c.NATS.Security.Key, parseKey("HEXORDERS_NATS_TLS_CERTIFICATE", &c.NATS.Security.Certificate))},
		{"HEXORDERS_OUTBOX_RETENTION", e.Outbox.Retention, "how long published messages are kept; 0: for ever",
			into(&c.Outbox.Retention, parseRetention)},
		{"HEXORDERS_VIEWS_WAIT", e.Views.Wait, "how long a list waits for the required version",
			into(&c.Views.Wait, parseWait)},
		{"HEXORDERS_CONSOLE", e.Console, "on: /console/ shows the service at work; off: it is not there",
			into(&c.Console, parseSwitch)},
		{"HEXORDERS_LOG_LEVEL", e.Log.Level, "debug, info, warn, error", into(&c.Log.Level, parseLevel)},
		{"HEXORDERS_LOG_FORMAT", e.Log.Format, "text, json; auto: text on a terminal",
			into(&c.Log.Format, oneOf("auto", "text", "json"))},
	}
}

// into makes a parser store its result.
func into[T any](field *T, parse func(text string) (T, error)) func(text string) error {
	return func(text string) (err error) {
		*field, err = parse(text)
		return err
	}
}

// loadConfig reads the environment. The error names every variable that is wrong, and what it must look like; the warnings
// are about variables that look like ours and are not.
func loadConfig() (c Config, warnings []string, err error) {
	settings, err := readEnvironment(&c)
	if err != nil {
		return c, nil, err
	}
	return c, unknownVariables(settings, os.Environ()), parseAll(settings)
}

func readEnvironment(c *Config) ([]variable, error) {
	var e environment
	if err := envconfig.Process(prefix, &e); err != nil {
		return nil, err
	}
	settings := variables(&e, c)
	readSecretFiles(settings)
	return settings, nil
}

func parseAll(settings []variable) error {
	var problems []string
	for _, v := range settings {
		if err := v.parse(v.text); err != nil {
			problems = append(problems, fmt.Sprintf("%s=%s: %v", v.name, shown(v.name, v.text), err))
		}
	}
	if err := telemetry.Check(); err != nil {
		problems = append(problems, err.Error())
	}
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return usagef("a setting is wrong: %s", problems[0])
	default:
		return usagef("%d settings are wrong:\n  %s", len(problems), strings.Join(problems, "\n  "))
	}
}

func configCommand() *cobra.Command {
	var asJSON bool
	return jsonFlag(&cobra.Command{
		Use:   "config",
		Short: "Print every setting, its value and where it comes from",
		Long: `Prints every variable that hexorders reads, the value it has now, and whether that is the default, was set in the
environment or comes from a file. Passwords are masked. The exit code is 2 when a value is wrong.

Stores:  ` + strings.Join(names(stores), ", ") + `
Brokers: ` + strings.Join(names(brokers), ", "),
		Example: "  hexorders config\n  HEXORDERS_STORE=mongodb hexorders config",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := readEnvironment(&Config{})
			if err != nil {
				return err
			}
			if err := printConfig(cmd.OutOrStdout(), asJSON, settings); err != nil {
				return err
			}
			printWarnings(cmd.ErrOrStderr(), unknownVariables(settings, os.Environ()))
			return parseAll(settings)
		},
	}, &asJSON)
}

func printWarnings(errOut io.Writer, warnings []string) {
	for _, warning := range warnings {
		_, _ = fmt.Fprintln(visibleOutput{errOut}, "warning:", warning)
	}
}

// configRow is a setting as `config` prints it.
type configRow struct {
	Variable string `json:"variable"`
	Value    string `json:"value"`
	From     string `json:"from"`
	About    string `json:"about"`
}

func printConfig(out io.Writer, asJSON bool, settings []variable) error {
	rows := make([]configRow, len(settings))
	for i, v := range settings {
		rows[i] = configRow{v.name, shown(v.name, v.text), "default", v.about}
		if _, set := os.LookupEnv(v.name); set {
			rows[i].From = "environment"
		} else if path := secretFile(v.name); path != "" {
			rows[i].From = "file " + path
		}
	}
	for _, entry := range slices.Sorted(slices.Values(os.Environ())) { // the standard's, for traces; headers may be secret
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			if strings.HasSuffix(name, "_HEADERS") {
				value = "***"
			}
			rows = append(rows, configRow{name, masked(value), "environment", "of OpenTelemetry"})
		}
	}
	return printRows(out, asJSON, "VARIABLE\tVALUE\tFROM\tABOUT", "", rows, func(r configRow) string {
		return fmt.Sprintf("%s\t%s\t%s\t%s", r.Variable, visible(r.Value), visible(r.From), r.About)
	})
}
