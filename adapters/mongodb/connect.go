package mongodb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// ErrNotReplicaSet means that the server answers but has no transactions. The error text says what to run.
var ErrNotReplicaSet = errors.New("this MongoDB is not a replica set")

const (
	appName = "hexorders"

	// callTimeout bounds a call without a tighter deadline, including the search for a primary. It is short, because a
	// client waits and can retry, and long enough for most elections.
	callTimeout = 5 * time.Second
	// heartbeat is how often the driver checks a server. It notices a server that hangs after two or three heartbeats, and
	// closing a client may have to wait for one.
	heartbeat = 5 * time.Second
)

// The collections. The documentation names them, for operators who look with mongosh.
const (
	ordersCollection    = "orders"
	outboxCollection    = "outbox"
	eventsCollection    = "order_events"
	snapshotsCollection = "order_snapshots"
	resultsCollection   = "receipts"
	relayCollection     = "relay"
	parkedCollection    = "parked"
	leasesCollection    = "leases"

	topicCollection       = "topic"
	topicEndCollection    = "topic_end"
	subscribersCollection = "subscribers"
)

// byVersion is the order of a scan: each order's messages in version order.
var byVersion = bson.D{{Key: "aggregateid", Value: 1}, {Key: "version", Value: 1}}

// Connect opens a database, checks that its server has transactions, and creates missing collections and indexes. monitor
// may be nil. The caller disconnects db.Client(). Errors: ErrNotReplicaSet, ports.ErrUnavailable; their text names the address, never
// the password, and says what to do.
func Connect(ctx context.Context, uri, database string, monitor *event.CommandMonitor) (*mongo.Database, error) {
	settings, err := settings(uri)
	if err != nil {
		return nil, err
	}
	client, err := mongo.Connect(settings.SetMonitor(monitor))
	if err != nil {
		return nil, fmt.Errorf("connect to MongoDB at %s: %w", hosts(settings), err)
	}
	db := client.Database(database)
	if err := prepare(ctx, db, settings); err != nil {
		// An error of Disconnect says nothing new: prepare has failed already.
		_ = client.Disconnect(context.WithoutCancel(ctx))
		return nil, err
	}
	return db, nil
}

// settings parses the URI and fills in defaults. It overrides the concerns, because correctness depends on them: a
// saved order is on a majority of the members, and a read returns only what a majority has.
func settings(uri string) (*options.ClientOptions, error) {
	s := options.Client().ApplyURI(uri)
	if err := s.Validate(); err != nil {
		return nil, explainURI(uri, err)
	}
	keepCertificateFresh(s, uri)
	if s.MaxPoolSize != nil && *s.MaxPoolSize == 1 {
		return nil, errors.New("the MongoDB URI has maxPoolSize=1: the relay waits for messages on one connection, and all else " +
			"needs another: set maxPoolSize=2 or more (HEXORDERS_MONGODB_URI)")
	}
	if s.AppName == nil {
		s.SetAppName(appName)
	}
	if s.ServerSelectionTimeout == nil {
		s.SetServerSelectionTimeout(callTimeout)
	}
	if s.ConnectTimeout == nil {
		s.SetConnectTimeout(callTimeout)
	}
	if s.HeartbeatInterval == nil {
		s.SetHeartbeatInterval(heartbeat)
	}
	s.Timeout = nil // it would end the change stream; each call has a deadline
	s.SetWriteConcern(writeconcern.Majority())
	s.SetReadConcern(readconcern.Majority())
	s.SetReadPreference(readpref.Primary())
	s.SetRetryWrites(true)
	s.SetRetryReads(true)
	return s, nil
}

func prepare(ctx context.Context, db *mongo.Database, s *options.ClientOptions) error {
	var server hello
	if err := server.ask(ctx, db); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return fmt.Errorf("connect to MongoDB at %s: %w", hosts(s), ctx.Err())
		}
		return explain(ctx, s, err)
	}
	if err := server.check(hosts(s)); err != nil {
		return err
	}
	return prepareSchema(ctx, db)
}

// hello is a server's description of itself.
type hello struct {
	SetName      string   `bson:"setName"`
	IsReplicaSet bool     `bson:"isreplicaset"` // started with --replSet, but rs.initiate() was never run
	Msg          string   `bson:"msg"`          // "isdbgrid" from the router of a sharded cluster
	Hosts        []string `bson:"hosts"`
}

func (h *hello) ask(ctx context.Context, db *mongo.Database) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(h)
}

func (h *hello) check(address string) error {
	initiate := fmt.Sprintf("mongosh --host %s --eval 'rs.initiate()'", address)
	switch {
	case h.SetName != "" || h.Msg == "isdbgrid":
		return nil
	case h.IsReplicaSet:
		return fmt.Errorf("%w yet: mongod at %s runs with --replSet but was never initiated; run once: %s",
			ErrNotReplicaSet, address, initiate)
	default:
		return fmt.Errorf("%w: mongod at %s runs alone, and transactions and change streams need a replica set (one "+
			"member is enough); restart it with --replSet rs0 and run once: %s; or let scripts/services up start one",
			ErrNotReplicaSet, address, initiate)
	}
}

// hosts names the servers without user and password.
func hosts(s *options.ClientOptions) string { return strings.Join(s.Hosts, ",") }
