package relay

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// Relay publishes what the outbox holds. Any number of relays may run; the one that holds the lease works, the others
// stand by.
//
// Guarantees: every committed message reaches the broker at least once; the first occurrences of an order's messages
// stand there in version order without a gap. A message is repeated only after a crash or a take-over, and then at
// most those that were published since the last checkpoint. No error ends the relay: what may pass is tried again,
// and what the broker refuses for good parks its order while the others flow on.
type Relay struct {
	Options
	status
}

// Options wire a relay. The ports and the owner are required; zero values of the rest mean the defaults.
type Options struct {
	Outbox    ports.Outbox
	Publisher ports.Publisher
	Parking   ports.Parking
	Lease     ports.Lease
	Owner     string // names this process in the lease; no two running relays may share it

	Trimmer   ports.Trimmer // deletes what was published longer ago than Retention; nil keeps everything
	Retention time.Duration // 0: for ever

	Window          int           // messages held between outbox and broker, which bounds the memory: 4096
	CheckpointEvery time.Duration // 100 ms
	RetryEvery      time.Duration // how often to look for parked orders that an operator sends again: 1 s
	LeaseTTL        time.Duration // a dead relay is replaced after about this time: 5 s
	DrainTimeout    time.Duration // how long a stop may take to send what was read: 3 s
	MaxBackoff      time.Duration // the longest pause between two tries: 5 s
	TrimEvery       time.Duration // how often to delete: a minute, or a tenth of Retention when that is less
	Logger          *slog.Logger  // slog.Default()
}

func New(o Options) *Relay {
	if o.Window <= 0 {
		o.Window = 4096
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&o.CheckpointEvery, 100 * time.Millisecond},
		{&o.RetryEvery, time.Second},
		{&o.LeaseTTL, 5 * time.Second},
		{&o.DrainTimeout, 3 * time.Second},
		{&o.MaxBackoff, 5 * time.Second},
		{&o.TrimEvery, min(time.Minute, max(o.Retention/10, time.Millisecond))},
	} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Relay{Options: o}
}

// Run relays until ctx ends. Then it takes no new message, sends what it has read and waits for the broker's answers, up
// to DrainTimeout, makes a last checkpoint and gives the lease back. It returns nil.
func (r *Relay) Run(ctx context.Context) error {
	for {
		number, began, err := r.campaign(ctx)
		if err != nil {
			return nil // only the end of ctx ends a campaign
		}
		r.Logger.Info("relay holds the lease", "owner", r.Owner, "term", number)
		r.leading.Store(true)
		err = r.serve(ctx, number, began)
		r.leading.Store(false)
		if ctx.Err() == nil {
			r.Logger.Warn("relay lost the lease and stands by", "owner", r.Owner, "term", number, "err", err)
			continue
		}
		releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := r.Lease.Release(releasing, r.Owner); err != nil {
			r.Logger.Warn("relay could not give the lease back; it runs out by itself", "owner", r.Owner, "err", err)
		}
		return nil
	}
}

// campaign waits for the lease. It also returns when the winning request was sent, which is when the lease's time
// began at the latest.
func (r *Relay) campaign(ctx context.Context) (term int64, sent time.Time, err error) {
	standingBy := false
	err = r.persist(ctx, "take the lease", func(ctx context.Context) error {
		for {
			sent = time.Now()
			term, err = r.Lease.Acquire(ctx, r.Owner, r.LeaseTTL)
			if !errors.Is(err, ports.ErrLeaseHeld) {
				return err
			}
			if !standingBy {
				standingBy = true
				r.Logger.Info("another relay holds the lease; standing by", "owner", r.Owner)
			}
			if err := pause(ctx, r.LeaseTTL/5); err != nil {
				return err
			}
		}
	})
	return term, sent, err
}

// persist tries until it works or ctx ends; the error is then the context's.
func (r *Relay) persist(ctx context.Context, what string, try func(context.Context) error) error {
	waits := newBackoff(r.MaxBackoff)
	for attempt := 1; ; attempt++ {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := waits.NextBackOff()
		r.Logger.Warn("relay could not "+what+"; trying again", "attempt", attempt, "wait", wait, "err", err)
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

func newBackoff(longest time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = min(50*time.Millisecond, longest)
	b.MaxInterval = longest
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
