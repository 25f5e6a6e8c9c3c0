package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// A message that Kafka refuses holds back its order and no other; an operator sees it and sends it again.
func TestARefusedMessageParksItsOrderOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	w.createTopic("4096")
	p := w.serve("serve")
	p.says(holdsLease, takeOverLimit)

	// The refused messages arrive among many others, for a broker refuses batches, not messages.
	l := &load{orders: 600, clients: 16, client: w.client()}
	l.start(t.Context())
	o := &operator{t: t, client: w.client()}
	fromTheStart := o.order(`{"buyerId":"9999","items":[` + lines(150) + `]}`)
	o.does(fromTheStart, "items", `{"productId":"2222","amount":1}`)
	o.does(fromTheStart, "pay", ``)
	inTheMiddle := o.order(`{"buyerId":"9999"}`)
	for range 100 {
		o.does(inTheMiddle, "items", line())
	}
	o.does(inTheMiddle, "submit", ``) // the message of this one repeats all the lines
	o.does(inTheMiddle, "pay", ``)
	if err := l.wait(); err != nil {
		t.Fatal(err)
	}

	w.complete()
	h, report := w.judge(0, l.told())
	want := map[string]bool{
		fromTheStart + "/1": true, fromTheStart + "/2": true, fromTheStart + "/3": true,
		inTheMiddle + "/102": true, inTheMiddle + "/103": true,
	}
	for _, id := range h.Parked {
		if !want[id] {
			t.Errorf("message %s is parked, and Kafka has no reason to refuse it", id)
		}
	}
	if report.Parked != len(want) {
		t.Errorf("%d messages are parked, want %d: %v", report.Parked, len(want), h.Parked)
	}
	list := w.command("outbox", "parked")
	for _, id := range []string{fromTheStart, inTheMiddle} {
		if !strings.Contains(list, id) {
			t.Errorf("`hexorders outbox parked` does not show order %s:\n%s", id, list)
		}
	}

	// Sent again before the cause is removed, an order stays parked.
	w.command("outbox", "retry", inTheMiddle)
	p.says("the broker refuses a parked message again", takeOverLimit)

	w.setMaxMessageBytes("1048588")
	w.command("outbox", "retry", fromTheStart)
	w.command("outbox", "retry", inTheMiddle)
	eventually(t, patience, "nothing is parked any more", func() bool {
		list := w.command("outbox", "parked")
		return !strings.Contains(list, fromTheStart) && !strings.Contains(list, inTheMiddle)
	})
	afterwards := o.order(`{"buyerId":"9999","items":[` + lines(150) + `]}`)
	w.complete()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	_, after := w.judge(0, map[string]int{fromTheStart: 3, inTheMiddle: 103, afterwards: 1})
	if after.Parked != 0 {
		t.Errorf("%d messages are parked after the retry, want none", after.Parked)
	}
	t.Logf("%d messages of 2 orders parked among %d others and sent again, %d duplicates; %s", report.Parked,
		report.Records, after.Duplicates, l)
}

// operator sends commands that succeed.
type operator struct {
	t      *testing.T
	client *client
}

func (o *operator) order(body string) (id string) {
	o.t.Helper()
	a, err := o.client.do(o.t.Context(), "POST", "/orders", body)
	if err != nil || a.status != 201 {
		o.t.Fatalf("POST /orders: answer %.500s, error %v", a, err)
	}
	d, err := a.order()
	if err != nil {
		o.t.Fatal(err)
	}
	return d.ID
}

func (o *operator) does(id, command, body string) {
	o.t.Helper()
	a, err := o.client.do(o.t.Context(), "POST", "/orders/"+id+"/"+command, body)
	if err != nil || a.status != 200 {
		o.t.Fatalf("POST /orders/%s/%s: answer %.500s, error %v", id, command, a, err)
	}
}

// lines are items that compress badly: a broker's limit is on what is left after compression.
func lines(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = line()
	}
	return strings.Join(all, ",")
}

func line() string {
	id := make([]byte, 60)
	for i := range id {
		id[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"[rand.IntN(64)]
	}
	return fmt.Sprintf(`{"productId":%q,"amount":1}`, id)
}
