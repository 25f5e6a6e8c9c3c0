package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"hexorders/adapters/console"
	"hexorders/adapters/httpapi"
	"hexorders/adapters/prometheus"
	"hexorders/adapters/telemetry"
	"hexorders/app/readside"
	"hexorders/app/relay"
	"hexorders/ports"
)

// How long the parts of a stop may take. Together, with a second for the relay's last checkpoint and another for its
// lease, they stay under stopWithin, after which the process ends as it is. The engine of the views stops side by side
// with the relay and takes no longer: its commit is cancelled, and a subscriber ends within two seconds.
const (
	graceTime       = time.Second             // readiness is 503 and requests are served, so that a load balancer turns away
	requestsTimeout = 2 * time.Second         // for the requests under way then
	interruptAfter  = 3 * requestsTimeout / 4 // those that still wait for the store then get 503, while they can
	drainTimeout    = 3 * time.Second         // for the relay to send what it has read
	flushTimeout    = time.Second / 2         // for messages that the relay no longer waits for
	closeTimeout    = time.Second / 2         // for the store to close, and the last spans to be sent meanwhile
	stopWithin      = 9500 * time.Millisecond
)

// gcPercent lets the heap grow to five times what is live before it is collected; GOGC in the environment wins. What is
// live is a few MB, and to collect them as often as Go does by itself costs a quarter of the processor time of an order
// and saves 10 MB.
const gcPercent = 400

// connectTimeout is for the store at start, with the time to find out why it does not answer.
const connectTimeout = 15 * time.Second

func serveCommand() *cobra.Command {
	var roles []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the HTTP API, publish events and keep the views, in one process or several",
		Long: `Serves the HTTP API (role api), publishes committed events (role relay) and keeps the views that lists are read from
(role views), until SIGINT, SIGTERM or SIGHUP: then requests finish, the relay stores its checkpoint, and the
exit code is 0. A second signal ends it at once.

A process without the role api still answers /livez, /readyz and /metrics, so that it can be watched. Any number of relays
may run; one works, the others stand by. Any number of processes may have the role views; they share the events.
Every process with the role api serves lists, no matter which process fills the views.`,
		Example: `  hexorders serve
  hexorders serve --roles api
  HEXORDERS_STORE=mongodb HEXORDERS_BROKER=kafka hexorders serve
  HEXORDERS_STORE=mongodb HEXORDERS_BROKER=kafka HEXORDERS_HTTP_ADDR=127.0.0.1:8081 hexorders serve --roles relay,views`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), roles, cmd.ErrOrStderr(), nil) },
	}
	cmd.Flags().StringSliceVar(&roles, "roles", knownRoles, "what this process does, with commas")
	return cmd
}

// serve runs the service until ctx ends or a signal comes. demo is nil but in a demo.
func serve(ctx context.Context, roles []string, logTo io.Writer, demo *demoService) error {
	roles, renamed, err := parseRoles(roles)
	if err != nil {
		return err
	}
	config, warnings, err := loadConfig()
	if err != nil {
		return err
	}
	log := newLogger(logTo, &config)
	slog.SetDefault(log) // for libraries that have not been told
	for _, warning := range append(warnings, renamed...) {
		log.Warn(warning)
	}

	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	ctx, ended := untilSignal(ctx, log)
	defer ended()
	service := newService(config, roles, log)
	service.demo = demo
	if err := service.Open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it had begun
		}
		return err
	}
	return service.Run(ctx)
}

// Service is the running program. Tests start it the way the command does: newService, Open, Run.
type Service struct {
	config Config
	roles  []string
	access *slog.Logger // a line for each request
	log    *slog.Logger // everything else

	listener    net.Listener
	server      *http.Server
	connections *connections
	storage     *storage
	publisher   ports.Publisher // nil without the role relay, and so is the next
	relay       *relay.Relay
	subscriber  ports.Subscriber // nil without the role views, and so is the next
	views       *readside.Engine
	feed        *console.Feed // nil without the console, and so is the next
	spans       *console.Spans
	telemetry   *telemetry.Telemetry // nil without traces
	demo        *demoService         // nil but in a demo
	metrics     *prometheus.Metrics
	draining    atomic.Bool // the process is about to end
	hurry       atomic.Bool // and requests that wait for the views get their answer now
	interrupt   func()      // ends the contexts of all requests
	grace       func()      // waits for graceTime
}

func newService(config Config, roles []string, log *slog.Logger) *Service {
	access, log := log, withoutRepeats(log)
	s := &Service{
		config: config, roles: roles, access: access, log: log, metrics: prometheus.New(log),
		grace: func() { <-time.After(graceTime) },
	}
	if config.Console {
		s.feed, s.spans = console.NewFeed(), &console.Spans{}
	}
	return s
}

// Open takes the port, connects the store and wires everything. What it opened before an error it closes again.
func (s *Service) Open(ctx context.Context) (err error) {
	// The port first: finding it taken is quick, and must not cost a running relay its lease.
	if s.demo != nil {
		s.listener = s.demo.listener
	} else {
		s.listener, err = listen(ctx, s.config.HTTP.Addr)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.listener.Close()
			s.telemetry.Close(ctx) // it has made no spans
		}
	}()
	if err := s.openTelemetry(ctx); err != nil {
		return err
	}
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	s.storage, err = openStorage(connecting, &s.config, s.log, s.watch(), true)
	if err != nil {
		return err
	}
	if s.demo != nil {
		if err := s.demo.open(connecting, &s.config, s.storage); err != nil {
			s.closeStorage()
			return err
		}
	}
	if s.has(roleRelay) {
		s.publisher, err = s.config.Broker.publisher(&s.config, s.storage, s.log)
		if err != nil {
			s.closeStorage()
			return err
		}
		traced := telemetry.Publisher(s.demo.publisher(s.publisher), s.config.topic(), s.telemetry.Role(roleRelay))
		s.relay = newRelay(&s.config, s.storage, traced, s.feed, s.log)
		s.metrics.Watch(prometheus.Relay{Status: s.relay.Status, Unread: s.storage.unread})
	}
	if s.has(roleViews) {
		if err := s.openViews(); err != nil {
			s.close()
			return err
		}
	}
	s.metrics.WatchReady(s.ready)
	if s.has(roleAPI) || s.has(roleViews) {
		s.metrics.WatchFreshness(s.storage.views.Freshness)
	}
	s.connections = newConnections(s.config.HTTP.MaxConnections)
	s.server = newServer(s.handler(), s.connections, s.log)
	requests, interrupt := context.WithCancel(context.WithoutCancel(ctx))
	s.server.BaseContext = func(net.Listener) context.Context { return requests }
	s.interrupt = interrupt
	return nil
}

func (s *Service) openViews() error {
	subscriber, err := s.config.Broker.subscriber(&s.config, s.storage, s.log)
	if err != nil {
		return err
	}
	s.subscriber = subscriber
	if watched, ok := subscriber.(interface{ Stalls() int64 }); ok {
		s.metrics.WatchStalls(watched.Stalls)
	}
	traced := telemetry.Subscriber(s.demo.subscriber(subscriber), s.config.topic(), s.telemetry.Role(roleViews))
	options := engineOptions(&s.config, s.storage, console.Subscriber(traced, s.feed), s.log)
	options.Store = console.ReadModelStore(options.Store, s.feed)
	s.views = readside.New(options)
	s.metrics.WatchViews(s.views.Status)
	return nil
}

// URL is where the service listens, once it is open.
func (s *Service) URL() string { return "http://" + s.listener.Addr().String() }

// Run serves until ctx ends or something that it cannot do without breaks; then it stops in order: requests first, then
// the relay and the views, then what they stand on.
func (s *Service) Run(ctx context.Context) error {
	s.greet()
	work, alive := errgroup.WithContext(ctx)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx)) // for what goes on while requests finish
	defer stopBackground()
	work.Go(func() error {
		if err := s.server.Serve(httpapi.WithProblems(s.listener, s.log)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		return nil
	})
	if s.relay != nil {
		work.Go(func() error { return s.relay.Run(background) })
		work.Go(func() error {
			s.checkBroker(alive)
			return nil
		})
	}
	if s.views != nil {
		work.Go(func() error { return s.views.Run(background) })
	}
	if s.has(roleAPI) && !s.has(roleViews) {
		work.Go(func() error {
			s.watchViews(alive)
			return nil
		})
	}
	work.Go(func() error {
		<-alive.Done()
		defer stopBackground()
		s.stopHTTP()
		return nil
	})
	err := work.Wait()
	s.close()
	s.log.Info("stopped")
	return err
}

// checkBroker warns when the broker does not answer. A missing topic is no fault: the publisher creates it.
func (s *Service) checkBroker(ctx context.Context) {
	err := s.config.Broker.check(ctx, &s.config)
	if err != nil && !noTopic(err) && ctx.Err() == nil {
		s.log.Warn("the broker does not answer; orders are accepted all the same, and their events wait for it", "err", err)
	}
}

func (s *Service) stopHTTP() {
	s.draining.Store(true)
	if s.feed != nil {
		s.feed.Close() // its streams would never finish
	}
	s.log.Info("stopping; requests under way may finish")
	if s.has(roleAPI) {
		s.grace()
	}
	s.hurry.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), requestsTimeout)
	defer cancel()
	defer s.interrupt()
	defer time.AfterFunc(interruptAfter, s.interrupt).Stop()
	s.connections.closeSilent()
	if err := s.server.Shutdown(ctx); err != nil {
		s.log.Warn("some requests did not finish in time and were cut off", "after", requestsTimeout)
		_ = s.server.Close()
	}
}

func (s *Service) close() {
	if s.publisher != nil {
		if err := s.publisher.Close(); err != nil {
			s.log.Warn("the broker did not take everything; the rest will be sent at the next start", "err", err)
		}
	}
	if s.demo != nil {
		if err := s.demo.close(); err != nil {
			s.log.Warn("the demo could not be closed in order", "err", err)
		}
	}
	var sent sync.WaitGroup
	defer sent.Wait()
	sent.Go(func() { closeTelemetry(s.telemetry) })
	s.closeStorage()
}

func (s *Service) closeStorage() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	// Not every store's client ends when its context does: MongoDB's may first wait for a heartbeat.
	closed := make(chan error, 1)
	go func() { closed <- s.storage.close(ctx) }()
	select {
	case err := <-closed:
		if err != nil {
			s.log.Warn("the store could not be closed in order", "err", err)
		}
	case <-ctx.Done():
	}
}

func (s *Service) handler() http.Handler {
	tracer := s.telemetry.Role(roleAPI)
	options := newAPI(&s.config, s.storage, s.ready, s.hurry.Load, s.metrics, s.feed, tracer, s.access)
	if !s.has(roleAPI) {
		options.Orders = nil
	}
	options.Console = s.console()
	return telemetry.Requests(console.Requests(httpapi.New(options), s.feed), tracer)
}

func (s *Service) ready(ctx context.Context) error {
	if s.draining.Load() {
		return errors.New("the process is stopping")
	}
	return s.storage.check(ctx)
}
