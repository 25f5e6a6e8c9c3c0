package porttest_test

import (
	"context"
	"testing"
	"time"

	"hexorders/adapters/memory"
	"hexorders/ports/porttest"
)

func TestLeaseHolderSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("LeaseHolder"), leaseHolderFlaws, func() porttest.Storage { return openLeaseHolder("")() })
}

var leaseHolderFlaws = []flaw[porttest.Storage]{
	{"knows no owner", openLeaseHolder("knows no owner"), []string{
		"the owner that acquired the lease holds it until its release",
		"no owner holds an expired lease",
	}},
	{"names the last owner", openLeaseHolder("names the last owner"), []string{
		"the owner that acquired the lease holds it until its release",
		"no owner holds an expired lease",
	}},
	{"deletes an expired lease", openLeaseHolder("deletes an expired lease"), []string{"asking changes nothing"}},
	{"ignores a cancelled context", openLeaseHolder("ignores a cancelled context"), []string{"a cancelled context ends every call"}},
	{"has the driver's error while it is away", openLeaseHolder("has the driver's error while it is away"),
		[]string{"while the store cannot be reached, every call is ErrUnavailable"}},
}

func openLeaseHolder(flaw string) func() porttest.Storage {
	return func() porttest.Storage {
		l := &leaseHolder{Lease: memory.NewLease(), flaw: flaw}
		return porttest.Storage{Lease: l, Break: l.breakDown(flaw)}
	}
}

type leaseHolder struct {
	*memory.Lease
	outage
	flaw string
	last string
}

func (l *leaseHolder) Acquire(ctx context.Context, owner string, ttl time.Duration) (term int64, err error) {
	if term, err = l.Lease.Acquire(ctx, owner, ttl); err == nil {
		l.last = owner
	}
	return term, err
}

func (l *leaseHolder) Holder(ctx context.Context) (owner string, err error) {
	if err := l.reach(); err != nil {
		return "", err
	}
	switch l.flaw {
	case "knows no owner":
		return "", ctx.Err()
	case "names the last owner":
		return l.last, ctx.Err()
	case "ignores a cancelled context":
		ctx = context.WithoutCancel(ctx)
	}
	owner, err = l.Lease.Holder(ctx)
	if l.flaw == "deletes an expired lease" && owner == "" && err == nil {
		l.Lease = memory.NewLease()
	}
	return owner, err
}
