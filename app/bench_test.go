package app_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// BenchmarkProjection is one event on its way into each view, in batches of a thousand, orders of three events. Beside the
// rules and the folds it pays for reading the JSON, which is also shown alone, and the store in memory; discard, which
// keeps nothing, leaves that out.
func BenchmarkProjection(b *testing.B) {
	b.Run("decode", func(b *testing.B) {
		messages := drain(b, b.N)
		b.ReportAllocs()
		b.ResetTimer()
		for _, batch := range messages {
			for _, m := range batch.Messages {
				if _, err := eventjson.Event(m.Message); err != nil {
					b.Fatal(err)
				}
			}
		}
		perSecond(b)
	})
	for _, view := range ports.AllViews {
		for _, store := range []string{"discard", "memory"} {
			b.Run(fmt.Sprintf("%s/%s", view, store), func(b *testing.B) {
				views := memory.NewViews()
				inbox := map[string]ports.Inbox{"discard": discard{}, "memory": views}[store]
				ctx, stop := context.WithCancel(b.Context())
				p := app.NewProjection(app.ProjectionOptions{
					View: view, Subscriber: drained{drain(b, b.N), stop}, Inbox: inbox, Generations: views, Decode: eventjson.Event,
				})
				b.ReportAllocs()
				b.ResetTimer()
				if err := p.Run(ctx); err != nil {
					b.Fatal(err)
				}
				perSecond(b)
				if s := p.Status(); s.Applied != int64(b.N) {
					b.Fatalf("%+v, want %d messages applied", s, b.N)
				}
			})
		}
	}
}

func perSecond(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// drain is a backlog of n messages: a thousand orders at a time are created, filled and paid.
func drain(b *testing.B, n int) (batches []ports.Batch) {
	var all []ports.Delivery
	for group := 0; len(all) < n; group++ {
		steps := make([][]ports.Message, 3)
		for i := range 1000 {
			o, err := order.New(fmt.Sprintf("01900000-0000-7000-8000-%012d", group*1000+i), fmt.Sprintf("buyer-%d", i%100),
				[]order.Item{{Product: "1111", Amount: 3}}, noon)
			if err := errors.Join(err, o.AddItem("2222", 8, noon), o.Pay(noon)); err != nil {
				b.Fatal(err)
			}
			for step, m := range messagesOf(b, o) {
				steps[step] = append(steps[step], m)
			}
		}
		for _, messages := range steps {
			for _, m := range messages {
				all = append(all, ports.Delivery{Message: m, Next: int64(len(all) + 1)})
			}
		}
	}
	for all = all[:n]; len(all) > 0; all = all[min(len(all), ports.MaxBatch):] {
		batches = append(batches, ports.Batch{Messages: all[:min(len(all), ports.MaxBatch)]})
	}
	return batches
}

// drained is a subscriber that delivers a backlog, and ends what it is for.
type drained struct {
	batches []ports.Batch
	end     context.CancelFunc
}

func (d drained) Ends(context.Context) (map[int]int64, error) { return nil, nil }

func (d drained) Subscribe(ctx context.Context, _ string, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	defer d.end()
	if _, err := resume(ctx, []int{0}); err != nil {
		return err
	}
	for _, batch := range d.batches {
		if err := handle(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// discard is an inbox that every change goes into and nothing comes out of.
type discard struct{ ports.Inbox }

func (discard) Positions(context.Context, ports.Generation) (map[int]int64, error) { return nil, nil }

func (discard) Parked(context.Context, ports.Generation) ([]ports.ParkedOrder, error) {
	return nil, nil
}

func (discard) Commit(context.Context, ports.Generation, ports.Change) error { return nil }
