package mongodb

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// Parking implements ports.Parking with one document a message in the collection parked:
//
//	{_id: "<order id>/<version>", aggregateid, version, type, payload, occurredAt, traceparent?, reason, parkedAt, retry}
type Parking struct {
	parked *mongo.Collection
}

var _ ports.Parking = (*Parking)(nil)

// NewParking needs a database that Connect has prepared.
func NewParking(db *mongo.Database) *Parking { return ParkingIn(db.Collection(parkedCollection)) }

// ParkingIn uses a collection that its caller has prepared, with an index by aggregateid and version.
func ParkingIn(parked *mongo.Collection) *Parking { return &Parking{parked} }

// Park implements ports.Parking.
func (p *Parking) Park(ctx context.Context, m ports.Message, reason string) error {
	doing := "park message " + m.ID
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// An operator asks for a retry of the whole order, so a message that is parked later gets the same flag.
	retry, err := p.parked.CountDocuments(bounded, append(ofOrder(m.OrderID), bson.E{Key: "retry", Value: true}),
		options.Count().SetLimit(1))
	if err != nil {
		return Fail(ctx, doing, err)
	}
	d := newMessageDocument(m)
	first := bson.D{
		{Key: "aggregateid", Value: d.AggregateID}, {Key: "version", Value: d.Version}, {Key: "type", Value: d.Type},
		{Key: "payload", Value: d.Payload}, {Key: "occurredAt", Value: d.OccurredAt},
		{Key: "parkedAt", Value: time.Now()}, {Key: "retry", Value: retry > 0},
	}
	if d.TraceParent != "" {
		first = append(first, bson.E{Key: "traceparent", Value: d.TraceParent})
	}
	update := bson.D{
		{Key: "$setOnInsert", Value: first},
		{Key: "$set", Value: bson.D{{Key: "reason", Value: reason}}},
	}
	_, err = p.parked.UpdateByID(bounded, m.ID, update, options.UpdateOne().SetUpsert(true))
	return Fail(ctx, doing, err)
}

// Parked implements ports.Parking.
func (p *Parking) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	orders, err := parkedOrders(bounded, p.parked)
	return orders, Fail(ctx, "list the parked orders", err)
}

func parkedOrders(ctx context.Context, parked *mongo.Collection) ([]ports.ParkedOrder, error) {
	cursor, err := parked.Aggregate(ctx, mongo.Pipeline{
		{{Key: "$sort", Value: byVersion}}, // there is an index in this order
		{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: "$aggregateid"},
			{Key: "first", Value: bson.D{{Key: "$first", Value: "$version"}}},
			{Key: "reason", Value: bson.D{{Key: "$first", Value: "$reason"}}},
			{Key: "messages", Value: bson.D{{Key: "$sum", Value: 1}}},
			{Key: "since", Value: bson.D{{Key: "$min", Value: "$parkedAt"}}},
			{Key: "retry", Value: bson.D{{Key: "$max", Value: "$retry"}}}, // true is more than false
		}}},
		{{Key: "$sort", Value: bson.D{{Key: "_id", Value: 1}}}},
	})
	if err != nil {
		return nil, err
	}
	var documents []struct {
		OrderID  string    `bson:"_id"`
		First    int       `bson:"first"`
		Messages int       `bson:"messages"`
		Reason   string    `bson:"reason"`
		Since    time.Time `bson:"since"`
		Retry    bool      `bson:"retry"`
	}
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, err
	}
	orders := make([]ports.ParkedOrder, len(documents))
	for i, d := range documents {
		orders[i] = ports.ParkedOrder(d)
	}
	return orders, nil
}

// Messages implements ports.Parking.
func (p *Parking) Messages(ctx context.Context, orderID string) ([]ports.Message, error) {
	doing := "read the parked messages of order " + orderID
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	messages, err := findMessages(bounded, p.parked, ofOrder(orderID), options.Find())
	return messages, Fail(ctx, doing, err)
}

// Retry implements ports.Parking.
func (p *Parking) Retry(ctx context.Context, orderID string) error {
	doing := "ask for another try of order " + orderID
	found, err := p.update(ctx, orderID, bson.D{{Key: "retry", Value: true}})
	if err == nil && found == 0 {
		return fmt.Errorf("%s: %w", doing, ports.ErrNotFound)
	}
	return Fail(ctx, doing, err)
}

// Unpark implements ports.Parking.
func (p *Parking) Unpark(ctx context.Context, m ports.Message) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := p.parked.DeleteOne(bounded, bson.D{{Key: "_id", Value: m.ID}})
	return Fail(ctx, "unpark message "+m.ID, err)
}

// Refused implements ports.Parking.
func (p *Parking) Refused(ctx context.Context, orderID, reason string) error {
	_, err := p.update(ctx, orderID, bson.D{{Key: "retry", Value: false}, {Key: "reason", Value: reason}})
	return Fail(ctx, "end the retry of order "+orderID, err)
}

func (p *Parking) update(ctx context.Context, orderID string, set bson.D) (found int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result, err := p.parked.UpdateMany(ctx, ofOrder(orderID), bson.D{{Key: "$set", Value: set}})
	if err != nil {
		return 0, err
	}
	return result.MatchedCount, nil
}

func ofOrder(id string) bson.D { return bson.D{{Key: "aggregateid", Value: id}} }
