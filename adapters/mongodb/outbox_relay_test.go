package mongodb_test

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/ports"
)

func TestAParkedMessageIsADocument(t *testing.T) {
	db := mongotest.DB(t)
	parking := mongodb.NewParking(db)
	m := ports.Message{
		ID: "o-1/2", Type: "OrderPaid", OrderID: "o-1", Version: 2, Payload: []byte(`{"orderId":"o-1"}`), OccurredAt: at,
		TraceParent: "00-1-2-01",
	}
	if err := parking.Park(t.Context(), m, "too large"); err != nil {
		t.Fatal(err)
	}
	if err := parking.Retry(t.Context(), "o-1"); err != nil {
		t.Fatal(err)
	}
	got := one(t, db.Collection("parked"))
	parked, _ := got["parkedAt"].(bson.DateTime)
	if time.Since(parked.Time()).Abs() > time.Hour {
		t.Errorf("parkedAt: got %v, want now", got["parkedAt"])
	}
	delete(got, "parkedAt")
	wantSame(t, got, bson.M{
		"_id": "o-1/2", "aggregateid": "o-1", "version": int32(2), "type": "OrderPaid", "payload": `{"orderId":"o-1"}`,
		"occurredAt": bson.NewDateTimeFromTime(at), "traceparent": "00-1-2-01", "reason": "too large", "retry": true,
	})
}

func TestALeaseIsADocumentThatOutlivesItsRelease(t *testing.T) {
	db := mongotest.DB(t)
	lease := mongodb.NewLease(db, "relay")
	for _, owner := range []string{"one", "$two"} { // a dollar means something in an aggregation
		if _, err := lease.Acquire(t.Context(), owner, time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := lease.Release(t.Context(), owner); err != nil {
			t.Fatal(err)
		}
	}
	got := one(t, db.Collection("leases"))
	if term := got["term"]; term != int32(2) && term != int64(2) {
		t.Errorf("term: got %v, want 2", term)
	}
	delete(got, "term")
	wantSame(t, got, bson.M{"_id": "relay", "owner": "$two", "expiresAt": bson.DateTime(0), "ttl": time.Hour.Milliseconds()})

	other, err := mongodb.NewLease(db, "projections").Acquire(t.Context(), "one", time.Hour)
	if err != nil || other != 1 {
		t.Errorf("a lease of another name: got term %d, %v, want 1", other, err)
	}
}

func one(t *testing.T, c *mongo.Collection) bson.M {
	t.Helper()
	var got bson.M
	if err := c.FindOne(t.Context(), bson.D{}).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return got
}
