package porttest

import (
	"context"
	"testing"
	"time"
)

var leaseHolderChecks = []check[storage]{
	{"the owner that acquired the lease holds it until its release", func(t testing.TB, s storage) {
		wantHolder(t, s, "")
		acquire(t, s.Lease, "$one", long)
		wantHolder(t, s, "$one")
		release(t, s.Lease, "two")
		wantHolder(t, s, "$one")
		release(t, s.Lease, "$one")
		wantHolder(t, s, "")
	}, "the owner of the row while its end lies ahead"},
	{"no owner holds an expired lease", func(t testing.TB, s storage) {
		acquire(t, s.Lease, "one", short)
		for deadline := time.Now().Add(patience); holder(t, s) != ""; <-time.After(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("a lease of %v is still held after %v", short, patience)
			}
		}
		acquire(t, s.Lease, "two", long)
		wantHolder(t, s, "two")
	}, "compare its end with the clock of the store"},
	{"asking changes nothing", func(t testing.TB, s storage) {
		acquire(t, s.Lease, "zero", long)
		release(t, s.Lease, "zero")
		first := acquire(t, s.Lease, "one", short/10)
		for holder(t, s) != "" {
			<-time.After(time.Millisecond)
		}
		if second := acquire(t, s.Lease, "one", long); second < first {
			t.Errorf("term after the question: got %d, want %d or more", second, first)
		}
		wantHeld(t, s.Lease, "two")
	}, "Holder only reads"},
	{"a cancelled context ends every call", func(t testing.TB, s storage) {
		wantCancelled(t, "Holder", func(ctx context.Context) error {
			_, err := s.Holder.Holder(ctx)
			return err
		})
	}, "pass ctx on to every call, and return ctx.Err() as it is"},
}

func holder(t testing.TB, s storage) string {
	t.Helper()
	owner, err := s.Holder.Holder(bounded(t))
	if err != nil {
		t.Fatalf("Holder: %v", err)
	}
	return owner
}

func wantHolder(t testing.TB, s storage, want string) {
	t.Helper()
	if got := holder(t, s); got != want {
		t.Errorf("Holder: got %q, want %q", got, want)
	}
}
