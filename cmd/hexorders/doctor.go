package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hexorders/adapters/telemetry"
)

func doctorCommand() *cobra.Command {
	var asJSON, forWorkshop bool
	cmd := jsonFlag(&cobra.Command{
		Use:   "doctor",
		Short: "Check settings, store and broker, and say what is wrong and how to repair it",
		Long: `Checks what serving needs, a line each: settings, address, traces, store, clock, broker, relay, views.
It leaves everything as it was. The exit code is 1 when something is wrong.

With --workshop it checks this machine instead: git, the shell's tools, Go, its modules, room on the disk, the address, a browser, and
what each lesson needs. Run it in the root of the clone, the day before, while there is a network.`,
		Example: "  hexorders doctor\n  hexorders doctor --workshop\n  HEXORDERS_STORE=mongodb HEXORDERS_BROKER=kafka hexorders doctor",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := &reporter{asJSON: asJSON, out: cmd.OutOrStdout()}
			if forWorkshop {
				examineMachine(cmd.Context(), thisWorkshop(), r.report)
			} else {
				examine(cmd.Context(), r.report)
			}
			if r.wrong > 0 {
				return fmt.Errorf("%d of these checks failed", r.wrong)
			}
			return nil
		},
	}, &asJSON)
	cmd.Flags().BoolVar(&forWorkshop, "workshop", false, "check whether this machine is ready for the workshop")
	return cmd
}

// finding is the result of a check. With an error it is bad, and the error says what to do.
type finding struct {
	what string
	good string
	err  error
	note bool // the error is worth knowing, but serving works all the same
}

// reporter prints a line for each finding and counts those that are bad.
type reporter struct {
	asJSON bool
	out    io.Writer
	wrong  int
}

func (r *reporter) report(f finding) {
	mark, text := "ok", f.good
	switch {
	case f.err != nil && f.note:
		mark, text = "note", f.err.Error()
	case f.err != nil:
		mark, text = "BAD", f.err.Error()
		r.wrong++
	}
	if r.asJSON {
		_ = printJSON(r.out, map[string]string{"check": f.what, "result": strings.ToLower(mark), "text": text})
		return
	}
	_, _ = fmt.Fprintf(r.out, "%-4s  %-9s  %s\n", mark, f.what, text)
}

// examineMachine reports whether the workshop can be held here, and the service be reached where it listens.
func examineMachine(ctx context.Context, w workshop, report func(finding)) {
	c, _, err := loadConfig()
	if err != nil {
		report(finding{what: "settings", err: err})
	} else {
		report(checkAddress(ctx, &c))
	}
	w.examine(ctx, report)
}

// examine reports a finding for each thing that serving needs.
func examine(ctx context.Context, report func(finding)) {
	c, warnings, err := loadConfig()
	report(finding{what: "settings", good: "`hexorders config` prints them", err: err})
	for _, warning := range warnings {
		report(finding{what: "settings", err: errors.New(warning), note: true})
	}
	if err != nil {
		return // the other checks need valid settings
	}
	report(checkAddress(ctx, &c))
	if endpoint := telemetry.Endpoint(); endpoint != "" {
		report(checkTraces(ctx, endpoint))
	}
	store, found := checkStore(ctx, &c)
	for _, f := range found {
		report(f)
	}
	report(c.Broker.examine(ctx, &c))
	if store != nil {
		report(checkRelay(ctx, &c, store))
		report(checkViews(ctx, &c, store))
		_ = store.close(context.WithoutCancel(ctx)) // it was only read
	}
	for _, broker := range brokers {
		if broker.built != nil {
			f := broker.built()
			f.note = broker.name != c.Broker.name
			report(f)
		}
	}
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

// checkTraces asks the receiver of traces. Serving works without it.
func checkTraces(ctx context.Context, endpoint string) finding {
	asking, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	f := finding{what: "traces", good: "their receiver answers at " + masked(endpoint), note: true}
	if err := telemetry.Ping(asking); err != nil {
		f.err = fmt.Errorf("spans would be lost: start the receiver, or correct OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	return f
}

// clockSkew is how far this machine's clock and the server's may differ before it is worth a word. Nothing breaks at
// that point: order is by version, and leases go by the server's clock.
const clockSkew = 2 * time.Second

// checkStore opens the store. The caller closes it, unless it is nil.
func checkStore(ctx context.Context, c *Config) (*storage, []finding) {
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	f := finding{what: "store", good: c.Store.where(c)}
	s, err := openExisting(connecting, c)
	if err != nil {
		f.err = err
		f.note = c.Store.exists != nil && errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoCompanion) // serving creates it
		return nil, []finding{f}
	}
	if f.err = s.ready(connecting); f.err == nil {
		f.err = s.tryWrite(connecting)
	}
	findings := []finding{f}
	if examined := part[interface {
		examine(context.Context) []finding
	}](s); f.err == nil && examined != nil {
		findings = append(findings, examined.examine(connecting)...)
	}
	return s, findings
}

// checkClock compares this machine's clock with the server's.
func checkClock(ctx context.Context, serverTime func(context.Context) (time.Time, error)) finding {
	asked := time.Now()
	server, err := serverTime(ctx)
	if err != nil {
		return finding{what: "clock", err: err}
	}
	skew := (server.Sub(asked) - time.Since(asked)/2).Round(time.Millisecond)
	f := finding{what: "clock", good: fmt.Sprintf("the server's is %s ahead of this machine's", skew)}
	if skew.Abs() > clockSkew {
		f.note, f.err = true, fmt.Errorf("the server's clock is %s ahead of this machine's: times of orders will look odd; "+
			"let both follow the same time server", skew)
	}
	return f
}

// checkViews reports whether the views are up to date and whether orders are parked. Serving works in any case.
func checkViews(ctx context.Context, c *Config, s *storage) finding {
	f := finding{what: "views", note: true, good: "kept up to date by the process that serves"}
	if !c.Store.shared {
		return f
	}
	reading, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	live, err := s.views.Live(reading)
	if err != nil {
		f.err = err
		return f
	}
	parked, err := s.views.Parked(reading, live)
	if err != nil {
		f.err = err
		return f
	}
	freshness, err := s.views.Freshness(reading, "")
	gaps, gapsErr := s.views.Gaps(reading, live)
	err = cmp.Or(err, gapsErr)
	missing := missingViews(live)
	age, known := freshness.Age()
	switch age = age.Round(time.Second); {
	case err != nil:
		f.err = err
	case len(gaps) > 0:
		f.err = fmt.Errorf("incomplete (%s): %s: run `hexorders views rebuild`", gaps[0].Reason, gaps[0].Detail)
	case freshness.AsOf.IsZero():
		f.err = errors.New("no process has filled them yet: start one with the role views")
	case !known:
		f.err = errors.New("they were filled by a clock that runs ahead, or was set back since, and nothing tells how old they are")
	case age > viewsStaleAfter:
		f.err = fmt.Errorf("no process has updated them for %s: start one with the role views", age)
	case len(missing) > 0:
		f.err = fmt.Errorf("not built: %s: run `hexorders views rebuild`", strings.Join(missing, ", "))
	case len(parked) > 0:
		f.err = fmt.Errorf("%d orders are parked: see `hexorders views parked`", len(parked))
	default:
		f.good = fmt.Sprintf("up to date as of %s ago", age)
	}
	return f
}
