package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// requests are what the clients of a round send: the next one each time, until there is none left.
type requests func() (method, url, body string, ok bool)

// asFast has each client send a request as soon as the one before is answered.
var asFast = vegeta.Rate{}

// manyClients is for loads of a given rate: far more than a service that keeps up needs.
const manyClients = 512

// load sends requests to a service. An answer that is an error is one of the load, too, unless the status is expected.
func (l *lab) load(ctx context.Context, p *process, clients int, pace vegeta.Rate, next requests,
	expected ...string) (s sample, err error) {
	// As many connections as clients, all kept alive. The generator shares the machine, so it does as little as it can.
	transport := newTransport(strings.TrimPrefix(p.url, "http://"), clients)
	defer transport.close()
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: transport}), vegeta.MaxBody(0),
		vegeta.Workers(uint64(min(clients, 64))), vegeta.MaxWorkers(uint64(clients)),
	)
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	header := http.Header{"Content-Type": []string{"application/json"}}
	targets := func(t *vegeta.Target) error {
		method, url, body, ok := next()
		if !ok {
			return vegeta.ErrNoTargets
		}
		*t = vegeta.Target{Method: method, URL: p.url + url, Body: []byte(body), Header: header}
		return nil
	}

	meter, err := l.startMeter(ctx, p.command.Process.Pid, p.mallocs)
	if err != nil {
		return s, err
	}
	var metrics vegeta.Metrics
	for result := range attacker.Attack(targets, pace, l.time, "") {
		if result.Error != vegeta.ErrNoTargets.Error() {
			metrics.Add(result)
		}
	}
	metrics.Close()
	if err := ctx.Err(); err != nil {
		return s, err
	}
	for status, answers := range metrics.StatusCodes {
		if !strings.HasPrefix(status, "2") && !slices.Contains(expected, status) {
			return s, fmt.Errorf("%d answers have the status %s: %s", answers, status, strings.Join(metrics.Errors, ", "))
		}
	}
	done := int(metrics.Success*float64(metrics.Requests) + 0.5)
	s = sample{
		done: done, rate: metrics.Throughput, refused: 1 - metrics.Success,
		p50: metrics.Latencies.P50, p99: metrics.Latencies.P99, max: metrics.Latencies.Max,
	}
	return s, meter.read(ctx, &s, done)
}

// rawLoop is load as fast as possible without a service: so many goroutines that each call work again as soon as it returns. work
// says whether there was anything to do.
func (l *lab) rawLoop(ctx context.Context, clients int, work func(ctx context.Context) (worked bool, err error)) (s sample, err error) {
	meter, err := l.startMeter(ctx, os.Getpid(), ownMallocs)
	if err != nil {
		return s, err
	}
	latencies, problems := make([][]time.Duration, clients), make([]error, clients)
	began := time.Now()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for time.Since(began) < l.time && problems[i] == nil {
				start := time.Now()
				worked, err := work(ctx)
				if !worked {
					problems[i] = err
					return
				}
				problems[i] = err
				latencies[i] = append(latencies[i], time.Since(start))
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	if err := errors.Join(problems...); err != nil {
		return s, err
	}
	measured := slices.Concat(latencies...)
	s = latencyOf(measured)
	s.done, s.rate = len(measured), float64(len(measured))/took.Seconds()
	return s, meter.read(ctx, &s, len(measured))
}

// latencyOf has the percentiles of what was measured, by the nearest rank.
func latencyOf(measured []time.Duration) (s sample) {
	if len(measured) == 0 {
		return s
	}
	slices.Sort(measured)
	at := func(percent int) time.Duration { return measured[(len(measured)*percent+99)/100-1] }
	s.p50, s.p99, s.max = at(50), at(99), measured[len(measured)-1]
	return s
}
