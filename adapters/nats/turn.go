package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"hexorders/ports"
)

// A stream is one shard, so one member of a group reads at a time: the one whose turn it is. A record a group, in a
// key-value bucket, says whose turn that is and where the group came to. Both are in one record, which is replaced only by
// who knows its revision: a member that has lost its turn moves the group no more.
//
// The owner replaces the record again and again. A record that stays as it is for a session is of a member that has died,
// and another takes its turn. Each measures that by its own clock, so no clocks need to agree.

// record is what the bucket has of a group.
type record struct {
	Owner string `json:"owner"` // "" when it is nobody's turn
	Next  string `json:"next"`  // ports.Place.Next: where to go on
}

// lookAgain is how often a member that waits looks at the record.
const lookAgain = 250 * time.Millisecond

// errTurnLost ends reading, and then the member waits for its turn again.
var errTurnLost = errors.New("another member of the group has taken over")

// turn is a member's own, from when it was taken until it was given back or lost.
type turn struct {
	bucket  jetstream.KeyValue
	key     string
	session time.Duration

	mu       sync.Mutex // one replacement of the record at a time
	record   record
	revision uint64
	written  time.Time // when the record was last replaced, at the latest
}

// takeTurn waits until no other member of the group reads.
func (c *connection) takeTurn(ctx context.Context, group string) (*turn, error) {
	bucket, err := persist(ctx, c, "open the bucket of groups", func() (jetstream.KeyValue, error) { return c.groups(ctx) })
	if err != nil {
		return nil, err
	}
	t := &turn{bucket: bucket, key: keyOf(group), session: c.options.SessionTimeout}
	var since time.Time // since then the record is as it is
	for {
		now := time.Now()
		_, err := persist(ctx, c, "read whose turn it is", func() (struct{}, error) {
			seen, revision, err := t.load(ctx)
			if err == nil && (revision != t.revision || since.IsZero()) {
				since, t.record, t.revision = now, seen, revision
			}
			return struct{}{}, err
		})
		if err != nil {
			return nil, err
		}
		if t.record.Owner == "" || time.Since(since) > t.session {
			if t.replace(ctx, record{Owner: uuid.NewString(), Next: t.record.Next}) == nil {
				return t, nil
			} // another was faster, or the server is gone
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// groups is the bucket of records, which is created if it is not there.
func (c *connection) groups(ctx context.Context) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	bucket, err := c.js.KeyValue(ctx, c.options.bucket())
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return bucket, err
	}
	return c.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: c.options.bucket(), Description: "where groups of hexorders came to, and whose turn it is",
		Storage: jetstream.FileStorage, Replicas: c.options.Replicas,
	})
}

// keyOf is a group's name in the characters that a key may have.
func keyOf(group string) string {
	var b strings.Builder
	for _, c := range []byte(group) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// load reads the record; its revision is 0 when there is none.
func (t *turn) load(ctx context.Context) (r record, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	entry, err := t.bucket.Get(ctx, t.key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return r, 0, nil
	case err != nil:
		return r, 0, err
	}
	if err := json.Unmarshal(entry.Value(), &r); err != nil {
		return r, 0, fmt.Errorf("the record of group %s: %w", t.key, err)
	}
	return r, entry.Revision(), nil
}

// replace writes a record over the one of the known revision.
func (t *turn) replace(ctx context.Context, r record) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	began := time.Now()
	revision := t.revision
	if revision == 0 {
		revision, err = t.bucket.Create(ctx, t.key, value)
	} else {
		revision, err = t.bucket.Update(ctx, t.key, value, revision)
	}
	if err != nil {
		return err
	}
	t.record, t.revision, t.written = r, revision, began
	return nil
}

// places is where the group came to.
func (t *turn) places() []ports.Place {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.record.Next == "" {
		return nil
	}
	return []ports.Place{{Shard: shard, Next: t.record.Next}}
}

// moved takes note of where the group came to. The record says so within a tenth of a session.
func (t *turn) moved(p ports.Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.record.Next = p.Next
}

// hold runs read, during which it is this member's turn, and then gives the turn back. If the turn is lost meanwhile, the
// context of read ends, and the error is errTurnLost.
func (t *turn) hold(ctx context.Context, read func(context.Context) error) error {
	reading, lose := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	stop := make(chan struct{})
	keeping.Go(func() { t.keep(reading, stop, lose) })
	err := read(reading)
	close(stop)
	keeping.Wait()
	lose(nil)
	if errors.Is(context.Cause(reading), errTurnLost) {
		return errTurnLost
	}
	// Also when ctx has ended: what was handled counts, and the next member need not wait for a session.
	_ = t.write(context.WithoutCancel(ctx), "") // without an answer the others wait, and get some messages again
	return err
}

func (t *turn) write(ctx context.Context, owner string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.replace(ctx, record{Owner: owner, Next: t.record.Next})
}

// keep replaces the record every tenth of a session. A member that could not for two thirds of one stops before another
// can take its turn.
func (t *turn) keep(ctx context.Context, stop <-chan struct{}, lose context.CancelCauseFunc) {
	tick := time.NewTicker(t.session / 10)
	defer tick.Stop()
	owner := t.record.Owner
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
		// Also when ctx ends meanwhile: without the answer the revision is unknown, and the turn cannot be given back.
		err := t.write(context.WithoutCancel(ctx), owner)
		if isOvertaken(err) || time.Since(t.written) > t.session*2/3 {
			lose(errTurnLost)
			return
		}
	}
}

// isOvertaken reports whether somebody else has replaced the record, or deleted it.
func isOvertaken(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyNotFound)
}
