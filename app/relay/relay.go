package relay

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// Relay publishes the messages of the outbox. Any number of relays may run; the one that holds the lease publishes, the
// others stand by.
//
// Guarantees: every committed message reaches the broker at least once. The first occurrences of an order's messages
// stand there in version order without a gap. The relay repeats a message only after a crash or a takeover, and then
// only messages published since the last checkpoint. No error ends the relay: it retries what may pass, and a message
// that the broker refuses permanently parks its order while the other orders go on.
type Relay struct {
	options Options
	status  status
}

// Options wire a relay. The ports and the owner are required; zero values of the rest mean the defaults.
type Options struct {
	Outbox    ports.Outbox
	Publisher ports.Publisher
	Parking   ports.Parking
	Lease     ports.Lease
	Owner     string // names this process in the lease; no two running relays may share it

	Trimmer   ports.Trimmer // deletes published messages older than Retention; nil keeps all
	Retention time.Duration // 0: unlimited

	MaxInFlight     int           // messages read from the outbox and not done yet, which bounds the memory: 4096
	CheckpointEvery time.Duration // 100 ms
	RetryEvery      time.Duration // how often to look for parked orders that an operator sends again: 1 s
	LeaseTTL        time.Duration // another relay takes over from a dead one after about this time: 5 s
	DrainTimeout    time.Duration // how long a stop may take to publish the messages already read: 3 s
	MaxBackoff      time.Duration // the longest pause between two tries: 5 s
	TrimEvery       time.Duration // how often to delete: a minute, or a tenth of Retention if that is less
	Logger          *slog.Logger  // slog.Default()
}

// New makes a relay that does nothing before Run.
func New(o Options) *Relay {
	o.MaxInFlight = cmp.Or(max(o.MaxInFlight, 0), 4096)
	o.CheckpointEvery = cmp.Or(max(o.CheckpointEvery, 0), 100*time.Millisecond)
	o.RetryEvery = cmp.Or(max(o.RetryEvery, 0), time.Second)
	o.LeaseTTL = cmp.Or(max(o.LeaseTTL, 0), 5*time.Second)
	o.DrainTimeout = cmp.Or(max(o.DrainTimeout, 0), 3*time.Second)
	o.MaxBackoff = cmp.Or(max(o.MaxBackoff, 0), 5*time.Second)
	o.TrimEvery = cmp.Or(max(o.TrimEvery, 0), min(time.Minute, max(o.Retention/10, time.Millisecond)))
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return &Relay{options: o}
}

// Run relays until ctx ends. Then it reads no new message, publishes the messages already read, waits for the broker's
// answers up to DrainTimeout, saves a last checkpoint and gives the lease back. It returns nil.
func (r *Relay) Run(ctx context.Context) error {
	o := &r.options
	for {
		term, acquired, err := r.acquireLease(ctx)
		if err != nil {
			return nil // only the end of ctx ends the wait for the lease
		}
		o.Logger.Info("relay holds the lease", "owner", o.Owner, "term", term)
		r.status.leading.Store(true)
		err = newLeadership(r, term, acquired).run(ctx)
		r.status.leading.Store(false)
		if ctx.Err() == nil {
			o.Logger.Warn("relay lost the lease and stands by", "owner", o.Owner, "term", term, "err", err)
			continue
		}
		releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := o.Lease.Release(releasing, o.Owner); err != nil {
			o.Logger.Warn("relay could not give the lease back; it runs out by itself", "owner", o.Owner, "err", err)
		}
		return nil
	}
}

// acquireLease waits for the lease. acquired is when the request that got it was sent: the lease's time began no
// earlier. The error is that of ctx.
func (r *Relay) acquireLease(ctx context.Context) (term int64, acquired time.Time, err error) {
	o := &r.options
	standingBy := false
	err = o.retry(ctx, "take the lease", func() error {
		for {
			acquired = time.Now()
			term, err = o.Lease.Acquire(ctx, o.Owner, o.LeaseTTL)
			if !errors.Is(err, ports.ErrLeaseHeld) {
				return err
			}
			if !standingBy {
				standingBy = true
				o.Logger.Info("another relay holds the lease; standing by", "owner", o.Owner)
			}
			if err := pause(ctx, o.LeaseTTL/5); err != nil {
				return err
			}
		}
	})
	return term, acquired, err
}

// retry calls try until it succeeds, fails with a backoff.Permanent error, or ctx ends. The error is then that one, or
// the cause of ctx's end.
func (o *Options) retry(ctx context.Context, what string, try func() error) error {
	attempt := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, try() },
		backoff.WithBackOff(o.newBackoff()), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			attempt++
			o.Logger.Warn("relay could not "+what+"; trying again", "attempt", attempt, "wait", wait, "err", err)
		}))
	return err
}

func (o *Options) newBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = min(50*time.Millisecond, o.MaxBackoff)
	b.MaxInterval = o.MaxBackoff
	b.Multiplier = 2
	return b
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outlive returns a context that ends grace after ctx has ended, or when cancel is called.
func outlive(ctx context.Context, grace time.Duration) (later context.Context, cancel context.CancelFunc) {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	unwatch := context.AfterFunc(ctx, func() { time.AfterFunc(grace, end) })
	return later, func() { unwatch(); end() }
}
