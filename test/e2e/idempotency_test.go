package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/test/checker"
)

// senders is how many clients send the same request with the same Idempotency-Key.
const senders = 200

// repeatable is the program over one of its stores.
type repeatable struct {
	client   *client
	serve    func(name string, args ...string) *process
	complete func()
	judge    func(maxDuplicates int) checker.Report
}

func eachStore(t *testing.T, test func(t *testing.T, r repeatable)) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		d := newEmbedded(t)
		d.env["HEXORDERS_HTTP_MAX_COMMANDS"] = strconv.Itoa(senders) // all of them at once
		test(t, repeatable{newClient(d.addr), d.serve, d.complete, func(n int) checker.Report { return d.judge(n, nil) }})
	})
	t.Run("mongodb", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		w.env["HEXORDERS_HTTP_MAX_COMMANDS"] = strconv.Itoa(senders) // all of them at once
		test(t, repeatable{w.client(), w.serve, w.complete, func(n int) checker.Report {
			_, report := w.judge(n, nil)
			return report
		}})
	})
}

func TestARequestSentTwoHundredTimesIsCarriedOutOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, r repeatable) {
		p := r.serve("serve")
		created := r.sendToAll(t, "/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`,
			"key-create", http.StatusCreated)
		o := r.order(t, created)
		r.sendToAll(t, "/orders/"+o.ID+"/items", `{"productId":"1111","amount":4}`, "key-add", http.StatusOK)
		paid := r.order(t, r.sendToAll(t, "/orders/"+o.ID+"/pay", "", "key-pay", http.StatusOK))
		if paid.Version != 3 || paid.Status != "paid" || len(paid.Items) != 1 || paid.Items[0].Amount != 7 {
			t.Errorf("the order is %+v, want 7 pieces, paid, at version 3", paid)
		}
		// The first answer stays the first answer.
		again, err := r.client.do(t.Context(), "POST", "/orders",
			`{"items":[{"amount":3,"productId":"1111"}],"buyerId":"9999"}`, "Idempotency-Key", `"key-create"`)
		if err != nil {
			t.Fatal(err)
		}
		sameAnswer(t, again, created)
		other, err := r.client.do(t.Context(), "POST", "/orders", `{"buyerId":"8888"}`, "Idempotency-Key", `"key-create"`)
		if err != nil || other.status != http.StatusUnprocessableEntity || other.code() != "idempotency-key-reused" {
			t.Errorf("another request with the key: %s, error %v, want 422 idempotency-key-reused", other, err)
		}
		r.complete()
		if code := p.stop(); code != 0 {
			t.Errorf("exit code after SIGTERM is %d, want 0", code)
		}
		if report := r.judge(0); report.Orders != 1 || report.Committed != 3 {
			t.Errorf("%d orders with %d messages are committed, want 1 with 3", report.Orders, report.Committed)
		}
	})
}

// The process is killed while two hundred clients send one request: in one round before the first is answered, in
// others when some have their answer and some do not. All send it again until they have one, the process that is
// started next answers them, and all answers are the same.
func TestARequestIsCarriedOutOnceThoughTheProcessIsKilled(t *testing.T) {
	eachStore(t, func(t *testing.T, r repeatable) {
		p := r.serve("serve")
		const rounds = 6
		for round := range rounds {
			// A round's order is created in the first half of the rounds, and gets its item in the second.
			path, body, status := "/orders",
				fmt.Sprintf(`{"buyerId":"buyer-%d","items":[{"productId":"1111","amount":1}]}`, round),
				http.StatusCreated
			if round >= rounds/2 {
				before, err := r.client.do(t.Context(), "POST", path, body)
				if err != nil || before.status != status {
					t.Fatalf("create: %s, error %v", before, err)
				}
				path, body, status = "/orders/"+r.order(t, before).ID+"/items", `{"productId":"2222","amount":8}`, http.StatusOK
			}
			some := newCountdown(1 + round%(rounds/2)*senders*2/5) // answers
			sent := make(chan answer, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // a killed process may leave a document locked for one
			go func() {
				defer close(sent)
				if a, err := r.untilAnswered(ctx, path, body, fmt.Sprintf("key-%d", round), status, some.one); err != nil {
					t.Errorf("round %d: %v", round, err)
				} else {
					sent <- a
				}
			}()
			select {
			case <-some.over:
			case <-ctx.Done():
			}
			p.kill()
			p = r.serve("serve")
			last, answered := <-sent
			cancel()
			if !answered {
				return
			}
			o := r.order(t, last)
			var list answer
			eventually(t, patience, "the list knows the order", func() bool {
				path := fmt.Sprintf("/orders?buyerId=buyer-%d&atLeastVersion=%s/%d", round, o.ID, o.Version)
				var err error
				if list, err = r.client.do(t.Context(), "GET", path, ""); err != nil {
					t.Fatal(err)
				}
				return list.header.Get("View-Version") == strconv.Itoa(o.Version)
			})
			var orders struct{ Orders []*document }
			if err := json.Unmarshal(list.body, &orders); err != nil {
				t.Fatal(err)
			}
			if len(orders.Orders) != 1 || orders.Orders[0].Version != o.Version || o.Version != 1+round/(rounds/2) {
				t.Errorf("round %d: the orders are %s, want one, as it was answered: %s", round, list, last)
			}
		}
		r.complete()
		if code := p.stop(); code != 0 {
			t.Errorf("exit code after SIGTERM is %d, want 0", code)
		}
		const messages = rounds + rounds/2
		if report := r.judge(rounds * messages); report.Orders != rounds || report.Committed != messages {
			t.Errorf("%d orders with %d messages are committed, want %d with %d", report.Orders, report.Committed, rounds, messages)
		}
	})
}

// sendToAll sends a request from all senders at once. Each is answered as the first or told that it is in flight, and
// then sends it again. It returns the answer.
func (r repeatable) sendToAll(t *testing.T, path, body, key string, status int) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var refused atomic.Int64
	a, err := r.untilAnswered(ctx, path, body, key, status, func(a answer, err error) error {
		if err == nil && a.status == http.StatusConflict {
			refused.Add(1)
			return nil
		}
		if err == nil && a.status != status {
			return fmt.Errorf("answer %s", a)
		}
		return err
	})
	if err != nil {
		t.Fatalf("POST %s: %v", path, err)
	}
	t.Logf("POST %s: %d equal answers, %d in flight", path, senders, refused.Load())
	return a
}

// untilAnswered has every sender send a request until it is carried out. It returns the answer, which must be the same
// for all. Each answer, and each lack of one, is first shown to see.
func (r repeatable) untilAnswered(ctx context.Context, path, body, key string, status int, see func(answer, error) error) (answer, error) {
	var all sync.WaitGroup
	answers, failures := make([]answer, senders), make([]error, senders)
	for i := range senders {
		all.Go(func() {
			for {
				a, err := r.client.do(ctx, "POST", path, body, "Idempotency-Key", fmt.Sprintf("%q", key))
				if failures[i] = see(a, err); failures[i] != nil {
					return
				}
				switch {
				case err == nil && a.status == status:
					answers[i] = a
					return
				case ctx.Err() != nil:
					failures[i] = errors.Join(ctx.Err(), err, fmt.Errorf("the last answer was %s", a))
					return
				case err == nil && a.status < 500 && (a.code() != "request-in-flight" || a.header.Get("Retry-After") == ""):
					failures[i] = fmt.Errorf("answer %s", a)
					return
				}
				_ = pause(ctx, 20*time.Millisecond) // when it was cut short, the next request is as well
			}
		})
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		return answer{}, err
	}
	for _, a := range answers {
		if why := difference(a, answers[0]); why != "" {
			return answer{}, errors.New(why)
		}
	}
	return answers[0], nil
}

func (r repeatable) order(t *testing.T, a answer) *document {
	t.Helper()
	o, err := a.order()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// code is the problem's.
func (a answer) code() string {
	var problem struct{ Code string }
	_ = json.Unmarshal(a.body, &problem) // what is no JSON has no code
	return problem.Code
}

func sameAnswer(t *testing.T, got, want answer) {
	t.Helper()
	if why := difference(got, want); why != "" {
		t.Error(why)
	}
}

// difference compares two answers byte by byte, but for the id and the time of the request.
func difference(got, want answer) string {
	if got.status != want.status || string(got.body) != string(want.body) {
		return fmt.Sprintf("answer %s, want %s", got, want)
	}
	for _, name := range []string{"Content-Type", "ETag", "Location"} {
		if got.header.Get(name) != want.header.Get(name) {
			return fmt.Sprintf("header %s: %q, want %q", name, got.header.Get(name), want.header.Get(name))
		}
	}
	return ""
}

// countdown is over once it was called n times.
type countdown struct {
	left atomic.Int64
	over chan struct{}
}

func newCountdown(n int) *countdown {
	c := &countdown{over: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

func (c *countdown) one(answer, error) error {
	if c.left.Add(-1) == 0 {
		close(c.over)
	}
	return nil
}
