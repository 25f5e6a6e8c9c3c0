package mongodb_test

import (
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/ports"
)

// The server refuses an insert, or the whole commit.
func TestAServerWithoutRoomSaysSoAndPasses(t *testing.T) {
	for name, code := range map[string]int{"OutOfDiskSpace": 14031, "QuotaExceeded": 12501} {
		t.Run(name, func(t *testing.T) {
			db := mongotest.DB(t)
			store := mongodb.NewStore(db, mongodb.Options{})
			o := newOrder(t, "o", 1)
			heal := mongotest.FailCommand(t, db, "alwaysOn", "insert", bson.D{{Key: "errorCode", Value: code}})
			err := store.Save(t.Context(), o, ports.IdempotencyKey{})
			if !errors.Is(err, ports.ErrNoRoom) || !errors.Is(err, ports.ErrUnavailable) {
				t.Errorf("save: got error %v, want %v and %v", err, ports.ErrNoRoom, ports.ErrUnavailable)
			}
			if err := mongodb.TryWrite(t.Context(), db); !errors.Is(err, ports.ErrNoRoom) {
				t.Errorf("try to write: got error %v, want %v", err, ports.ErrNoRoom)
			}
			heal()
			if err := mongodb.TryWrite(t.Context(), db); err != nil {
				t.Errorf("try to write with room: %v", err)
			}
			if n := count(t, db.Collection("receipts")); n != 0 {
				t.Errorf("%d documents are left of it, want none", n)
			}
			save(t, store, o)
		})
	}
	t.Run("commit", func(t *testing.T) {
		db := mongotest.DB(t)
		store := mongodb.NewStore(db, mongodb.Options{})
		heal := mongotest.FailCommits(t, db, bson.D{{Key: "errorCode", Value: 14031}, {Key: "errorLabels", Value: bson.A{}}})
		o := newOrder(t, "o", 1)
		if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); !errors.Is(err, ports.ErrNoRoom) {
			t.Errorf("save: got error %v, want %v", err, ports.ErrNoRoom)
		}
		heal()
		save(t, store, o)
	})
}
