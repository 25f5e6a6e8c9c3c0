package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// The whole cost of an order: from the request until it is in every view, with everything that works on it.

const (
	apiAlone  = "role api alone"
	withRelay = "roles api and relay"
)

// part is the program with some of its roles, on a database of its own. It runs only while it is measured: a change stream
// reads the whole oplog, and so a relay that waits would be fed with what the other sides write.
type part struct {
	lab       *lab
	db        string
	roles     string
	follows   string // the counter of what the last of the roles does with an order, "" when nothing follows the answer
	variables []string
}

// post is a round of POST /orders by so many clients. It ends when all orders are where the roles take them.
func (p part) post(clients int) func(context.Context) (sample, error) {
	return func(ctx context.Context) (s sample, err error) {
		service, err := p.lab.serve(ctx, p.db, p.db, p.roles, p.variables...)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, service.stop()) }()
		short := time.Now().Add(p.lab.time / 4)
		warm, _, err := p.load(ctx, service, clients, 0, func() bool { return time.Now().Before(short) })
		if err != nil {
			return s, err
		}
		meter, err := p.lab.startMeter(ctx, service.command.Process.Pid, service.mallocs)
		if err != nil {
			return s, err
		}
		s, took, err := p.load(ctx, service, clients, warm.done, func() bool { return true })
		if err != nil {
			return s, err
		}
		s.rate = float64(s.done) / took.Seconds()
		return s, meter.read(ctx, &s, s.done)
	}
}

// load returns when everything is done that follows the answers; before are the orders that the service had before.
func (p part) load(ctx context.Context, service *process, clients, before int, more func() bool) (s sample, took time.Duration,
	err error) {
	began := time.Now()
	s, err = p.lab.load(ctx, service, clients, asFast, func() (method, url, body string, ok bool) {
		return "POST", "/orders", newOrder, more()
	})
	if err != nil || p.follows == "" {
		return s, time.Since(began), err
	}
	done := 0.0
	err = await(ctx, roundTimeout, func() (bool, error) {
		done, err = service.metric(p.follows)
		return done >= float64(before+s.done), err
	})
	if err != nil {
		err = fmt.Errorf("%s is %.0f, want %d: %w", p.follows, done, before+s.done, err)
	}
	return s, time.Since(began), err
}

// wholeOrders is POST /orders with all roles, until the views have every order.
func wholeOrders(ctx context.Context, l *lab) (results []result, err error) {
	var parts []part
	for _, p := range []part{
		{roles: "api,relay,views", follows: "hexorders_view_applied_total"},
		{roles: "api,relay", follows: "hexorders_relay_published_total"},
		{roles: "api"},
	} {
		db, drop, err := l.database(ctx)
		if err != nil {
			return nil, err
		}
		defer drop()
		p.lab, p.db = l, db.Name()
		if p.follows != "" {
			defer l.deleteTopic(ctx, p.db)
		}
		parts = append(parts, p)
	}
	bare, err := l.newStand(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.close()) }()

	for _, clients := range l.clients {
		title := "POST /orders with all roles, " + inWords(clients)
		lines := []line{
			{title, ours, raw, rate, "orders/s", aim{}},
			{title, ours, apiAlone, rate, "orders/s", aim{}},
			{title + ": p99", ours, raw, p99, "ms", aim{}},
		}
		sides := []side{
			{ours, parts[0].post(clients)},
			{raw, func(ctx context.Context) (sample, error) {
				return l.rawLoop(ctx, clients, func(ctx context.Context) (bool, error) { return true, bare.raw.create(ctx) })
			}},
			{apiAlone, parts[2].post(clients)},
		}
		if clients == l.many {
			lines[0].aim = atLeast(2.7)
			of := title + ": processor time an order, "
			lines = append(lines,
				line{of + "all together", ours, apiAlone, allCPU, "µs", ratioBelow(2.5, "2.5")},
				line{of + "all together without the views", withRelay, apiAlone, allCPU, "µs", aim{}},
				line{of + "service", ours, apiAlone, cpu, "µs", aim{}},
				line{of + "mongod", ours, apiAlone, serverCPU, "µs", aim{}},
				line{of + "Kafka", ours, "", brokerCPU, "µs", aim{}})
			sides = append(sides, side{withRelay, parts[1].post(clients)})
		}
		r, err := l.compare(ctx, title, sides, lines...)
		if err != nil {
			return results, err
		}
		r.group, r.charts = fmt.Sprint(clients), []chart{
			{"whole", "POST /orders with all roles, until the views have the orders: orders a second, by number of clients", rate},
		}
		results = append(results, r)
	}
	return results, nil
}

// embedded is the same without a server: the store is a SQLite file, and the broker is in the process.
func embedded(ctx context.Context, l *lab) (results []result, err error) {
	with := func(roles, follows string) part {
		name := l.newName()
		return part{lab: l, db: name, roles: roles, follows: follows, variables: []string{"HEXORDERS_STORE=sqlite",
			"HEXORDERS_BROKER=inproc", "HEXORDERS_SQLITE_PATH=" + filepath.Join(l.folder, name+".db")}}
	}
	all, alone := with("api,relay,views", "hexorders_view_applied_total"), with("api", "")
	for _, clients := range []int{1, l.many} {
		title := "POST /orders with all roles and SQLite, " + inWords(clients)
		lines := []line{
			{title, ours, apiAlone, rate, "orders/s", aim{}},
			{title + ": p99", ours, apiAlone, p99, "ms", aim{}},
		}
		if clients == l.many {
			lines[0].aim = atLeast(0.7)
			lines = append(lines, line{title + ": processor time an order", ours, apiAlone, cpu, "µs", aim{}})
		}
		r, err := l.compare(ctx, title, []side{{ours, all.post(clients)}, {apiAlone, alone.post(clients)}}, lines...)
		if err != nil {
			return results, err
		}
		r.group, r.charts = fmt.Sprint(clients), []chart{
			{"embedded", "The same with SQLite: orders a second, by number of clients", rate},
		}
		results = append(results, r)
	}
	return results, nil
}

func inWords(clients int) string {
	return strings.TrimSuffix(fmt.Sprintf("%d clients", clients), map[bool]string{true: "s"}[clients == 1])
}
