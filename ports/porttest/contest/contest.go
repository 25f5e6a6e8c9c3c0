// Package contest lets several ways to save orders take turns in one benchmark, in many short rounds, so that what else the
// machine does meets all of them.
package contest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/core/order"
)

// Contestant is one way to save. W is what it saves at once.
type Contestant[W any] struct {
	Name string
	Save func(W) error
}

// Run compares the contestants with the first one. In each round each of them saves as many new pieces of work, by so many
// clients at once; work makes one from its number and is not timed. The metrics are the medians of the rounds' ratios. The log
// gives the middle half of the rounds beside each median.
func Run[W any](b *testing.B, clients, saves int, contestants []Contestant[W], work func(number int) W) {
	b.Helper()
	rates := map[string][]float64{}
	next := 0
	for round := 0; b.Loop(); round++ {
		for turn := range contestants { // each contestant is first in turn
			c := contestants[(round+turn)%len(contestants)]
			all := make([]W, saves)
			for i := range all {
				all[i] = work(next)
				next++
			}
			rates[c.Name] = append(rates[c.Name], rate(b, clients, all, c.Save))
		}
	}
	first := contestants[0].Name
	for _, c := range contestants {
		low, median, high := spread(rates[c.Name])
		b.Logf("%-12s %6.0f saves/s (%.0f to %.0f)", c.Name, median, low, high)
		if c.Name == first {
			continue
		}
		ratios := make([]float64, len(rates[c.Name]))
		for i, r := range rates[c.Name] {
			ratios[i] = r / rates[first][i]
		}
		low, median, high = spread(ratios)
		b.Logf("%-12s %6.2f of %s (%.2f to %.2f)", c.Name, median, first, low, high)
		b.ReportMetric(median, c.Name+"/"+first)
	}
	b.ReportMetric(0, "ns/op") // a round's time says nothing
}

// Order is a new order. Its id grows with the number, as UUIDv7 does.
func Order(b *testing.B, number int) *order.Order {
	b.Helper()
	id := fmt.Sprintf("0197b3a4-0000-7000-8000-%012d", number)
	at := time.Date(2026, time.March, 14, 6, 30, 0, 0, time.UTC).Add(time.Duration(number) * time.Millisecond)
	o, err := order.New(id, fmt.Sprintf("buyer-%d", number%1000),
		[]order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}}, at)
	if err != nil {
		b.Fatal(err)
	}
	return o
}

// rate is how many of these were saved a second by so many clients at once.
func rate[W any](b *testing.B, clients int, work []W, save func(W) error) float64 {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for range clients {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(work) {
					return
				}
				if err := save(work[i]); err != nil {
					b.Errorf("save: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(len(work)) / time.Since(begun).Seconds()
}

// spread is the median of the values, between their quartiles.
func spread(values []float64) (low, median, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	last := len(sorted) - 1
	return sorted[last/4], sorted[last/2], sorted[last-last/4]
}
