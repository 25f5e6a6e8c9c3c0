package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
)

// clients place orders, three commands each: create, add an item, pay or cancel. They do what the documentation asks of
// a client: every command has an Idempotency-Key, and one without a final answer is sent again under its key, to the
// other service in turn. So each command must be carried out once, and its answer must be that of a first one.
type clients struct {
	bases []string
	http  *http.Client

	mu       sync.Mutex
	versions map[string]int // the highest version of each order that a client was told
	answered []answered
	wrong    error // the first answer that no client should get
}

// answered is one command from its first request to its final answer.
type answered struct{ at, began time.Time }

func newClients(bases []string) *clients {
	return &clients{
		bases: bases, versions: map[string]int{},
		http: &http.Client{Timeout: 6 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
}

const (
	workers  = 8
	commands = 3
	// A pause between two orders of a client, so that faults and not the machine are what is measured.
	between = 20 * time.Millisecond
)

// work places orders until stop is closed, and then carries each that has begun to its end.
func (c *clients) work(ctx context.Context, stop <-chan struct{}) {
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := worker; ; i += workers {
				select {
				case <-stop:
					return
				case <-ctx.Done():
					return
				case <-time.After(between):
				}
				if err := c.place(ctx, i); err != nil {
					c.mu.Lock()
					c.wrong = errors.Join(c.wrong, err)
					c.mu.Unlock()
					return
				}
			}
		})
	}
	all.Wait()
}

func (c *clients) place(ctx context.Context, i int) error {
	o, err := c.command(ctx, i, http.StatusCreated, "/orders",
		fmt.Sprintf(`{"buyerId":"buyer-%d","items":[{"productId":"1111","amount":3}]}`, i))
	if err != nil {
		return err
	}
	o, err = c.command(ctx, i+1, http.StatusOK, "/orders/"+o.ID+"/items", fmt.Sprintf(`{"productId":"2222","amount":%d}`, 1+i%9))
	if err != nil {
		return err
	}
	end, body := "/pay", ""
	if i%4 == 3 {
		end, body = "/cancel", `{"reason":"changed my mind"}`
	}
	o, err = c.command(ctx, i, http.StatusOK, "/orders/"+o.ID+end, body)
	if err == nil && o.Version != commands {
		err = fmt.Errorf("order %s is at version %d after %d commands", o.ID, o.Version, commands)
	}
	return err
}

type document struct {
	ID      string
	Version int
}

// command sends one until it has a final answer, which must have the status that a first request gets.
func (c *clients) command(ctx context.Context, first, want int, path, body string) (o document, err error) {
	key, began := uuid.NewString(), time.Now()
	for i := first; ; i++ {
		status, text, err := c.send(ctx, c.bases[i%len(c.bases)], path, body, key)
		switch {
		case ctx.Err() != nil:
			return o, ctx.Err()
		case err != nil || status >= 500 || status == http.StatusTooManyRequests || inFlight(status, text):
			time.Sleep(50 * time.Millisecond)
			continue
		case status != want:
			return o, fmt.Errorf("POST %s: answer %d %s", path, status, text)
		}
		if err := json.Unmarshal(text, &o); err != nil {
			return o, fmt.Errorf("POST %s: answer %s: %w", path, text, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.versions[o.ID] = max(c.versions[o.ID], o.Version)
		c.answered = append(c.answered, answered{time.Now(), began})
		return o, nil
	}
}

// inFlight says that the first request under the key is still at work, or that another writer of the order won.
func inFlight(status int, text []byte) bool {
	return status == http.StatusConflict &&
		(bytes.Contains(text, []byte("request-in-flight")) || bytes.Contains(text, []byte("version-conflict")))
}

func (c *clients) send(ctx context.Context, base, path, body, key string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, bytes.NewBufferString(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Idempotency-Key", key)
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, text, err
}

// during counts the commands that were answered in a time, and the slowest that touches it.
func (c *clients) during(from, to time.Time) (count int, slowest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.answered {
		if a.at.After(from) && a.at.Before(to) {
			count++
		}
		if a.at.After(from) && a.began.Before(to) {
			slowest = max(slowest, a.at.Sub(a.began))
		}
	}
	return count, slowest
}

// firstAfter is when the first command was answered that began after a moment.
func (c *clients) firstAfter(moment time.Time) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.answered {
		if a.began.After(moment) {
			return a.at, true
		}
	}
	return time.Time{}, false
}
