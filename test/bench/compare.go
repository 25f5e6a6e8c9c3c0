package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// side is one of those that are compared.
type side struct {
	name  string
	round func(ctx context.Context) (sample, error)
}

// sample is what one round of one side showed. A field that a side does not measure is 0.
type sample struct {
	done      int     // successful operations
	rate      float64 // successful operations a second
	whole     float64 // the same from taking the lease on, connecting included, of a relay
	refused   float64 // the share of operations that were answered with an error
	p50       time.Duration
	p99       time.Duration
	max       time.Duration
	cpu       time.Duration // processor time of the side's own process, an operation; not that of the load generator
	serverCPU time.Duration // the same of mongod
	brokerCPU time.Duration // the same of Kafka
	mallocs   float64       // allocations of the side's own process, an operation
	rss       float64       // the most memory that the side's own process had, MiB
}

// line is a line of the table: one figure of one side, perhaps against the same figure of another.
type line struct {
	title   string
	of      string
	against string // "" when the figure stands alone
	value   func(sample) float64
	unit    string
	aim     aim
}

// aim is what a line must show. The zero value asks for nothing.
type aim struct {
	text string
	met  func(value, ratio float64) bool
}

func atLeast(limit float64) aim {
	return aim{fmt.Sprintf("≥ %.2g", limit), func(_, ratio float64) bool { return ratio >= limit }}
}

func ratioBelow(limit float64, text string) aim {
	return aim{"< " + text, func(_, ratio float64) bool { return ratio < limit }}
}

func below(limit float64, unit string) aim {
	return aim{fmt.Sprintf("< %.0f %s", limit, unit), func(value, _ float64) bool { return value < limit }}
}

// The figures that lines are about.
func rate(s sample) float64      { return s.rate }
func whole(s sample) float64     { return s.whole }
func refused(s sample) float64   { return s.refused * 100 }
func p50(s sample) float64       { return milliseconds(s.p50) }
func p99(s sample) float64       { return milliseconds(s.p99) }
func longest(s sample) float64   { return milliseconds(s.max) }
func cpu(s sample) float64       { return milliseconds(s.cpu) * 1000 }
func serverCPU(s sample) float64 { return milliseconds(s.serverCPU) * 1000 }
func brokerCPU(s sample) float64 { return milliseconds(s.brokerCPU) * 1000 }
func allCPU(s sample) float64    { return cpu(s) + serverCPU(s) + brokerCPU(s) }
func mallocs(s sample) float64   { return s.mallocs }
func rss(s sample) float64       { return s.rss }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// result is a comparison that has been made.
type result struct {
	name    string
	samples map[string][]sample // of each side, a sample a round
	sides   []string
	lines   []line
	group   string // its place in the charts
	charts  []chart
}

// compare runs the sides one after the other, once to warm up and then round by round, each round beginning with another
// of them: what drifts on the machine meets all of them alike.
func (l *lab) compare(ctx context.Context, name string, sides []side, lines ...line) (result, error) {
	r := result{name: name, samples: map[string][]sample{}, lines: lines}
	for _, s := range sides {
		r.sides = append(r.sides, s.name)
	}
	for round := range l.rounds + 1 {
		for i := range sides {
			s := sides[(i+round)%len(sides)]
			bounded, cancel := context.WithTimeout(ctx, roundTimeout)
			got, err := s.round(bounded)
			cancel()
			if err != nil {
				return r, fmt.Errorf("%s: %s: %w", name, s.name, err)
			}
			if got.rate <= 0 {
				return r, fmt.Errorf("%s: %s did nothing", name, s.name)
			}
			if round > 0 {
				r.samples[s.name] = append(r.samples[s.name], got)
			}
			l.sayf("%s, round %d, %s: %.0f/s, p99 %v", name, round, s.name, got.rate, got.p99.Round(time.Microsecond))
		}
	}
	return r, nil
}

// roundTimeout is far more than a round takes.
const roundTimeout = 10 * time.Minute

// spread is how a figure came out over the rounds.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return spread{}
	}
	return spread{(sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]}
}

func (r result) figure(of string, value func(sample) float64) spread {
	var values []float64
	for _, s := range r.samples[of] {
		values = append(values, value(s))
	}
	return spreadOf(values)
}

// ratio is taken round by round, each side against the other's neighbour in time.
func (r result) ratio(l line) spread {
	var values []float64
	for i, s := range r.samples[l.of] {
		values = append(values, l.value(s)/l.value(r.samples[l.against][i]))
	}
	return spreadOf(values)
}
