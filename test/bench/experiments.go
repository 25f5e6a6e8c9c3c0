package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// experiment is a group of lines that share a set-up.
type experiment struct {
	name string
	run  func(ctx context.Context, l *lab) ([]result, error)
}

// standard is what `make bench` measures.
var standard = []experiment{
	{"post", post},
	{"overload", overload},
	{"pay", pay},
	{"hot", hot},
	{"get", get},
	{"drain", drain},
	{"latency", latency},
	{"backlog", backlogs},
	{"views", views},
	{"whole", wholeOrders},
	{"embedded", embedded},
	{"postgres", overPostgres},
	{"nats", throughNATS},
}

// optional is not in docs/benchmarks.md. connectors needs more than the two servers: `make bench-peers`.
var optional = []experiment{
	{"connectors", connectors},
	{"console", consoles},
	{"traces", traces},
}

// The sides, as the tables call them.
const (
	ours    = "hexorders"
	raw     = "raw loop"
	behind  = "raw loop behind net/http"
	single  = "hexorders, a transaction a save"
	polling = "find, produce, mark"
)

// oneByOne makes the store commit each save in a transaction of its own.
const oneByOne = "HEXORDERS_MONGODB_MAX_BATCH=1"

// stand is a service over a database of its own, or a raw store over one.
type stand struct {
	service *process
	raw     *rawStore
	close   func() error
}

// newStand opens a raw store over a new database, and with roles a service as well.
func (l *lab) newStand(ctx context.Context, roles string, variables ...string) (*stand, error) {
	db, drop, err := l.database(ctx)
	if err != nil {
		return nil, err
	}
	s := &stand{close: func() error { drop(); return nil }}
	if s.raw, err = newRawStore(l.mongoURI, db.Name()); err != nil {
		drop()
		return nil, err
	}
	s.close = func() error { s.raw.close(); drop(); return nil }
	if roles == "" {
		return s, nil
	}
	if s.service, err = l.serve(ctx, db.Name(), db.Name(), roles, variables...); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.close = func() error { err := s.service.stop(); s.raw.close(); drop(); return err }
	return s, nil
}

// post is POST /orders.
func post(ctx context.Context, l *lab) (results []result, err error) {
	grouped, err := l.newStand(ctx, "api")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, grouped.close()) }()
	alone, err := l.newStand(ctx, "api", oneByOne)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, alone.close()) }()
	bare, err := l.newStand(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.close()) }()
	served, err := l.serveBare(ctx, bare.raw.orders.Database().Name())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, served.stop()) }()

	orders := func() (method, url, body string, ok bool) { return "POST", "/orders", newOrder, true }
	for _, clients := range l.clients {
		title := fmt.Sprintf("POST /orders, %d clients", clients)
		if clients == 1 {
			title = "POST /orders, 1 client"
		}
		through := func(p *process) func(context.Context) (sample, error) {
			return func(ctx context.Context) (sample, error) { return l.load(ctx, p, clients, asFast, orders) }
		}
		lines := []line{
			{title, ours, raw, rate, "orders/s", postAims[clients]},
			{title, ours, single, rate, "orders/s", aim{}},
			{title + ": p99", ours, raw, p99, "ms", aim{}},
		}
		if clients == l.many {
			lines[2].aim = ratioBelow(1.0/3, "1/3")
			lines = append(lines,
				line{title + ": processor time of the service, of the raw loop, an order", ours, raw, cpu, "µs", aim{}},
				line{title + ": processor time of mongod an order", ours, raw, serverCPU, "µs", aim{}},
				line{title + ": allocations an order", ours, raw, mallocs, "", aim{}})
		}
		sides := []side{
			{ours, through(grouped.service)},
			{raw, func(ctx context.Context) (sample, error) {
				return l.rawLoop(ctx, clients, func(ctx context.Context) (bool, error) { return true, bare.raw.create(ctx) })
			}},
			{single, through(alone.service)},
		}
		if clients == 1 { // where there is nothing to share, what HTTP costs is all there is to see
			sides = append(sides, side{behind, through(served)})
			lines = append(lines, line{title, ours, behind, rate, "orders/s", aim{}})
		}
		r, err := l.compare(ctx, title, sides, lines...)
		if err != nil {
			return results, err
		}
		r.group, r.charts = fmt.Sprint(clients), []chart{
			{"post", "POST /orders: orders a second, by number of clients", rate},
			{"post-p99", "POST /orders: 99th percentile in ms, by number of clients", p99},
		}
		results = append(results, r)
	}
	return results, nil
}

var postAims = map[int]aim{1: atLeast(0.9), 64: atLeast(4.5)}

// onExisting compares a request to a service with the same done raw, on orders that are there before. fresh makes new
// orders for each round.
func (l *lab) onExisting(ctx context.Context, title string, orders, clients int, fresh bool,
	request func(id string) (method, url, body string), work func(r *rawStore) func(context.Context, string) error,
	expected []string, lines ...line) (results []result, err error) {
	served, err := l.newStand(ctx, "api")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, served.close()) }()
	bare, err := l.newStand(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.close()) }()

	known := map[*stand][]string{}
	supply := func(ctx context.Context, s *stand) (next func() (id string, ok bool), err error) {
		if fresh || known[s] == nil {
			known[s] = make([]string, 0, orders)
			now := time.Now()
			err := fill(ctx, s.raw.orders, orders, func(int) orderDocument {
				o, _ := newDocuments(now)
				known[s] = append(known[s], o.ID)
				return o
			})
			if err != nil {
				return nil, err
			}
		}
		var taken atomic.Int64
		return func() (string, bool) {
			if !fresh {
				return known[s][rand.IntN(len(known[s]))], true
			}
			i := int(taken.Add(1)) - 1
			if i >= len(known[s]) {
				return "", false
			}
			return known[s][i], true
		}, nil
	}
	r, err := l.compare(ctx, title, []side{
		{ours, func(ctx context.Context) (sample, error) {
			next, err := supply(ctx, served)
			if err != nil {
				return sample{}, err
			}
			return l.load(ctx, served.service, clients, asFast, func() (method, url, body string, ok bool) {
				id, ok := next()
				method, url, body = request(id)
				return method, url, body, ok
			}, expected...)
		}},
		{raw, func(ctx context.Context) (sample, error) {
			next, err := supply(ctx, bare)
			if err != nil {
				return sample{}, err
			}
			do := work(bare.raw)
			return l.rawLoop(ctx, clients, func(ctx context.Context) (bool, error) {
				id, ok := next()
				if !ok {
					return false, nil
				}
				return true, do(ctx, id)
			})
		}},
	}, lines...)
	return []result{r}, err
}

// pay is POST /orders/{id}/pay on orders that are there.
func pay(ctx context.Context, l *lab) ([]result, error) {
	title := fmt.Sprintf("POST /orders/{id}/pay, %d clients", l.many)
	return l.onExisting(ctx, title, l.orders*int((l.time+time.Second-1)/time.Second), l.many, true,
		func(id string) (method, url, body string) { return "POST", "/orders/" + id + "/pay", "" },
		func(r *rawStore) func(context.Context, string) error { return r.pay }, nil,
		line{title, ours, raw, rate, "orders/s", aim{}},
		line{title + ": p99", ours, raw, p99, "ms", aim{}})
}

// hot is many clients that all change one order.
func hot(ctx context.Context, l *lab) ([]result, error) {
	title := fmt.Sprintf("%d clients add items to one order", l.hot)
	return l.onExisting(ctx, title, 1, l.hot, false,
		func(id string) (method, url, body string) {
			return "POST", "/orders/" + id + "/items", `{"productId":"1111","amount":1}`
		},
		func(r *rawStore) func(context.Context, string) error { return r.addItem },
		[]string{"409"}, // after eight lost races the service tells the client, where the driver tries for two minutes
		line{title, ours, raw, rate, "changes/s", aim{}},
		line{title + ": p99", ours, raw, p99, "ms", aim{}},
		line{title + ": answered with a conflict", ours, "", refused, "%", aim{}})
}

// get is GET /orders/{id}.
func get(ctx context.Context, l *lab) ([]result, error) {
	title := fmt.Sprintf("GET /orders/{id}, %d clients", l.many)
	return l.onExisting(ctx, title, l.orders, l.many, false,
		func(id string) (method, url, body string) { return "GET", "/orders/" + id, "" },
		func(r *rawStore) func(context.Context, string) error {
			return func(ctx context.Context, id string) error { _, err := r.get(ctx, id); return err }
		}, nil,
		line{title, ours, raw, rate, "orders/s", aim{}},
		line{title + ": p99", ours, raw, p99, "ms", aim{}})
}
