package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"hexorders/core/order"
	"hexorders/test/checker"
)

// recreateTopic takes all events of the topic away. The relay does not bring them back: it publishes each event once, and
// reads from its checkpoint on. So the views have to say that they lack events, verify has to name them, and a rebuild from
// the store has to make the views whole, all of it under load.
func (b *bed) recreateTopic(ctx context.Context) error {
	partitions, err := b.kadm.ListTopics(ctx, b.name)
	if err != nil {
		return err
	}
	deleted, err := b.kadm.DeleteTopics(ctx, b.name)
	if err = errors.Join(err, deleted.Error()); err != nil {
		return err
	}
	err = b.until(ctx, "the topic is there again", func(ctx context.Context) error {
		_, err := b.kadm.CreateTopic(ctx, int32(len(partitions[b.name].Partitions)), int16(len(kafkas)), nil, b.name)
		return err // it exists until its deletion is carried out
	})
	if err != nil {
		return err
	}
	if err := b.until(ctx, "the topic is whole", b.kafkaWhole); err != nil {
		return err
	}
	b.recreated = time.Now()
	if err := b.incomplete(ctx, "another-topic"); err != nil {
		return err
	}
	if said, err := b.verify(ctx); err != nil {
		return err
	} else if said["missing-in-topic"] == 0 {
		return fmt.Errorf("verify does not name the events that are gone: %v", said)
	}
	if output, err := b.hexorders(ctx, "views", "rebuild", "--from", "store"); err != nil {
		return fmt.Errorf("views rebuild: %w\n%s", err, output)
	}
	return b.incomplete(ctx, "")
}

// incomplete waits until all services say this of the views.
func (b *bed) incomplete(ctx context.Context, want string) error {
	for _, node := range hexes {
		err := b.until(ctx, fmt.Sprintf("View-Incomplete of %s is %q", node, want), func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base(node)+"/orders?buyerId=buyer-1", nil)
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			_ = response.Body.Close()
			if got := response.Header.Get("View-Incomplete"); got != want || response.StatusCode != http.StatusOK {
				return fmt.Errorf("answer %d, View-Incomplete %q", response.StatusCode, got)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hexorders runs a command beside the services.
func (b *bed) hexorders(ctx context.Context, args ...string) ([]byte, error) {
	c := b.in(hexes[0], b.through, append([]string{b.folder + "/" + string(current)}, args...)...)
	c.Env, c.Dir = b.environment, b.folder
	stop := context.AfterFunc(ctx, func() { _ = c.Process.Kill() })
	defer stop()
	return c.Output()
}

// verify runs hexorders verify and returns how many differences of each kind it found.
func (b *bed) verify(ctx context.Context) (map[string]int, error) {
	output, err := b.hexorders(ctx, "verify", "--json")
	var said struct {
		Differences []struct {
			Kind  string
			Count int
		}
	}
	if jsonErr := json.Unmarshal(output, &said); jsonErr != nil {
		return nil, fmt.Errorf("verify: %w: %s", errors.Join(err, jsonErr), output)
	}
	counts := map[string]int{}
	for _, d := range said.Differences {
		counts[d.Kind] = d.Count
	}
	return counts, nil
}

// verifyNamesWhatIsMissing holds verify against what the checker has read: each event that is not in the topic, and no
// other difference.
func (b *bed) verifyNamesWhatIsMissing(ctx context.Context, h checker.History) error {
	missing := map[string]bool{}
	for _, d := range h.Outbox {
		missing[d.ID] = true
	}
	for _, r := range h.Topic {
		for _, header := range r.Headers {
			if header.Name == "ce_id" {
				delete(missing, header.Value)
			}
		}
	}
	said, err := b.verify(ctx)
	if err != nil {
		return err
	}
	if want := map[string]int{"missing-in-topic": len(missing)}; !maps.Equal(said, want) {
		return fmt.Errorf("verify finds %v, want %v", said, want)
	}
	return nil
}

// published waits until the relay has nothing left to publish.
func (b *bed) published(ctx context.Context, reader *checker.Reader) error {
	if b.recreated.IsZero() {
		return reader.Await(ctx)
	}
	return b.until(ctx, "the new topic is complete", func(ctx context.Context) error {
		h, err := reader.Read(ctx)
		if err != nil {
			return err
		}
		for _, v := range checker.Check(b.sinceRecreated(h), len(h.Topic)).Violations {
			if v.Rule == checker.Lost {
				return errors.New(v.About + " is missing")
			}
		}
		return nil
	})
}

// sinceRecreated leaves the orders out that began before the topic was made anew.
func (b *bed) sinceRecreated(h checker.History) checker.History {
	old := map[string]bool{}
	for _, o := range h.Orders {
		if o.CreatedAt.Before(b.recreated) {
			old[o.ID] = true
		}
	}
	h.Orders = slices.DeleteFunc(slices.Clone(h.Orders), func(o order.Snapshot) bool { return old[o.ID] })
	h.Outbox = slices.DeleteFunc(slices.Clone(h.Outbox), func(d checker.Document) bool { return old[d.AggregateID] })
	h.Topic = slices.DeleteFunc(slices.Clone(h.Topic), func(r checker.Record) bool { return old[r.Key] })
	h.Answered = maps.Clone(h.Answered)
	maps.DeleteFunc(h.Answered, func(id string, _ int) bool { return old[id] })
	return h
}

// committed is the topic as it was if nothing had been deleted.
func committed(h checker.History) (records []checker.Record) {
	for _, d := range h.Outbox {
		records = append(records, checker.Record{
			Key: d.AggregateID, Value: d.Payload, Headers: []checker.Header{{Name: "ce_type", Value: d.Type}},
		})
	}
	return records
}
