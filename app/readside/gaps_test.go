package readside_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/ports"
)

// trimmed is a log whose oldest messages were deleted.
type trimmed struct {
	inproc.Log
	before int64
}

func (l *trimmed) Begin(ctx context.Context) (string, int64, error) {
	id, _, err := l.Log.Begin(ctx)
	return id, l.before, err
}

func (l *trimmed) Read(ctx context.Context, after int64, limit int) ([]ports.Message, int64, error) {
	return l.Log.Read(ctx, max(after, l.before), limit)
}

func newLog(t testing.TB, messages ...ports.Message) *trimmed {
	t.Helper()
	log := &trimmed{Log: memory.NewTopic()}
	if err := log.Append(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	return log
}

// fedFrom runs an engine on a log until it has caught up, and returns what it logged.
func (r *reading) fedFrom(log inproc.Log) string {
	r.t.Helper()
	var said bytes.Buffer
	o := r.options()
	o.Subscriber, o.Logger = inproc.NewSubscriber(log), slog.New(slog.NewTextHandler(&said, nil))
	stop := r.run(readside.New(o))
	time.Sleep(5 * time.Second)
	synctest.Wait()
	stop()
	return said.String()
}

func (r *reading) wantIncomplete(want ports.GapReason) {
	r.t.Helper()
	f, err := r.model.Freshness(r.t.Context(), "")
	if err != nil || f.Incomplete != want || (want == "") == f.AsOf.IsZero() {
		r.t.Errorf("the read model says that it is incomplete for the reason %q, as of %s, error %v; want %q, and no time with a reason",
			f.Incomplete, f.AsOf, err, want)
	}
}

// What the log does not have any more, or has not of what was read, makes the read model incomplete, and that stays.
func TestAReadModelThatMissesMessagesForEverSaysSo(t *testing.T) {
	t.Parallel()
	first, second := basket(t, "o", "b", 4), basket(t, "p", "b", 3)
	for name, x := range map[string]struct {
		after func(log *trimmed) *trimmed // what is read after the first messages
		want  ports.GapReason
	}{
		"another topic": {func(*trimmed) *trimmed { return newLog(t, second...) }, ports.GapOtherLog},
		"messages were deleted": {func(log *trimmed) *trimmed {
			log.before = 6
			return log
		}, ports.GapDeleted},
		"the topic is shorter": {func(log *trimmed) *trimmed {
			id, _, err := log.Begin(t.Context())
			if err != nil {
				t.Error(err)
			}
			return &trimmed{Log: renamed{newLog(t, first[:2]...).Log, id}}
		}, ports.GapLost},
		"nothing is missing": {func(log *trimmed) *trimmed { return log }, ""},
		"messages were deleted that had been read": {func(log *trimmed) *trimmed {
			log.before = 4
			return log
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, log := newReading(t, newTape(1, 2)), newLog(t, first...)
				r.fedFrom(log)
				r.wantIncomplete("")
				if err := log.Append(t.Context(), second); err != nil {
					t.Fatal(err)
				}
				log = x.after(log)
				const says = "events are missing from the views for ever"
				if said := r.fedFrom(log); strings.Count(said, says) != min(len(x.want), 1) {
					t.Errorf("the log says\n%s\nwant a line %q only if something is missing", said, says)
				}
				r.wantIncomplete(x.want)
				if said := r.fedFrom(log); strings.Contains(said, says) { // a restart finds it where it is
					t.Errorf("the next engine says it again:\n%s", said)
				}
				r.wantIncomplete(x.want)
			})
		})
	}
}

// renamed is a log under the id of another one: an older copy of it.
type renamed struct {
	inproc.Log
	id string
}

func (l renamed) Begin(context.Context) (string, int64, error) { return l.id, 0, nil }

// A topic whose beginning was deleted makes no complete read model, also when it is the first that is read.
func TestANewReadModelOfATopicWithoutItsBeginningIsIncomplete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, log := newReading(t, newTape(1, 2)), newLog(t, basket(t, "o", "b", 4)...)
		log.before = 3
		r.fedFrom(log)
		r.wantIncomplete(ports.GapDeleted)
	})
}
