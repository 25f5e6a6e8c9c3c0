package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"hexorders/test/checker"
)

// bed is the installation. Its servers stay the same for all faults; each fault has services, clients, a database and a
// topic of its own.
type bed struct {
	folder   string // programs, data and logs
	progress io.Writer
	mongod   string
	kafka    string // the folder of its jars
	direct   string // host names as the servers and we see them
	through  string // and as the services see them
	running  map[string]*process
	proxies  map[string]*proxy
	kgo      *kgo.Client
	kadm     *kadm.Client

	// Of the fault that is tried now.
	name        string    // of its database and its topic
	file        string    // the SQLite file, when that is the store
	recreated   time.Time // when the topic was made anew
	environment []string
	clients     *clients
}

// start makes the network and starts the servers.
func (b *bed) start(ctx context.Context) (err error) {
	b.running, b.proxies = map[string]*process{}, map[string]*proxy{}
	if b.mongod, err = dist("mongodb-*/mongod"); err != nil {
		return err
	}
	if b.kafka, err = dist("kafka-*/kafka-clients-*.jar"); err != nil {
		return err
	}
	b.kafka = filepath.Dir(b.kafka)
	if err := b.network(); err != nil {
		return err
	}
	if b.kgo, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(kafkaAt, ",")...), kgo.MetadataMinAge(100*time.Millisecond)); err != nil {
		return err
	}
	b.kadm = kadm.NewClient(b.kgo)
	return b.startServers(ctx)
}

func (b *bed) close() error {
	if b.kgo != nil {
		b.kgo.Close()
	}
	nodes := slices.Collect(maps.Keys(b.running))
	b.signal(syscall.SIGCONT, nodes...)
	b.kill(nodes...)
	for _, node := range append(mongos, smallDisk) {
		_ = syscall.Unmount(b.data(node), 0) // it was not mounted when the start failed early, or no fault needs it
	}
	return nil
}

// row is what came out of one fault.
type row struct {
	fault     fault
	held      time.Duration // until what was broken was mended
	commands  int           // answered meanwhile
	slowest   time.Duration // from the first request of a command to its answer
	answer    time.Duration // from the fault until a new command was answered
	list      time.Duration // from the mending until a new order was in every service's list
	report    checker.Report
	err       error // the promise that was broken
	lost      int
	invented  int
	unordered int
	other     int
}

func (r row) String() string {
	verdict := r.counts()
	if r.err != nil {
		verdict += ": " + r.err.Error()
	}
	return fmt.Sprintf("%d commands in %s, slowest %s, answers after %s, lists after %s, %d events, %d duplicates: %s",
		r.commands, tenths(r.held), tenths(r.slowest), tenths(r.answer), tenths(r.list), r.report.Committed, r.report.Duplicates, verdict)
}

func (r row) counts() string {
	counts := fmt.Sprintf("lost %d, invented %d, out of order %d", r.lost, r.invented, r.unordered)
	if r.other > 0 {
		counts += fmt.Sprintf(", other %d", r.other)
	}
	return counts
}

// line is the row of the page. What else went wrong is in what the command printed.
func (r row) line() string {
	verdict := r.counts()
	if r.err != nil {
		verdict = "**broken**: " + verdict
	}
	return fmt.Sprintf("| %s | %s | %d | %.1f s | %.1f s | %.1f s | %d | %d | %s |\n", r.fault.name, r.fault.what, r.commands,
		r.slowest.Seconds(), r.answer.Seconds(), r.list.Seconds(), r.report.Committed, r.report.Duplicates, verdict)
}

func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// try carries one fault out: services and clients start and come to speed, something breaks, is mended, and everything has
// to come to rest as if nothing had happened.
func (b *bed) try(ctx context.Context, f fault) (r row) {
	r.fault = f
	if r.err = b.whole(ctx); r.err != nil {
		return r
	}
	if r.err = b.open(ctx, f); r.err != nil {
		return r
	}
	clientsDone, stop := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	go func() {
		defer close(clientsDone)
		b.clients.work(ctx, stop)
	}()
	defer func() {
		b.signal(syscall.SIGCONT, b.nodes()...)
		b.kill(hexes...)
		r.err = errors.Join(r.err, b.revive())
	}()
	if _, r.err = b.listed(ctx, hexes...); r.err != nil {
		return r
	}

	begin := time.Now()
	if r.err = f.do(ctx, b); r.err != nil {
		r.err = fmt.Errorf("the fault could not be made: %w", r.err)
		return r
	}
	mended := time.Now()
	r.held = mended.Sub(begin)
	if r.list, r.err = b.listed(ctx, hexes...); r.err != nil {
		return r
	}
	if at, ok := b.clients.firstAfter(begin); ok {
		r.answer = at.Sub(begin)
	}
	r.commands, r.slowest = b.clients.during(begin, mended)
	close(stop)
	<-clientsDone
	if r.err = b.clients.wrong; r.err != nil {
		return r
	}
	if r.err = b.whole(ctx); r.err != nil {
		return r
	}
	r.judge(ctx, b)
	return r
}

// open starts two services of every role over a new database and a new topic.
func (b *bed) open(ctx context.Context, f fault) error {
	b.name = "faults-" + uuid.NewString()[:8]
	b.file, b.recreated = "", time.Time{}
	store := []string{"HEXORDERS_STORE=mongodb", "HEXORDERS_MONGODB_URI=" + mongoAt, "HEXORDERS_MONGODB_DATABASE=" + b.name}
	if f.sqlite {
		if err := b.smallDisk(smallDisk, fileDiskMB); err != nil {
			return err
		}
		b.file = filepath.Join(b.data(smallDisk), "orders.db")
		store = []string{"HEXORDERS_STORE=sqlite", "HEXORDERS_SQLITE_PATH=" + b.file}
	}
	b.environment = append(store,
		"HEXORDERS_BROKER=kafka", "HEXORDERS_KAFKA_BROKERS="+kafkaAt, "HEXORDERS_KAFKA_TOPIC="+b.name,
		"HEXORDERS_LOG_FORMAT=json", "HOME="+b.folder, "PATH="+os.Getenv("PATH"))
	for _, p := range b.proxies {
		p.delay.Store(0)
	}
	var bases []string
	for _, node := range hexes {
		bases = append(bases, b.base(node))
	}
	b.clients = newClients(bases)
	if err := b.serveWith(ctx, f.startsWith(), hexes...); err != nil {
		return err
	}
	return b.until(ctx, "the topic is whole", b.kafkaWhole)
}

func (b *bed) base(node string) string { return "http://" + address(node) + ":8080" }

// serve starts services and waits until they are ready.
func (b *bed) serve(ctx context.Context, nodes ...string) error {
	return b.serveWith(ctx, current, nodes...)
}

func (b *bed) serveWith(ctx context.Context, p program, nodes ...string) error {
	for _, node := range nodes {
		if err := b.launchService(node, p); err != nil {
			return err
		}
	}
	for _, node := range nodes {
		err := b.until(ctx, node+" is ready", func(ctx context.Context) error {
			select {
			case <-b.running[node].ended: // as a supervisor: without a primary a service ends, and says so
				return errors.Join(fmt.Errorf("it ended: %s", b.running[node].cmd.ProcessState), b.launchService(node, p))
			default:
			}
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			status, _, err := read(ctx, b.base(node)+"/readyz")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("answer %d", status)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bed) launchService(node string, p program) error {
	if err := b.setClock(node, 0); err != nil {
		return err
	}
	environment := append(slices.Clone(b.environment), "HEXORDERS_HTTP_ADDR="+address(node)+":8080", clockVar+"="+b.clockFile(node))
	_, err := b.launch(node, b.through, environment, filepath.Join(b.folder, string(p)), "serve")
	return err
}

// listed places an order through each service and waits until every one of them lists all: commands, relay, broker and
// views work from end to end. It returns how long that took.
func (b *bed) listed(ctx context.Context, nodes ...string) (time.Duration, error) {
	began := time.Now()
	probe := newClients(b.clients.bases)
	for _, node := range nodes {
		buyer := "probe-" + uuid.NewString()[:8]
		probe.bases = []string{b.base(node)}
		o, err := probe.command(ctx, 0, http.StatusCreated, "/orders", fmt.Sprintf(`{"buyerId":%q}`, buyer))
		if err != nil {
			return 0, fmt.Errorf("%s takes no order: %w", node, err)
		}
		b.clients.mu.Lock()
		b.clients.versions[o.ID] = o.Version
		b.clients.mu.Unlock()
		for _, reader := range nodes {
			err := b.until(ctx, fmt.Sprintf("%s lists an order that %s took", reader, node), func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				_, found, err := read(ctx, b.base(reader)+"/orders?buyerId="+buyer)
				if err == nil && !strings.Contains(found, o.ID) {
					err = errors.New("not there")
				}
				return err
			})
			if err != nil {
				return 0, err
			}
		}
	}
	return time.Since(began), nil
}

func read(ctx context.Context, url string) (status int, text string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// judge waits until every event is published and listed, stops the services in order and lets the checker read everything.
func (r *row) judge(ctx context.Context, b *bed) {
	source := checker.Source{MongoURI: mongoAt, Database: b.name, Brokers: kafkaAt, Topic: b.name, SQLite: b.file}
	reader, err := checker.Open(source)
	if err != nil {
		r.err = err
		return
	}
	defer func() { r.err = errors.Join(r.err, reader.Close(context.WithoutCancel(ctx))) }()
	awaited, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	late := b.published(awaited, reader)
	h, err := reader.Read(ctx)
	if err != nil {
		r.err = err
		return
	}
	listed := h.Topic
	if !b.recreated.IsZero() {
		listed = committed(h)
		r.err = b.verifyNamesWhatIsMissing(ctx, h)
	}
	views := checker.AwaitViews(awaited, b.base(hexes[0]), listed)
	for _, node := range hexes {
		r.err = errors.Join(r.err, b.stopInOrder(node, 12*time.Second))
	}
	if h, err = reader.Read(ctx); err != nil {
		r.err = errors.Join(r.err, err)
		return
	}
	h.Answered = b.clients.versions
	r.verdict(checker.Check(b.sinceRecreated(h), math.MaxInt))
	r.err = errors.Join(r.err, late, views)
}

// verdict counts the broken promises but those that the fault tolerates.
func (r *row) verdict(report checker.Report) {
	report.Violations = slices.DeleteFunc(report.Violations, func(v checker.Violation) bool {
		return slices.Contains(r.fault.tolerates, v.Rule)
	})
	r.report = report
	for _, v := range report.Violations {
		switch v.Rule {
		case checker.Lost, checker.Forgotten:
			r.lost++
		case checker.Invented:
			r.invented++
		case checker.OutOfOrder, checker.Scattered:
			r.unordered++
		default:
			r.other++
		}
	}
	if len(report.Violations) > 0 {
		r.err = errors.Join(r.err, errors.New(report.String()))
	}
}
