package mongodb

import (
	"context"
	"iter"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// batchCursor is the part that the driver's cursors and change streams share.
type batchCursor interface {
	Next(context.Context) bool
	RemainingBatchLength() int
	Err() error
	Close(context.Context) error
}

// prefetch reads a cursor in batches and fetches the next batch while the caller processes the current one, so that
// the server, the relay and the broker are busy at the same time. It holds two batches of at most 16 MB each.
//
// The sequence ends without an error only at the end of the cursor; the end of ctx is an error. prefetch closes the
// cursor when the loop over it ends.
func prefetch(ctx context.Context, cursor batchCursor, current *bson.Raw) iter.Seq2[[]bson.Raw, error] {
	return func(yield func([]bson.Raw, error) bool) {
		reading, stop := context.WithCancel(ctx)
		read := make(chan []bson.Raw) // unbuffered: one batch waits here while the caller processes another
		var fetching sync.WaitGroup
		fetching.Go(func() {
			defer close(read)
			for cursor.Next(reading) {
				batch := append(make([]bson.Raw, 0, 1+cursor.RemainingBatchLength()), *current)
				for cursor.RemainingBatchLength() > 0 && cursor.Next(reading) {
					batch = append(batch, *current)
				}
				select {
				case read <- batch:
				case <-reading.Done():
					return
				}
			}
		})
		defer func() {
			stop()
			fetching.Wait()
			steady, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			_ = cursor.Close(steady) // if this fails, the server closes the cursor after its idle timeout
		}()
		for batch := range read {
			if !yield(batch, nil) {
				return
			}
		}
		err := cursor.Err()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(nil, err)
		}
	}
}
