package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
)

// traces is what they cost a service with all roles: POST with many clients without them, with those that the console shows,
// and with one in a hundred and all of them sent to a receiver that throws them away.
func traces(ctx context.Context, l *lab) (results []result, err error) {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what breaks is the sender's to notice
	}))
	defer receiver.Close()
	const off, console, few, all = "no traces", "console only", "1 %", "100 %"
	const silent = "HEXORDERS_CONSOLE=off"
	to, some := "OTEL_EXPORTER_OTLP_ENDPOINT="+receiver.URL, "OTEL_TRACES_SAMPLER=parentbased_traceidratio"
	orders := func() (method, url, body string, ok bool) { return "POST", "/orders", newOrder, true }
	var sides []side
	for _, s := range []struct {
		name      string
		variables []string
	}{
		{off, []string{silent}}, {console, nil},
		{few, []string{silent, to, some, "OTEL_TRACES_SAMPLER_ARG=0.01"}}, {all, []string{silent, to}},
	} {
		stand, err := l.newStand(ctx, "api,relay,views", s.variables...)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stand.close()) }()
		sides = append(sides, side{s.name, func(ctx context.Context) (sample, error) {
			return l.load(ctx, stand.service, l.many, asFast, orders)
		}})
	}
	title := fmt.Sprintf("POST /orders, %d clients", l.many)
	cost := title + ": processor time of the service an order"
	r, err := l.compare(ctx, title, sides,
		line{title, console, off, rate, "orders/s", aim{}},
		line{title, few, off, rate, "orders/s", atLeast(0.97)},
		line{title, all, off, rate, "orders/s", atLeast(0.8)},
		line{cost, console, off, cpu, "µs", aim{}},
		line{cost, few, off, cpu, "µs", aim{}},
		line{cost, all, off, cpu, "µs", aim{}})
	return []result{r}, err
}
