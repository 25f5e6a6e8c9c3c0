package mongodb_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

// A client may send keys as fast as it likes, and results are stored for a day: a change of one line of the largest order
// must not store the other 499 again.
func TestAStoredResultIsSmall(t *testing.T) {
	for name, test := range map[string]struct {
		open  func(testing.TB, *mongo.Database, mongodb.Options) ports.OrderStore
		bytes int64 // a result, at most
	}{
		"events": {func(t testing.TB, db *mongo.Database, o mongodb.Options) ports.OrderStore {
			return newEventStore(t, db, o)
		}, 200},
		"state": {func(_ testing.TB, db *mongo.Database, o mongodb.Options) ports.OrderStore {
			return mongodb.NewStore(db, o)
		}, 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			db := mongotest.DB(t)
			store := test.open(t, db, mongodb.Options{})
			random := rand.New(rand.NewPCG(1, 2))
			items := make([]order.Item, order.MaxItems)
			for i := range items { // ids as most have them: a UUID
				items[i] = order.Item{Product: fmt.Sprintf("%016x-%016x", random.Uint64(), random.Uint64()), Amount: 1 + i%9}
			}
			o, err := order.New("o", "buyer-1", items, at)
			if err != nil {
				t.Fatal(err)
			}
			save(t, store, o)
			const changes = 100
			for i := range changes {
				if err := o.ChangeAmount(items[i].Product, 1000+i, at); err != nil {
					t.Fatal(err)
				}
				if err := store.Save(t.Context(), o, keyOf(fmt.Sprintf("8e03978e-40d5-43dd-bc93-6894a57f%04d", i))); err != nil {
					t.Fatal(err)
				}
			}
			cursor, err := db.Collection("receipts").Aggregate(t.Context(), mongo.Pipeline{{{Key: "$group", Value: bson.D{
				{Key: "_id", Value: nil}, {Key: "bytes", Value: bson.D{{Key: "$sum", Value: bson.D{{Key: "$bsonSize", Value: "$$ROOT"}}}}},
			}}}})
			var sum []struct{ Bytes int64 }
			if err == nil {
				err = cursor.All(t.Context(), &sum)
			}
			if err != nil || len(sum) != 1 {
				t.Fatalf("sizes of the results: %v, error %v", sum, err)
			}
			t.Logf("a stored result has %d bytes", sum[0].Bytes/changes)
			if sum[0].Bytes > changes*test.bytes {
				t.Errorf("a stored result has %d bytes, want at most %d", sum[0].Bytes/changes, test.bytes)
			}
		})
	}
}
