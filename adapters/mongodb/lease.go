package mongodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// Lease implements ports.Lease with one document of the collection leases:
//
//	{_id: name, owner, expiresAt, ttl, term}
//
// The server's clock ($$NOW) alone decides whether it has expired, so the clocks of the processes need not agree.
// term is the fencing token.
// ttl has the milliseconds of the last renewal. A lease that expires later than it can was renewed before the server's
// clock was set back. It counts as expired: otherwise no relay would publish until the clock reaches that time again.
type Lease struct {
	leases *mongo.Collection
	name   string
}

var (
	_ ports.Lease       = (*Lease)(nil)
	_ ports.LeaseHolder = (*Lease)(nil)
)

// NewLease needs a database that Connect has prepared. Leases of different names are independent.
func NewLease(db *mongo.Database, name string) *Lease {
	return &Lease{db.Collection(leasesCollection), name}
}

// Acquire implements ports.Lease.
func (l *Lease) Acquire(ctx context.Context, owner string, ttl time.Duration) (int64, error) {
	doing := fmt.Sprintf("acquire lease %s for %s", l.name, owner)
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()

	me := bson.D{{Key: "$literal", Value: owner}} // a name may begin with a dollar sign
	mine := bson.D{{Key: "$eq", Value: bson.A{"$owner", me}}}
	nextTerm := bson.D{{Key: "$add", Value: bson.A{bson.D{{Key: "$ifNull", Value: bson.A{"$term", 0}}}, 1}}}
	taken := bson.D{{Key: "$mergeObjects", Value: bson.A{"$$ROOT", bson.D{
		{Key: "owner", Value: me},
		{Key: "expiresAt", Value: bson.D{{Key: "$add", Value: bson.A{"$$NOW", ttl.Milliseconds()}}}},
		{Key: "ttl", Value: ttl.Milliseconds()},
		{Key: "term", Value: bson.D{{Key: "$cond", Value: bson.A{mine, "$term", nextTerm}}}},
	}}}}
	take := mongo.Pipeline{{{Key: "$replaceWith", Value: bson.D{{Key: "$cond", Value: bson.A{
		bson.D{{Key: "$or", Value: append(bson.A{mine}, expired(ttl)...)}}, taken, "$$ROOT",
	}}}}}}
	var lease struct {
		Owner string `bson:"owner"`
		Term  int64  `bson:"term"`
	}
	// One atomic command takes the lease if it is free and returns its holder.
	upsert := options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)
	err := l.leases.FindOneAndUpdate(bounded, bson.D{{Key: "_id", Value: l.name}}, take, upsert).Decode(&lease)
	switch {
	case mongo.IsDuplicateKeyError(err): // another process inserted the document at the same moment
		return 0, fmt.Errorf("%s: %w", doing, ports.ErrLeaseHeld)
	case err != nil:
		return 0, Fail(ctx, doing, err)
	case lease.Owner != owner:
		return 0, fmt.Errorf("%s: %w: %s", doing, ports.ErrLeaseHeld, lease.Owner)
	}
	return lease.Term, nil
}

// expired are the conditions of which one is true for a lease that nobody holds, on the server's clock.
func expired(ttl time.Duration) bson.A {
	passed := bson.D{{Key: "$lte", Value: bson.A{"$expiresAt", "$$NOW"}}} // true for a new lease, too
	// One ttl of tolerance, because the clocks of two primaries differ. A lease of an earlier version has no ttl.
	twice := bson.D{{Key: "$multiply", Value: bson.A{2, bson.D{{Key: "$ifNull", Value: bson.A{"$ttl", ttl.Milliseconds()}}}}}}
	latest := bson.D{{Key: "$add", Value: bson.A{"$$NOW", twice}}}
	unbelievable := bson.D{{Key: "$gt", Value: bson.A{"$expiresAt", latest}}}
	return bson.A{passed, unbelievable}
}

// Holder implements ports.LeaseHolder.
func (l *Lease) Holder(ctx context.Context) (owner string, err error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	const usual = 5 * time.Second // of a lease of an earlier version
	held := bson.D{
		{Key: "_id", Value: l.name},
		{Key: "$expr", Value: bson.D{{Key: "$not", Value: bson.A{bson.D{{Key: "$or", Value: expired(usual)}}}}}},
	}
	var lease struct {
		Owner string `bson:"owner"`
	}
	err = l.leases.FindOne(bounded, held).Decode(&lease)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return "", nil
	}
	return lease.Owner, Fail(ctx, "read lease "+l.name, err)
}

// Release implements ports.Lease. The document stays, because it holds the fencing token.
func (l *Lease) Release(ctx context.Context, owner string) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	held := bson.D{{Key: "_id", Value: l.name}, {Key: "owner", Value: owner}}
	expire := bson.D{{Key: "$set", Value: bson.D{{Key: "expiresAt", Value: time.Unix(0, 0)}}}}
	_, err := l.leases.UpdateOne(bounded, held, expire)
	return Fail(ctx, fmt.Sprintf("release lease %s of %s", l.name, owner), err)
}
