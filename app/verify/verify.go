package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

// Store is what a verification reads of a store.
type Store interface {
	ports.OrderStore
	ports.OrderScanner
}

// Options say what to compare. Store, Topic and Decode are required; without ReadModel the store and the topic are
// compared alone. Zero values of the rest mean the defaults.
type Options struct {
	Store     Store
	Topic     ports.Replayable
	Decode    func(ports.Message) (order.Event, error)
	ReadModel ports.ReadModelStore
	Views     []readside.View // readside.All
	Parking   ports.Parking   // nil: the broker refuses nothing

	// Trimmed is until when the outbox may have deleted published messages; zero when it never deletes any.
	Trimmed time.Time
	// Settle is how long what is on its way from the store to the topic and the views may take: DefaultSettle. Nothing waits
	// when all agrees at once.
	Settle time.Duration
	Show   int    // how many differences of each kind are listed: 20
	Folder string // for temporary files: os.TempDir()
	Report func(Progress)
}

// DefaultSettle is three times what a relay needs to take over from one that was killed.
const DefaultSettle = 15 * time.Second

// Progress is how far a verification is.
type Progress struct {
	Step        string // "rows", "topic", "store", "settle" or "compare"
	Done, Total int64  // Total is an estimate, 0 when there is none
}

var (
	// ErrNotReplayable says that the broker does not keep its messages.
	ErrNotReplayable = errors.New("the broker does not deliver old messages again, so the topic cannot be verified")
	// ErrNoScan says that the store cannot be read as a whole.
	ErrNoScan = errors.New("the store cannot be read order by order, so it cannot be verified")

	// errMoved says that the read model was replaced, or read from somewhere that is not in the topic.
	errMoved = errors.New("the views moved in an unknown way while they were read")
)

// Check compares everything with everything. The error says that something could not be read; what does not agree is in
// the report. It reads only, and takes nothing from the consumers.
func Check(ctx context.Context, o Options) (*Report, error) {
	o.Settle = cmp.Or(max(o.Settle, 0), DefaultSettle)
	o.Show = cmp.Or(max(o.Show, 0), 20)
	if o.Views == nil {
		o.Views = readside.All
	}
	if o.Report == nil {
		o.Report = func(Progress) {}
	}
	const tries = 3
	for try := 1; ; try++ {
		c, err := newCheck(o)
		if err != nil {
			return nil, err
		}
		err = errors.Join(c.run(ctx, try < tries), c.close())
		if !errors.Is(err, errMoved) || try == tries {
			return c.report, err
		}
	}
}

// check is one verification. What it reads when is the point of it: DESIGN.md says why.
type check struct {
	options Options
	report  *Report
	folder  string

	views      []readside.View // those that the live generation has; none when rows are not compared
	generation ports.Generation
	vectors    []vector               // the places of the views while their rows were read
	viewEnds   []int                  // by view: the vector of its last page
	ordinals   map[ports.Place]*int64 // of the places that vectors name, -1 when the topic does not have them
	shards     map[string]*shard

	rows, topic, tail, pending, expected sorter

	parked   map[string]bool // orders with messages that the broker refused
	sequence uint64          // of the expected changes
}

// newCheck makes a check that has read nothing.
func newCheck(o Options) (*check, error) {
	folder, err := os.MkdirTemp(o.Folder, "hexorders-verify")
	if err != nil {
		return nil, err
	}
	c := &check{
		options: o, folder: folder, report: &Report{Counts: map[Kind]int64{}}, shards: map[string]*shard{}, parked: map[string]bool{},
	}
	for _, s := range c.sorters() {
		s.folder = folder
	}
	return c, nil
}

func (c *check) sorters() []*sorter {
	return []*sorter{&c.rows, &c.topic, &c.tail, &c.pending, &c.expected}
}

func (c *check) close() (err error) {
	for _, s := range c.sorters() {
		err = errors.Join(err, s.close())
	}
	return errors.Join(err, os.RemoveAll(c.folder))
}

// run goes through the steps. Each reads what the steps after it need to be sure.
func (c *check) run(ctx context.Context, rows bool) error {
	if c.options.ReadModel != nil {
		if err := c.chooseViews(ctx, rows); err != nil {
			return err
		}
		if err := c.readRows(ctx); err != nil {
			return err
		}
	}
	if err := c.readTopic(ctx, &c.topic, "topic"); err != nil {
		return err
	}
	c.placesInTopic()
	if err := c.readParked(ctx); err != nil {
		return err
	}
	if err := c.readStore(ctx); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	if err := c.sameGeneration(ctx); err != nil {
		return err
	}
	return c.compareRows(ctx)
}

// chooseViews finds out what rows there are to compare.
func (c *check) chooseViews(ctx context.Context, rows bool) (err error) {
	if c.generation, err = c.options.ReadModel.Live(ctx); err != nil {
		return err
	}
	if !rows {
		c.unproven("the rows of the views: the read model was replaced, or moved too fast, each time they were read; verify again")
		return nil
	}
	for _, v := range c.options.Views {
		if slices.Contains(c.generation.Views, v.Name) {
			c.views = append(c.views, v)
		} else {
			c.unproven("the view %s, which is not built: run `hexorders views rebuild`", v.Name)
		}
	}
	for _, name := range c.generation.Views {
		if !slices.ContainsFunc(c.options.Views, func(v readside.View) bool { return v.Name == name }) {
			c.unproven("the view %s, which belongs to another version of this program", name)
		}
	}
	return nil
}

func (c *check) unproven(format string, args ...any) {
	c.report.Unproven = append(c.report.Unproven, fmt.Sprintf(format, args...))
}

// sameGeneration fails when the read model was replaced meanwhile.
func (c *check) sameGeneration(ctx context.Context) error {
	if len(c.views) == 0 {
		return nil
	}
	live, err := c.options.ReadModel.Live(ctx)
	if err == nil && live.Number != c.generation.Number {
		return errMoved
	}
	return err
}

func (c *check) readParked(ctx context.Context) error {
	if c.options.Parking == nil {
		return nil
	}
	parked, err := c.options.Parking.Parked(ctx)
	for _, o := range parked {
		c.parked[o.OrderID] = true
	}
	return err
}
