package mongodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/ports"
)

func TestOnlyAServerThatIsAwayIsUnavailable(t *testing.T) {
	labeled := func(label string) error { return mongo.CommandError{Code: 1, Labels: []string{label}} }
	cases := []struct {
		err  error
		want bool
	}{
		{labeled("NetworkError"), true},
		{labeled("TransientTransactionError"), true},
		{labeled("UnknownTransactionCommitResult"), true},
		{labeled("RetryableWriteError"), true},
		{labeled("SystemOverloadedError"), true},
		{mongo.CommandError{Code: 10107, Name: "NotWritablePrimary"}, true},
		{mongo.CommandError{Code: 50, Name: "MaxTimeMSExpired"}, true},
		{mongo.WriteException{WriteConcernError: &mongo.WriteConcernError{Code: 64}}, true},
		{mongo.ErrClientDisconnected, true},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		{fmt.Errorf("connection closed: %w", io.EOF), true},
		{context.DeadlineExceeded, true},

		{mongo.CommandError{Code: 1, Name: "InternalError"}, false},
		{mongo.CommandError{Code: 286, Labels: []string{"NonResumableChangeStreamError"}}, false},
		{mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 11000}}}, false},
		{mongo.MarshalError{Err: errors.New("no such type")}, false},
		{ports.ErrConflict, false},
	}
	for _, c := range cases {
		err := Fail(t.Context(), "doing it", fmt.Errorf("wrapped: %w", c.err))
		if got := errors.Is(err, ports.ErrUnavailable); got != c.want {
			t.Errorf("%T %v: got %v, want unavailable to be %v", c.err, c.err, err, c.want)
		}
		if !c.want && err.Error() != "doing it: wrapped: "+c.err.Error() {
			t.Errorf("got %q, want the error as it was", err)
		}
	}
	unauthorized := Fail(t.Context(), "doing it", mongo.CommandError{Code: 13, Name: "Unauthorized"})
	if want := "doing it: (Unauthorized): grant the user the rights that docs/secure.md lists"; unauthorized.Error() != want {
		t.Errorf("got %q, want %q", unauthorized, want)
	}
	if err := Fail(t.Context(), "doing it", nil); err != nil {
		t.Errorf("got %v, want nil to stay nil", err)
	}
}

func TestACallerWhoHasLeftIsToldSo(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	network := mongo.CommandError{Labels: []string{"NetworkError"}}
	commit := mongo.CommandError{Labels: []string{"NetworkError", "UnknownTransactionCommitResult"}}
	cases := []struct {
		what           string
		ctx            context.Context
		err, cause     error
		unknownOutcome bool
	}{
		{"cancelled", cancelled, network, context.Canceled, false},
		{"cancelled in the commit", cancelled, commit, context.Canceled, true},
		{"too late", late, network, context.DeadlineExceeded, true},
		{"cancelled, but refused before", cancelled, ports.ErrConflict, ports.ErrConflict, false},
	}
	for _, c := range cases {
		err := Fail(c.ctx, "save", c.err)
		if !errors.Is(err, c.cause) || errors.Is(err, ports.ErrUnavailable) != c.unknownOutcome {
			t.Errorf("%s: got %v, want %v, and unavailable to be %v", c.what, err, c.cause, c.unknownOutcome)
		}
	}
}

// Some answers no server of today gives a test on purpose.
func TestWhatAServerSaysOfItself(t *testing.T) {
	for _, ok := range []hello{{SetName: "rs0"}, {Msg: "isdbgrid"}} {
		if err := ok.check("db:27017"); err != nil {
			t.Errorf("%+v: got %v, want nil", ok, err)
		}
	}
	uninitiated := hello{IsReplicaSet: true}
	err := uninitiated.check("db:27017")
	want := "this MongoDB is not a replica set yet: mongod at db:27017 runs with --replSet but was never initiated; " +
		"run once: mongosh --host db:27017 --eval 'rs.initiate()'"
	if !errors.Is(err, ErrNotReplicaSet) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
