package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/spf13/cobra"
)

const prefix = "HEXORDERS"

// Config is what the environment says. The names of the fields make the names of the variables: HTTP.Addr is
// HEXORDERS_HTTP_ADDR, and with split_words HTTP.RequireIfMatch is HEXORDERS_HTTP_REQUIRE_IF_MATCH. There are no envconfig
// tags, because with one envconfig also takes the variable without the prefix, and a LOG_LEVEL that was meant for another
// program would count.
//
// Every field is a string, because envconfig stops at the first value that it cannot convert; check converts nothing
// and finds them all.
type Config struct {
	Store  string `default:"sqlite"`
	Broker string `default:"inproc"`
	HTTP   struct {
		Addr           string `default:"127.0.0.1:8080"`
		RequireIfMatch string `default:"false" split_words:"true"`
		Rate           string `default:"0"`
		Burst          string `default:"20"`
		CORS           struct {
			Origins string `default:"none"`
		}
	}
	SQLite struct {
		Path string `default:"hexorders.db"`
	}
	MongoDB struct {
		URI      string `default:"mongodb://127.0.0.1:27017/?replicaSet=rs0"`
		Database string `default:"hexorders"`
		MaxBatch string `default:"256" split_words:"true"`
	}
	Kafka struct {
		Brokers string `default:"127.0.0.1:9092"`
		Topic   string `default:"orders.events"`
	}
	Outbox struct {
		Retention string `default:"720h"`
	}
	Views struct {
		Wait string `default:"1s"`
	}
	Log struct {
		Level  string `default:"info"`
		Format string `default:"auto"`
	}
}

// variable is one setting: what it is called, what it is for and what it must look like.
type variable struct {
	name  string
	value *string
	about string
	must  func(value string) (problem string) // "" when the value will do
}

func (c *Config) variables() []variable {
	return []variable{
		{"HEXORDERS_STORE", &c.Store, "where orders are kept: sqlite, memory, mongodb, mongodb-events", oneOf("sqlite", "memory", "mongodb", "mongodb-events")},
		{"HEXORDERS_BROKER", &c.Broker, "where events go: inproc, kafka", oneOf("inproc", "kafka")},
		{"HEXORDERS_HTTP_ADDR", &c.HTTP.Addr, "where to listen, host:port", listenAddress},
		{"HEXORDERS_HTTP_REQUIRE_IF_MATCH", &c.HTTP.RequireIfMatch, "true: a command on an order needs If-Match", oneOf("false", "true")},
		{"HEXORDERS_HTTP_RATE", &c.HTTP.Rate, "requests a second of one client address; 0: no limit", requestRate},
		{"HEXORDERS_HTTP_BURST", &c.HTTP.Burst, "how many of them may come at once", wholeNumber(1, 1_000_000)},
		{"HEXORDERS_HTTP_CORS_ORIGINS", &c.HTTP.CORS.Origins, "whose pages may call the API, with commas; * for all", originList},
		{"HEXORDERS_SQLITE_PATH", &c.SQLite.Path, "the file, created when it is not there", filePath},
		{"HEXORDERS_MONGODB_URI", &c.MongoDB.URI, "a replica set", mongodbURI},
		{"HEXORDERS_MONGODB_DATABASE", &c.MongoDB.Database, "its database", databaseName},
		{"HEXORDERS_MONGODB_MAX_BATCH", &c.MongoDB.MaxBatch, "saves that may share a transaction; 1: none", wholeNumber(1, 10_000)},
		{"HEXORDERS_KAFKA_BROKERS", &c.Kafka.Brokers, "host:port, several with commas", brokerList},
		{"HEXORDERS_KAFKA_TOPIC", &c.Kafka.Topic, "created when it is not there", topicName},
		{"HEXORDERS_OUTBOX_RETENTION", &c.Outbox.Retention, "how long published messages are kept; 0: for ever", retention},
		{"HEXORDERS_VIEWS_WAIT", &c.Views.Wait, "how long a list waits for the change that it must know of", viewsWait},
		{"HEXORDERS_LOG_LEVEL", &c.Log.Level, "debug, info, warn, error", oneOf("debug", "info", "warn", "error")},
		{"HEXORDERS_LOG_FORMAT", &c.Log.Format, "text, json; auto: text on a terminal", oneOf("auto", "text", "json")},
	}
}

// loadConfig reads the environment. The error names every variable that is wrong, and how to mend it; the warnings
// are about variables that look like ours and are not.
func loadConfig() (c Config, warnings []string, err error) {
	if err := envconfig.Process(prefix, &c); err != nil {
		return c, nil, err
	}
	return c, unknownVariables(c.variables(), os.Environ()), c.check()
}

func (c *Config) check() error {
	var problems []string
	for _, v := range c.variables() {
		if problem := v.must(*v.value); problem != "" {
			problems = append(problems, fmt.Sprintf("%s=%s: %s", v.name, masked(*v.value), problem))
		}
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
	return &cobra.Command{
		Use:   "config",
		Short: "Print every setting, its value and where it comes from",
		Long: `Prints every variable that hexorders reads, the value it has now, and whether that is the default or was set in
the environment. Passwords are masked. The exit code is 2 when a value is wrong.`,
		Example: "  hexorders config\n  HEXORDERS_STORE=mongodb hexorders config",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, warnings, err := loadConfig()
			if printed := printConfig(cmd.OutOrStdout(), &c); printed != nil {
				return printed
			}
			for _, warning := range warnings {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
			}
			return err
		},
	}
}

func printConfig(out io.Writer, c *Config) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "VARIABLE\tVALUE\tFROM\tABOUT")
	for _, v := range c.variables() {
		from := "default"
		if _, set := os.LookupEnv(v.name); set {
			from = "environment"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.name, masked(*v.value), from, v.about)
	}
	return table.Flush()
}

var (
	// Greedy, up to the last @: a password that should have been escaped and was not is masked all the same.
	userInfo     = regexp.MustCompile(`://.*@`)
	secretOption = regexp.MustCompile(`(?i)([?&](?:[^=&]*password|authMechanismProperties)=)[^&]*`)
)

// masked is a value as it may be shown.
func masked(value string) string {
	value = userInfo.ReplaceAllString(value, "://***@")
	return secretOption.ReplaceAllString(value, "$1***")
}

// unknownVariables warns of variables that nothing reads: a typing error there is silent otherwise.
func unknownVariables(known []variable, environment []string) (warnings []string) {
	names := make([]string, len(known))
	for i, v := range known {
		names[i] = v.name
	}
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix+"_") || slices.Contains(names, name) || notForUs(name) {
			continue
		}
		warning := fmt.Sprintf("nothing reads the variable %s: see `hexorders config`", name)
		if near, distance := nearest(name, names); distance <= 5 {
			warning = fmt.Sprintf("nothing reads the variable %s: did you mean %s?", name, near)
		}
		warnings = append(warnings, warning)
	}
	slices.Sort(warnings)
	return warnings
}

// notForUs knows the variables that others set beside ours: the tests, and Kubernetes for a service that is called
// hexorders (HEXORDERS_SERVICE_HOST, HEXORDERS_PORT_8080_TCP, ...).
func notForUs(name string) bool {
	return strings.HasPrefix(name, prefix+"_TEST_") || strings.HasPrefix(name, prefix+"_E2E_") || strings.HasPrefix(name, prefix+"_SERVICE_") ||
		name == prefix+"_PORT" || strings.HasPrefix(name, prefix+"_PORT_")
}

func nearest(word string, words []string) (near string, distance int) {
	distance = len(word) + 1
	for _, candidate := range words {
		if d := editDistance(word, candidate); d < distance {
			near, distance = candidate, d
		}
	}
	return near, distance
}

// editDistance is Levenshtein's: how many bytes to put in, take out or change to make one word of the other.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func oneOf(values ...string) func(string) string {
	return func(value string) string {
		if slices.Contains(values, value) {
			return ""
		}
		last := len(values) - 1
		return "must be " + strings.Join(values[:last], ", ") + " or " + values[last]
	}
}

func wholeNumber(least, most int) func(string) string {
	return func(value string) string {
		if n, err := strconv.Atoi(value); err != nil || n < least || n > most {
			return fmt.Sprintf("must be a whole number from %d to %d", least, most)
		}
		return ""
	}
}

func listenAddress(value string) string {
	if _, port, err := net.SplitHostPort(value); err != nil || !isPort(port, 0) {
		return "must be host:port with a port from 0 to 65535, such as 127.0.0.1:8080, or :8080 for every interface"
	}
	return ""
}

func requestRate(value string) string {
	if rate, err := strconv.ParseFloat(value, 64); err != nil || !(rate >= 0 && rate <= 1e6) { // NaN is neither
		return "must be a number of requests a second, such as 50 or 0.5, or 0 for no limit"
	}
	return ""
}

// An origin as browsers write it (RFC 6454, 6.2): no path, no default port, nothing in upper case.
var originPattern = regexp.MustCompile(`^https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?$`)

func originList(value string) string {
	for _, origin := range splitList(value) {
		if origin != "*" && !originPattern.MatchString(origin) {
			return "must be origins such as https://shop.example.com, several with commas, * for all, or none"
		}
	}
	return ""
}

// splitList is what stands between the commas; "none" is an empty list.
func splitList(value string) (parts []string) {
	if value == "none" {
		return nil
	}
	for part := range strings.SplitSeq(value, ",") {
		parts = append(parts, strings.TrimSpace(part))
	}
	return parts
}

func filePath(value string) string {
	if value == "" || strings.ContainsRune(value, 0) || strings.HasSuffix(value, "/") {
		return "must be the path of a file, such as hexorders.db"
	}
	return ""
}

func mongodbURI(value string) string {
	rest, found := strings.CutPrefix(value, "mongodb://")
	if !found {
		rest, found = strings.CutPrefix(value, "mongodb+srv://")
	}
	if !found || rest == "" || rest[0] == '/' || strings.ContainsAny(value, " \t\r\n") {
		return "must look like mongodb://host:port/?replicaSet=name"
	}
	return ""
}

func databaseName(value string) string {
	if value == "" || len(value) > 63 || strings.ContainsAny(value, "/\\. \"$*<>:|?\x00") {
		return `must be a name of 1 to 63 bytes without any of / \ . " $ * < > : | ? and space`
	}
	return ""
}

func brokerList(value string) string {
	for _, broker := range strings.Split(value, ",") {
		host, port, err := net.SplitHostPort(strings.TrimSpace(broker))
		if err != nil || host == "" || strings.Contains(host, "/") || !isPort(port, 1) {
			return "must be host:port, several with commas, such as kafka1:9092,kafka2:9092"
		}
	}
	return ""
}

var topicPattern = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func topicName(value string) string {
	if !topicPattern.MatchString(value) || value == "." || value == ".." {
		return "must have 1 to 249 of the characters a-z A-Z 0-9 . _ -"
	}
	return ""
}

func retention(value string) string {
	if d, err := time.ParseDuration(value); err != nil || d < 0 {
		return "must be a duration such as 720h or 90m, or 0 to keep everything for ever"
	}
	return ""
}

// viewsWait stays below the 10 s that the work on a request may take.
func viewsWait(value string) string {
	if d, err := time.ParseDuration(value); err != nil || d < time.Millisecond || d > 9*time.Second {
		return "must be a duration from 1ms to 9s"
	}
	return ""
}

func isPort(s string, lowest int) bool {
	port, err := strconv.Atoi(s)
	return err == nil && port >= lowest && port <= 65535
}

func (c *Config) inMongoDB() bool { return c.Store == "mongodb" || c.Store == "mongodb-events" }

func (c *Config) logLevel() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Log.Level)) // check has seen to it
	return level
}
