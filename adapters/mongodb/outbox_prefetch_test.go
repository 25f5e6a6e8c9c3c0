package mongodb

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// answers is a cursor whose server gives one batch an answer, then fails or ends.
type answers struct {
	batches [][]string // of _id's
	err     error      // after the last batch; nil is the end
	wait    bool       // after the last batch the server has nothing, until the context ends
	asked   int
	closed  bool

	rest    []string
	current bson.Raw
}

func (a *answers) Next(ctx context.Context) bool {
	if len(a.rest) == 0 {
		if a.asked == len(a.batches) {
			if a.wait {
				<-ctx.Done()
				a.err = ctx.Err()
			}
			return false
		}
		a.rest = a.batches[a.asked]
		a.asked++
	}
	a.current, a.rest = document(bson.D{{Key: "_id", Value: a.rest[0]}}), a.rest[1:]
	return true
}

func (a *answers) RemainingBatchLength() int { return len(a.rest) }
func (a *answers) Err() error                { return a.err }

func (a *answers) Close(ctx context.Context) error {
	a.closed = true
	return ctx.Err()
}

func TestTheNextBatchIsReadWhileOneIsWorkedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{batches: [][]string{{"a", "b"}, {"c"}, {"d"}, {"e"}}}
		worked := 0
		for _, err := range prefetch(t.Context(), a, &a.current) {
			if err != nil {
				t.Fatal(err)
			}
			worked++
			synctest.Wait()
			if want := min(worked+1, 4); a.asked != want {
				t.Errorf("while batch %d is worked on, %d batches were read, want %d", worked, a.asked, want)
			}
		}
	})
}

func TestWhatWasReadComesBeforeTheEndAndItsError(t *testing.T) {
	for _, want := range []error{nil, errors.New("the server is gone")} {
		a := &answers{batches: [][]string{{"a", "b"}, {"c"}}, err: want}
		var ids []string
		var end error
		for batch, err := range prefetch(t.Context(), a, &a.current) {
			for _, d := range batch {
				ids = append(ids, d.Lookup("_id").StringValue())
			}
			end = err
		}
		if !slices.Equal(ids, []string{"a", "b", "c"}) || !errors.Is(end, want) || !a.closed {
			t.Errorf("got %v, then %v, closed %v; want a b c, then %v, and closed", ids, end, a.closed, want)
		}
	}
}

// A scan that took a cancelled context for the end of its documents would say that it is done.
func TestAContextThatEndsIsNoEndOfTheDocuments(t *testing.T) {
	for name, wait := range map[string]bool{"while a batch is worked on": false, "while the server has nothing": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a := &answers{batches: [][]string{{"a"}, {"b"}, {"c"}}, wait: wait}
			var end error
			for batch, err := range prefetch(ctx, a, &a.current) {
				if err == nil && (!wait || batch[0].Lookup("_id").StringValue() == "c") {
					cancel()
				}
				end = err
			}
			if !errors.Is(end, context.Canceled) || !a.closed {
				t.Errorf("the last error is %v, closed %v; want context.Canceled, and closed", end, a.closed)
			}
		})
	}
}

func TestReadingCanBeLeftAtAnyBatch(t *testing.T) {
	a := &answers{batches: [][]string{{"a"}, {"b"}, {"c"}}, wait: true}
	for _, err := range prefetch(t.Context(), a, &a.current) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if !a.closed {
		t.Error("the cursor is still open")
	}
}
