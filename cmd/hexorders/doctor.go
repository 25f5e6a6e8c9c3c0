package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"hexorders/adapters/kafka"
	"hexorders/adapters/mongodb"
	"hexorders/ports"
)

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check settings, store and broker, and say what is wrong and how to mend it",
		Long: `Checks what serving needs, a line each: settings, address, store, clock, broker, views. It changes nothing, except that it
makes the database file when there is none. The exit code is 1 when something is wrong.`,
		Example: "  hexorders doctor\n  HEXORDERS_STORE=mongodb HEXORDERS_BROKER=kafka hexorders doctor",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wrong := examine(cmd.Context(), cmd.OutOrStdout()); wrong > 0 {
				return fmt.Errorf("%d of these checks failed", wrong)
			}
			return nil
		},
	}
}

// finding is what a check found out. With an error it is bad, and the error says what to do.
type finding struct {
	what string
	good string
	err  error
	note bool // the error is worth knowing, but serving works all the same
}

// examine prints a line for each check and returns how many found something wrong.
func examine(ctx context.Context, out io.Writer) (wrong int) {
	report := func(f finding) {
		mark, text := "ok", f.good
		switch {
		case f.err != nil && f.note:
			mark, text = "note", f.err.Error()
		case f.err != nil:
			mark, text = "BAD", f.err.Error()
			wrong++
		}
		_, _ = fmt.Fprintf(out, "%-4s  %-9s  %s\n", mark, f.what, text)
	}
	c, warnings, err := loadConfig()
	report(finding{what: "settings", good: "`hexorders config` prints them", err: err})
	for _, warning := range warnings {
		report(finding{what: "settings", err: errors.New(warning), note: true})
	}
	if err != nil {
		return wrong // nothing else can be asked with these
	}
	report(checkAddress(ctx, &c))
	before := wrong
	for _, f := range checkStore(ctx, &c) {
		report(f)
	}
	views := wrong == before // they are in the store
	report(checkBroker(ctx, &c))
	if views {
		report(checkViews(ctx, &c))
	}
	report(finding{what: "cgo", good: "this binary can talk to Kafka", err: kafka.Supported(), note: c.Broker != "kafka"})
	return wrong
}

func checkAddress(ctx context.Context, c *Config) finding {
	f := finding{what: "address", good: c.HTTP.Addr + " is free"}
	var listener net.Listener
	if listener, f.err = listen(ctx, c.HTTP.Addr); f.err == nil {
		_ = listener.Close()
		return f
	}
	// It is no fault when the service itself has the port.
	asking, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(asking, http.MethodGet, "http://"+c.HTTP.Addr+"/livez", nil)
	if err != nil {
		return f
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return f
	}
	defer func() { _ = answer.Body.Close() }()
	var health struct{ Status string } // many a stranger answers 200 to every path
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<10)).Decode(&health); err == nil && health.Status == "ok" {
		f.good, f.err = "a service is running at "+c.HTTP.Addr, nil
	}
	return f
}

// clockSkew is how far this machine's clock and the server's may differ before it is worth a word. Nothing breaks at
// that point: order is by version, and leases go by the server's clock.
const clockSkew = 2 * time.Second

func checkStore(ctx context.Context, c *Config) []finding {
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	f := finding{what: "store", good: whereOrdersAre(c)}
	if c.inMongoDB() {
		db, err := mongodb.Connect(connecting, c.MongoDB.URI, c.MongoDB.Database)
		if err != nil {
			f.err = err
			return []finding{f}
		}
		defer func() { _ = db.Client().Disconnect(context.WithoutCancel(ctx)) }()
		clock := finding{what: "clock"}
		asked := time.Now()
		server, err := mongodb.ServerTime(connecting, db)
		skew := (server.Sub(asked) - time.Since(asked)/2).Round(time.Millisecond)
		clock.good = fmt.Sprintf("%s ahead of this machine's", skew)
		switch {
		case err != nil:
			clock.err = err
		case skew.Abs() > clockSkew:
			clock.err, clock.note = fmt.Errorf("the server's clock is %s ahead of this machine's: times of orders will look "+
				"odd; let both follow the same time server", skew), true
		}
		return []finding{f, {what: "replicas", good: "a replica set, as transactions and change streams need it"}, clock}
	}
	s, err := openStorage(connecting, c, slog.New(slog.DiscardHandler), nil)
	if err == nil {
		err = errors.Join(s.ready(connecting), s.close(connecting))
	}
	f.err = err
	return []finding{f}
}

func checkBroker(ctx context.Context, c *Config) finding {
	if c.Broker == "inproc" {
		if c.Store == "sqlite" || c.inMongoDB() {
			return finding{what: "broker", good: "in this process; its events are kept beside the orders"}
		}
		return finding{what: "broker", note: true, err: errors.New("in this process, and its events in memory only: " +
			"HEXORDERS_BROKER=kafka keeps them")}
	}
	f := finding{what: "broker", good: "Kafka answers at " + c.Kafka.Brokers + ", topic " + c.Kafka.Topic + " is there"}
	f.err = kafka.Ping(ctx, kafka.Options{Brokers: c.Kafka.Brokers, Topic: c.Kafka.Topic})
	f.note = errors.Is(f.err, kafka.ErrNoTopic)
	return f
}

// checkViews tells whether somebody fills the views and whether they keep something back. Serving works all the same.
func checkViews(ctx context.Context, c *Config) finding {
	f := finding{what: "views", note: true, good: "kept up to date by the process that serves"}
	if c.Store == "memory" {
		return f
	}
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	s, err := openStorage(connecting, c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		f.err = err
		return f
	}
	defer func() { _ = s.close(connecting) }()
	parked := 0
	for _, view := range ports.AllViews {
		kept, err := keeper(s, view).Parked(connecting)
		if err != nil {
			f.err = err
			return f
		}
		parked += len(kept)
	}
	asOf, err := oldestView(connecting, s.views)
	switch age := time.Since(asOf).Round(time.Second); {
	case err != nil:
		f.err = err
	case asOf.IsZero():
		f.err = errors.New("nobody has filled them yet: a process with the role projections does")
	case age > viewsStaleAfter:
		f.err = fmt.Errorf("nobody has kept them up to date for %s: start a process with the role projections", age)
	case parked > 0:
		f.err = fmt.Errorf("they keep events of %d orders back: see `hexorders consumers parked`", parked)
	default:
		f.good = fmt.Sprintf("they know everything up to %s ago", max(0, age))
	}
	return f
}
