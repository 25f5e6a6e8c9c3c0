package nats

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"
)

// Options are the address of NATS and the settings of the stream. The zero value of each field is usable.
type Options struct {
	URL          string        // nats://host:port or tls://host:port, several with commas; "" means nats://127.0.0.1:4222
	Security     Security      // the zero value means what the URL says
	Subject      string        // of the stream, which is named after it; "" means orders.events
	Replicas     int           // used when the stream is created; 0 means 1
	Queue        int           // messages that wait for their acknowledgement before Publish waits; 0 means 4,096
	Source       string        // the ce-source of every message, a URI reference; "" means DefaultSource
	FlushTimeout time.Duration // how long Close waits for the server; 0 means 5 s
	Logger       *slog.Logger  // nil means slog.Default()

	// SessionTimeout is the time after which another member of a group takes over from a member that has died; 0 means
	// 10 s.
	SessionTimeout time.Duration
}

// Security is how clients connect, beside a user and password or a token in the URL.
type Security struct {
	Credentials          string // file with a JWT and its key, as nsc and managed NATS hand them out
	CA, Certificate, Key string // PEM files
}

// DefaultSource is the ce-source of events unless Options.Source is set.
const DefaultSource = "/hexorders"

// A subject without wildcards, and short enough for the names that are made of it.
var subjectPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$`)

// ParseSubject returns a subject that a stream can be named after.
func ParseSubject(text string) (string, error) {
	if !subjectPattern.MatchString(text) || len(text) > 200 {
		return "", errors.New("must be words of a-z A-Z 0-9 _ - with dots between them, such as orders.events")
	}
	return text, nil
}

func (o Options) withDefaults() Options {
	o.URL = cmp.Or(o.URL, "nats://127.0.0.1:4222")
	o.Subject = cmp.Or(o.Subject, "orders.events")
	o.Replicas = cmp.Or(o.Replicas, 1)
	o.Queue = cmp.Or(o.Queue, 4096)
	o.Source = cmp.Or(o.Source, DefaultSource)
	o.FlushTimeout = cmp.Or(o.FlushTimeout, 5*time.Second)
	o.SessionTimeout = cmp.Or(o.SessionTimeout, 10*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return o
}

func (o Options) check() error {
	if _, err := ParseSubject(o.Subject); err != nil {
		return fmt.Errorf("nats: subject %q: %w", o.Subject, err)
	}
	if o.Queue < 0 || o.Replicas < 0 {
		return fmt.Errorf("nats: a queue of %d and %d replicas: neither can be negative", o.Queue, o.Replicas)
	}
	return nil
}

// stream is the name of the stream. A stream's name has no dots.
func (o Options) stream() string { return strings.ReplaceAll(o.Subject, ".", "_") }

// bucket is the name of the key-value bucket with the turns of groups.
func (o Options) bucket() string { return o.stream() + "_groups" }
