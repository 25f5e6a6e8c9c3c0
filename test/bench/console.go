package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// streamsOpen is the most that the console allows.
const streamsOpen = 20

// consoles is what the console costs a service with all roles: POST with many clients without it, with it while nobody
// looks, and with all its streams open.
func consoles(ctx context.Context, l *lab) (results []result, err error) {
	off, err := l.newStand(ctx, "api,relay,views", "HEXORDERS_CONSOLE=off")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, off.close()) }()
	on, err := l.newStand(ctx, "api,relay,views")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, on.close()) }()

	orders := func() (method, url, body string, ok bool) { return "POST", "/orders", newOrder, true }
	through := func(p *process) func(context.Context) (sample, error) {
		return func(ctx context.Context) (sample, error) { return l.load(ctx, p, l.many, asFast, orders) }
	}
	title := fmt.Sprintf("POST /orders, %d clients", l.many)
	const nobody, watched, without = "console, nobody looks", "console, 20 streams", "no console"
	r, err := l.compare(ctx, title, []side{
		{without, through(off.service)},
		{nobody, through(on.service)},
		{watched, func(ctx context.Context) (sample, error) {
			closeStreams, err := on.service.openStreams(ctx)
			if err != nil {
				return sample{}, err
			}
			defer closeStreams()
			return through(on.service)(ctx)
		}},
	},
		line{title, nobody, without, rate, "orders/s", aim{}},
		line{title, watched, without, rate, "orders/s", atLeast(0.95)},
		line{title + ": processor time of the service an order", nobody, without, cpu, "µs", aim{}},
		line{title + ": processor time of the service an order", watched, without, cpu, "µs", aim{}})
	return []result{r}, err
}

// openStreams opens the streams of the console and reads them, as pages do.
func (p *process) openStreams(ctx context.Context) (closeAll func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	closeAll = func() { cancel(); readers.Wait() }
	for range streamsOpen {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/console/feed", nil)
		if err != nil {
			closeAll()
			return nil, err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil && response.StatusCode != http.StatusOK {
			err = errors.Join(errors.New("a stream of the console: "+response.Status), response.Body.Close())
		}
		if err != nil {
			closeAll()
			return nil, err
		}
		readers.Go(func() {
			_, _ = io.Copy(io.Discard, response.Body) // it ends with the context
			_ = response.Body.Close()
		})
	}
	return closeAll, nil
}
