package mongodb_test

import (
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/ports"
)

// The server's clock was an hour ahead when the lease was renewed, and has been set back since.
func TestALeaseThatWasRenewedInTheFutureIsFree(t *testing.T) {
	for name, earlier := range map[string]bson.D{
		"with its ttl":          {{Key: "ttl", Value: (5 * time.Second).Milliseconds()}},
		"of an earlier version": {},
	} {
		t.Run(name, func(t *testing.T) {
			db := mongotest.DB(t)
			now, err := mongodb.ServerTime(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			lease := append(bson.D{
				{Key: "_id", Value: "relay"}, {Key: "owner", Value: "one"}, {Key: "term", Value: int64(7)},
				{Key: "expiresAt", Value: now.Add(time.Hour)},
			}, earlier...)
			if _, err := db.Collection("leases").InsertOne(t.Context(), lease); err != nil {
				t.Fatal(err)
			}
			if owner, err := mongodb.NewLease(db, "relay").Holder(t.Context()); owner != "" || err != nil {
				t.Errorf("Holder: got %q, error %v, want none", owner, err)
			}
			term, err := mongodb.NewLease(db, "relay").Acquire(t.Context(), "two", 5*time.Second)
			if err != nil || term != 8 {
				t.Errorf("Acquire: got term %d, error %v, want 8", term, err)
			}
		})
	}
}

// Owners may be given different times. A short one does not end a long one.
func TestALongLeaseHoldsAgainstAShortOne(t *testing.T) {
	db := mongotest.DB(t)
	lease := mongodb.NewLease(db, "relay")
	if _, err := lease.Acquire(t.Context(), "one", time.Hour); err != nil {
		t.Fatal(err)
	}
	if term, err := lease.Acquire(t.Context(), "two", time.Second); !errors.Is(err, ports.ErrLeaseHeld) {
		t.Errorf("Acquire: got term %d, error %v, want %v", term, err, ports.ErrLeaseHeld)
	}
}
