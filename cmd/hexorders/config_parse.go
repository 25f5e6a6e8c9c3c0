package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hexorders/adapters/postgres"
)

// A parser turns the text of a setting into its value. Its error says what the text must look like.

// kindOf finds a row of stores or of brokers by its name.
func kindOf[K fmt.Stringer](kinds []K) func(text string) (K, error) {
	return func(text string) (kind K, err error) {
		for _, k := range kinds {
			if k.String() == text {
				return k, nil
			}
		}
		return kind, errors.New("must be " + alternatives(names(kinds)))
	}
}

// names lists the names of stores or of brokers.
func names[K fmt.Stringer](kinds []K) []string {
	all := make([]string, len(kinds))
	for i, k := range kinds {
		all[i] = k.String()
	}
	return all
}

// alternatives writes "a", "a or b", "a, b or c".
func alternatives(words []string) string { return enumerate(words, " or ") }

func enumerate(words []string, conjunction string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + conjunction + words[last]
}

func oneOf(words ...string) func(text string) (string, error) {
	return func(text string) (string, error) {
		if slices.Contains(words, text) {
			return text, nil
		}
		return "", errors.New("must be " + alternatives(words))
	}
}

func parseBool(text string) (bool, error) {
	word, err := oneOf("false", "true")(text)
	return word == "true", err
}

func parseSwitch(text string) (bool, error) {
	word, err := oneOf("on", "off")(text)
	return word == "on", err
}

func parseLevel(text string) (level slog.Level, err error) {
	if _, err := oneOf("debug", "info", "warn", "error")(text); err != nil {
		return level, err
	}
	return level, level.UnmarshalText([]byte(text))
}

func wholeNumber(least, most int) func(text string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		return n, nil
	}
}

func parseRate(text string) (float64, error) {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate >= 0 && rate <= 1e6) { // NaN is neither
		return 0, errors.New("must be a number of requests a second, such as 50 or 0.5, or 0 for no limit")
	}
	return rate, nil
}

func parseRetention(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New("must be a duration such as 720h or 90m, or 0 to keep everything for ever")
	}
	return d, nil
}

// parseWait keeps the wait below the 10 s that a request may take.
func parseWait(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond || d > 9*time.Second {
		return 0, errors.New("must be a duration from 1ms to 9s")
	}
	return d, nil
}

func parseAddress(text string) (string, error) {
	if _, port, err := net.SplitHostPort(text); err != nil || !isPort(port, 0) {
		return "", errors.New(
			"must be host:port with a port from 0 to 65535, such as 127.0.0.1:8080, or :8080 for every interface")
	}
	return text, nil
}

// An origin as browsers write it (RFC 6454, 6.2): no path, no default port, nothing in upper case.
var originPattern = regexp.MustCompile(`^https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?$`)

func parseOrigins(text string) (origins []string, err error) {
	if text == "none" {
		return nil, nil
	}
	for origin := range strings.SplitSeq(text, ",") {
		origin = strings.TrimSpace(origin)
		if origin != "*" && !originPattern.MatchString(origin) {
			return nil, errors.New("must be origins such as https://shop.example.com, several with commas, * for all, or none")
		}
		origins = append(origins, origin)
	}
	return origins, nil
}

// parseHosts returns the host names that requests may be for; nil: all. By itself the service looks at them when it listens
// on the loopback: only a browser on this machine reaches it there, and a page whose host name is rebound to the loopback
// must not.
func parseHosts(text, address string) ([]string, error) {
	switch text {
	case "*":
		return nil, nil
	case "auto":
		host, _, _ := net.SplitHostPort(address) // the address has been parsed before
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, nil
		}
		return []string{"localhost"}, nil
	}
	var hosts []string
	for host := range strings.SplitSeq(text, ",") {
		host = strings.TrimSpace(host)
		if !hostPattern.MatchString(host) {
			return nil, errors.New("must be host names without a port, such as shop.example.com, several with commas, * for all, or auto")
		}
		hosts = append(hosts, strings.ToLower(host))
	}
	return hosts, nil
}

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

func parsePath(text string) (string, error) {
	if text == "" || strings.ContainsRune(text, 0) || strings.HasSuffix(text, "/") {
		return "", errors.New("must be the path of a file, such as hexorders.db")
	}
	return text, nil
}

func parseMongoURI(text string) (string, error) {
	rest, found := strings.CutPrefix(text, "mongodb://")
	if !found {
		rest, found = strings.CutPrefix(text, "mongodb+srv://")
	}
	if !found || rest == "" || rest[0] == '/' || strings.ContainsAny(text, " \t\r\n") {
		return "", errors.New("must look like mongodb://host:port/?replicaSet=name")
	}
	return text, nil
}

func parsePostgresURI(text string) (string, error) {
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") || postgres.CheckURI(text) != nil {
		return "", errors.New("must look like postgres://user@host:5432/database")
	}
	return text, nil
}

func parseDatabase(text string) (string, error) {
	if text == "" || len(text) > 63 || strings.ContainsAny(text, "/\\. \"$*<>:|?\x00") {
		return "", errors.New(`must be a name of 1 to 63 bytes without any of / \ . " $ * < > : | ? and space`)
	}
	return text, nil
}

func parseBrokers(text string) (string, error) {
	for broker := range strings.SplitSeq(text, ",") {
		host, port, err := net.SplitHostPort(strings.TrimSpace(broker))
		if err != nil || host == "" || strings.ContainsAny(host, "/@") || !isPort(port, 1) {
			return "", errors.New("must be host:port, several with commas, such as kafka1:9092,kafka2:9092")
		}
	}
	return text, nil
}

var natsScheme = regexp.MustCompile(`^(nats|tls|wss?)$`)

// parseNATS refuses what the client would only find when it connects. Its error does not repeat the text, which may hold a
// password.
func parseNATS(text string) (string, error) {
	for server := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || !natsScheme.MatchString(u.Scheme) || u.Hostname() == "" || u.RawQuery != "" ||
			u.Port() != "" && !isPort(u.Port(), 1) {
			return "", errors.New("must look like nats://host:4222 or tls://user:password@host:4222, several with commas")
		}
	}
	return text, nil
}

var topicPattern = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func parseTopic(text string) (string, error) {
	if !topicPattern.MatchString(text) || text == "." || text == ".." {
		return "", errors.New("must have 1 to 249 of the characters a-z A-Z 0-9 . _ -")
	}
	return text, nil
}

func isPort(s string, lowest int) bool {
	port, err := strconv.Atoi(s)
	return err == nil && port >= lowest && port <= 65535
}
