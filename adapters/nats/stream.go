package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hexorders/ports"
)

// ErrNoStream is wrapped in the error of Ping when a server answers but the stream does not exist yet.
var ErrNoStream = errors.New("the stream does not exist")

// shard is the name of the only one. Brokers in this process have one without a name, and a place of theirs is none here.
const shard = "stream"

// ensure creates the stream if it is not there, and refuses one that would lose events.
func (c *connection) ensure(ctx context.Context) error {
	_, err := c.info(ctx)
	if !errors.Is(err, ErrNoStream) {
		return err
	}
	_, err = c.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:        c.options.stream(),
		Description: "events of hexorders",
		Subjects:    []string{c.options.Subject},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy, // and no limit: events stay
		Discard:     jetstream.DiscardNew,   // of a limit that an operator sets: better to wait than to forget
		Replicas:    c.options.Replicas,
		Duplicates:  2 * time.Minute,
		DenyDelete:  true, // of single messages; a purge is allowed, and found
	})
	if err == nil {
		c.options.Logger.Info("the stream was created", "stream", c.options.stream(), "subject", c.options.Subject,
			"replicas", c.options.Replicas)
	}
	return err
}

// info describes the stream. Errors: ErrNoStream; one that says why the stream cannot be used.
func (c *connection) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := c.js.Stream(ctx, c.options.stream())
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("%w: %s", ErrNoStream, c.options.stream())
	case err != nil:
		return nil, err
	}
	info := stream.CachedInfo()
	return info, usable(info.Config, c.options.Subject)
}

// usable returns why a stream that somebody else has made cannot hold the events.
func usable(config jetstream.StreamConfig, subject string) error {
	var wrong []string
	if !slices.Equal(config.Subjects, []string{subject}) {
		wrong = append(wrong, fmt.Sprintf("its subjects are %q and not %q alone", config.Subjects, subject))
	}
	if config.Storage != jetstream.FileStorage {
		wrong = append(wrong, "it is in memory, and an acknowledged event must survive a restart")
	}
	if config.Retention != jetstream.LimitsPolicy {
		wrong = append(wrong, "it deletes what was read, and views must be able to read again")
	}
	if wrong != nil {
		return fmt.Errorf("stream %s cannot be used: %s", config.Name, strings.Join(wrong, "; "))
	}
	return nil
}

// rangeOf is what the stream has. Sequences begin at 1, so a message's own is the offset of the place after it. The time
// of creation tells a stream from one that was deleted and made again under its name.
func rangeOf(info *jetstream.StreamInfo) ports.ShardRange {
	return ports.ShardRange{
		Shard: shard,
		Log:   "nats/" + info.Config.Name + "/" + info.Created.UTC().Format(time.RFC3339Nano),
		First: int64(max(info.State.FirstSeq, 1)) - 1,
		End:   int64(info.State.LastSeq),
	}
}
