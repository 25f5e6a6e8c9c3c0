package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// withRoom is for loads of a given rate: a pause of the machine makes them a crowd, and none of it is to be refused.
var withRoom = fmt.Sprintf("HEXORDERS_HTTP_MAX_COMMANDS=%d", manyClients)

// overload is POST /orders by far more clients than make the store any faster. The peers are the same service with as many
// as do, for what is accepted must be as much and nearly as fast, and a service that refuses none.
func overload(ctx context.Context, l *lab) (results []result, err error) {
	served, err := l.newStand(ctx, "api")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, served.close()) }()
	unbounded, err := l.newStand(ctx, "api", fmt.Sprintf("HEXORDERS_HTTP_MAX_COMMANDS=%d", l.crowd))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unbounded.close()) }()
	few, many := fmt.Sprintf("%d clients", l.many), fmt.Sprintf("%d clients", l.crowd)
	all := many + ", no bound"
	title := "POST /orders, overload"
	r, err := l.compare(ctx, title, []side{
		{few, func(ctx context.Context) (sample, error) { return l.polite(ctx, served.service, l.many) }},
		{many, func(ctx context.Context) (sample, error) { return l.polite(ctx, served.service, l.crowd) }},
		{all, func(ctx context.Context) (sample, error) { return l.polite(ctx, unbounded.service, l.crowd) }},
	},
		line{title + ": accepted", many, few, rate, "orders/s", atLeast(0.9)},
		line{title + ": p99 of what is accepted", many, few, p99, "ms", ratioBelow(2, "2")},
		line{title + ": p99 of what is accepted", many, all, p99, "ms", aim{}},
		line{title + ": answered with 503", many, "", refused, "%", aim{}},
		line{title + ": peak memory of the service", many, "", rss, "MiB", aim{}})
	return []result{r}, err
}

// polite has clients that send an order as soon as the one before is answered, but after a 503 wait as long as Retry-After
// says, or up to half as long again, so that they do not all come back at once. What is measured begins when all have come.
// The latency is that of what is accepted.
func (l *lab) polite(ctx context.Context, p *process, clients int) (s sample, err error) {
	transport := newTransport(strings.TrimPrefix(p.url, "http://"), clients)
	defer transport.close()
	took, turned, problems := make([][]time.Duration, clients), make([]int, clients), make([]error, clients)
	ramp := l.time / 4
	began := time.Now().Add(ramp)
	ending, cancel := context.WithDeadline(ctx, began.Add(l.time))
	defer cancel()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			time.Sleep(rand.N(ramp))
			for ending.Err() == nil && problems[i] == nil {
				sent := time.Now()
				status, err := create(ctx, transport, p.url)
				switch {
				case err != nil:
					problems[i] = err
				case status == http.StatusCreated && sent.After(began):
					took[i] = append(took[i], time.Since(sent))
				case status == http.StatusCreated:
				case status == http.StatusServiceUnavailable:
					if sent.After(began) {
						turned[i]++
					}
					select {
					case <-time.After(time.Second + rand.N(time.Second/2)):
					case <-ending.Done():
					}
				default:
					problems[i] = fmt.Errorf("POST /orders: status %d", status)
				}
			}
		})
	}
	all.Wait()
	whole := time.Since(began)
	if err := errors.Join(problems...); err != nil {
		return s, err
	}
	accepted := slices.Concat(took...)
	s = latencyOf(accepted)
	s.done, s.rate = len(accepted), float64(len(accepted))/whole.Seconds()
	sum := 0
	for _, n := range turned {
		sum += n
	}
	s.refused = float64(sum) / float64(max(1, sum+s.done))
	s.rss, err = peakMemory(p.command.Process.Pid)
	return s, err
}

func create(ctx context.Context, by http.RoundTripper, url string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/orders", strings.NewReader(newOrder))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := by.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, errors.Join(err, answer.Body.Close())
}
