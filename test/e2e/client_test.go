package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// client speaks HTTP to the program.
type client struct {
	base string
	http *http.Client
}

func newClient(addr string) *client {
	return &client{"http://" + addr, &http.Client{
		Timeout:   15 * time.Second, // longer than the program's own limit, so that its 503 is seen
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// do sends a request; header is a list of names and values. An error means that no answer came.
func (c *client) do(ctx context.Context, method, path, body string, header ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewBufferString(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, text}, err
}

// document is an order as a client reads it.
type document struct {
	ID      string `json:"id"`
	BuyerID string `json:"buyerId"`
	Items   []struct {
		ProductID string `json:"productId"`
		Amount    int    `json:"amount"`
	} `json:"items"`
	Status    string    `json:"status"`
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

func (a answer) order() (*document, error) {
	var d document
	if err := json.Unmarshal(a.body, &d); err != nil {
		return nil, fmt.Errorf("answer %s: %w", a, err)
	}
	return &d, nil
}

// load are clients that place orders, three commands each: create, add an item, pay. They behave as real ones do: a
// lost answer means that nobody knows what happened, so they look before they go on; a conflict means that they look
// and decide anew. What they are told, they remember.
type load struct {
	orders  int
	clients int
	client  *client

	// begin holds a command back until it can receive from it; nil: no command waits. Once it is closed, no further
	// command begins.
	begin <-chan struct{}
	// strict makes every answer but a success an error: where the program promises to go on serving.
	strict bool

	answered atomic.Int64 // commands that succeeded, as far as a client was told
	turned   atomic.Int64 // requests that nobody was there to take
	lost     atomic.Int64 // requests that were taken and got no answer
	refused  atomic.Int64 // requests answered with a conflict or an error of the server
	created  atomic.Int64 // POST /orders that answered 201

	mu       sync.Mutex
	versions map[string]int // the highest version of each order that a client was told
	slowest  time.Duration  // of the answered commands
	group    *errgroup.Group
}

// commands is how many commands an order takes.
const commands = 3

// start lets the clients begin. They stop early when one of them gets an answer that no client should get.
func (l *load) start(ctx context.Context) {
	l.versions = map[string]int{}
	work, ctx := errgroup.WithContext(ctx)
	l.group = work
	next := make(chan int)
	work.Go(func() error {
		defer close(next)
		for i := range l.orders {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range l.clients {
		work.Go(func() error {
			for i := range next {
				if err := l.place(ctx, i); errors.Is(err, errStopped) {
					return err
				} else if err != nil {
					return fmt.Errorf("order %d: %w", i, err)
				}
			}
			return nil
		})
	}
}

// startAtPace lets a command begin with every tick, until the function that it returns is called.
func (l *load) startAtPace(t testing.TB, pace time.Duration) (rest func()) {
	begin := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		defer close(begin)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			select {
			case begin <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	l.begin = begin
	l.start(t.Context())
	return cancel
}

// wait returns when every order is paid or cancelled, or begin was closed and the commands under way are answered.
func (l *load) wait() error {
	if err := l.group.Wait(); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

func (l *load) told() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.versions
}

func (l *load) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d orders by %d clients, %d commands answered, %d found nobody, %d answers lost, %d refused, slowest answer %s",
		l.orders, l.clients, l.answered.Load(), l.turned.Load(), l.lost.Load(), l.refused.Load(), l.slowest.Round(time.Millisecond))
}

func (l *load) place(ctx context.Context, i int) error {
	buyer := "buyer-" + strconv.Itoa(i)
	var o *document // as last seen; nil: not there, as far as we know
	for o == nil || o.Status == "pending" {
		if l.begin != nil {
			select {
			case _, open := <-l.begin:
				if !open {
					return errStopped
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for {
			after, err := l.command(ctx, i, buyer, o)
			if err == nil {
				o = after
				break
			}
			if l.strict || !errors.Is(err, errLook) {
				return err
			}
			if o, err = l.look(ctx, buyer, o); err != nil {
				return err
			}
			if o != nil && o.Status != "pending" {
				break
			}
		}
	}
	return nil
}

// errStopped says that begin was closed.
var errStopped = errors.New("no further command begins")

// errLook says that the outcome of a command is not known or that the order is not as we thought.
var errLook = errors.New("look at the order again")

// command sends the next command of an order's life.
func (l *load) command(ctx context.Context, i int, buyer string, o *document) (*document, error) {
	method, path, body := http.MethodPost, "/orders", fmt.Sprintf(`{"buyerId":%q,"items":[{"productId":"1111","amount":3}]}`, buyer)
	var header []string
	switch {
	case o == nil:
	case len(o.Items) < 2:
		path, body = "/orders/"+o.ID+"/items", fmt.Sprintf(`{"productId":"2222","amount":%d}`, 1+i%9)
	case i%4 == 3:
		path, body = "/orders/"+o.ID+"/cancel", `{"reason":"changed my mind"}`
	default:
		path, body = "/orders/"+o.ID+"/pay", ""
	}
	if o != nil && i%2 == 1 {
		header = []string{"If-Match", strconv.Quote(strconv.Itoa(o.Version))}
	}
	sent := time.Now()
	a, err := l.client.do(ctx, method, path, body, header...)
	took := time.Since(sent)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		if errors.Is(err, syscall.ECONNREFUSED) {
			l.turned.Add(1)
		} else {
			l.lost.Add(1)
		}
		return nil, fmt.Errorf("%w: %s %s: %w", errLook, method, path, err)
	case a.status >= 500 || a.status == http.StatusConflict || a.status == http.StatusPreconditionFailed:
		l.refused.Add(1)
		return nil, fmt.Errorf("%w: %s %s: %s", errLook, method, path, a)
	case o == nil && a.status == http.StatusCreated:
		l.created.Add(1)
	case o != nil && a.status == http.StatusOK:
	default:
		return nil, fmt.Errorf("%s %s: answer %s", method, path, a)
	}
	after, err := a.order()
	if err != nil {
		return nil, err
	}
	l.answered.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.versions[after.ID] = max(l.versions[after.ID], after.Version)
	l.slowest = max(l.slowest, took)
	return after, nil
}

// look reads the order, as often as it takes. An order whose id we were never told is looked for among the buyer's; a list
// that does not know it yet makes the client create another one.
func (l *load) look(ctx context.Context, buyer string, o *document) (*document, error) {
	path := "/orders?buyerId=" + url.QueryEscape(buyer)
	if o != nil {
		path = "/orders/" + o.ID
	}
	for {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
		a, err := l.client.do(ctx, http.MethodGet, path, "")
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil || a.status >= 500:
			continue
		case a.status != http.StatusOK: // a 404 too: this order was answered or listed before
			return nil, fmt.Errorf("GET %s: answer %s", path, a)
		case o != nil:
			return a.order()
		}
		var list struct{ Orders []*document }
		if err := json.Unmarshal(a.body, &list); err != nil {
			return nil, fmt.Errorf("GET %s: answer %s: %w", path, a, err)
		}
		if len(list.Orders) > 0 {
			return list.Orders[0], nil
		}
		return nil, nil
	}
}

// pause is a client's patience between two tries.
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
