package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/memory"
	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/adapters/postgres"
	"hexorders/adapters/sqlite"
	"hexorders/app/readside"
	"hexorders/ports"
)

// stores are where orders can be kept (HEXORDERS_STORE). To add a store, add a row: no other file decides by the name of
// a store.
var stores = []storeKind{
	{
		name: "sqlite", open: openSQLite, shared: true, exists: databaseExists,
		group: func(c *Config) string { return fileID(c.SQLite.Path) },
		where: func(c *Config) string { return "orders are kept in " + absolute(c.SQLite.Path) },
	},
	{
		name: "memory", open: openMemory, volatile: true,
		where: func(*Config) string {
			return "orders are kept in memory and are lost when the process stops (HEXORDERS_STORE=sqlite keeps them)"
		},
	},
	{
		name: "mongodb", open: openMongoDB, shared: true, group: databaseName,
		where: func(c *Config) string { return "orders are kept in " + mongoDatabase(c) },
	},
	{
		name: "mongodb-events", open: openMongoDBEvents, shared: true, group: databaseName,
		where: func(c *Config) string { return "orders are kept as events in " + mongoDatabase(c) },
	},
	{
		name: "postgres", open: openPostgres, shared: true,
		group: func(c *Config) string { return postgres.Group(c.Postgres.URI) },
		where: func(c *Config) string { return "orders are kept in " + postgres.Where(c.Postgres.URI) },
	},
}

// storeKind is one row of stores. Only name, open and where are required.
type storeKind struct {
	name string

	// open connects to the store, which lets w watch as much as it can show. It returns the values that the store consists
	// of. One must be a ports.OrderStore and one, maybe the same, a ports.Outbox. What else they can do is found by their
	// types: ports.Parking, ports.Lease, inproc.Log and ports.ReadModelStore, which otherwise come from a companion; the
	// optional ports; Ping and TryWrite as sqlite.DB has them; Close. They are closed in this order.
	open func(ctx context.Context, c *Config, log *slog.Logger, w watch) ([]any, error)

	// exists is asked by the commands beside the service before they open the store, if opening creates one where there is
	// none. The error is fs.ErrNotExist if serving would create it.
	exists func(c *Config) error

	// where says where the orders are, for the greeting and for doctor.
	where func(c *Config) string

	// shared: several processes can open the store at the same time and see the same orders. Commands beside the service
	// need that.
	shared bool

	// volatile: all is gone when the process stops.
	volatile bool

	// group tells this store's views from all others that read the same topic. It becomes part of the consumer group's
	// name. A store that brings the views and is shared by several machines needs it.
	group func(c *Config) string
}

func (k storeKind) String() string { return k.name }

// viewTables are what a read model has to keep.
func viewTables() []ports.Table { return readside.Tables(readside.All) }

func openSQLite(ctx context.Context, c *Config, log *slog.Logger, w watch) ([]any, error) {
	db, err := sqlite.Open(ctx, c.SQLite.Path)
	if err != nil {
		return nil, fmt.Errorf("%w (HEXORDERS_SQLITE_PATH)", err)
	}
	db.Watch(w.ended)
	if db.DroppedViews() {
		log.Info("deleted the views of an earlier version: the read model is rebuilt from the topic")
	}
	return []any{
		sqlite.NewStore(db), sqlite.NewOutbox(db), sqlite.NewParking(db), sqlite.NewLease(db, "relay"), sqlite.NewTopic(db),
		sqlite.NewReadModel(db, viewTables()), db,
	}, nil
}

func databaseExists(c *Config) error {
	if err := sqlite.CheckExists(c.SQLite.Path); err != nil {
		return fmt.Errorf("%w (HEXORDERS_SQLITE_PATH)", err)
	}
	return nil
}

func openMemory(context.Context, *Config, *slog.Logger, watch) ([]any, error) {
	store := memory.NewStore()
	return []any{
		store, memory.NewOutbox(store), memory.NewParking(), memory.NewLease(), memory.NewTopic(), memory.NewReadModel(viewTables()),
	}, nil
}

func openMongoDB(ctx context.Context, c *Config, log *slog.Logger, w watch) ([]any, error) {
	db, err := mongodb.Connect(ctx, c.MongoDB.URI, c.MongoDB.Database, w.commands)
	if err != nil {
		return nil, err
	}
	store := mongodb.NewStore(db, mongodb.Options{MaxBatch: c.MongoDB.MaxBatch, Around: w.around})
	return append([]any{store, mongodb.NewOutbox(db, mongodb.OutboxOptions{Logger: log})}, mongoParts(db, log)...), nil
}

func openMongoDBEvents(ctx context.Context, c *Config, log *slog.Logger, w watch) ([]any, error) {
	db, err := mongodb.Connect(ctx, c.MongoDB.URI, c.MongoDB.Database, w.commands)
	if err != nil {
		return nil, err
	}
	store := mongodb.NewEventStore(db, mongodb.Options{MaxBatch: c.MongoDB.MaxBatch, Around: w.around})
	return append([]any{store, mongodb.NewEventLog(db, mongodb.OutboxOptions{Logger: log})}, mongoParts(db, log)...), nil
}

// mongoParts are what both MongoDB stores have in common.
func mongoParts(db *mongo.Database, log *slog.Logger) []any {
	return []any{
		mongodb.NewParking(db), mongodb.NewLease(db, "relay"), mongodb.NewTopic(db),
		readmodel.New(db, viewTables(), readmodel.Options{Logger: log}), mongoDB{db},
	}
}

// mongoDB is the connection.
type mongoDB struct{ *mongo.Database }

func (db mongoDB) Ping(ctx context.Context) error     { return db.Client().Ping(ctx, nil) } // asks the primary
func (db mongoDB) TryWrite(ctx context.Context) error { return mongodb.TryWrite(ctx, db.Database) }
func (db mongoDB) Close(ctx context.Context) error    { return db.Client().Disconnect(ctx) }

func (db mongoDB) examine(ctx context.Context) []finding {
	return []finding{
		{what: "replicas", good: "a replica set, as transactions and change streams need it"},
		checkClock(ctx, func(ctx context.Context) (time.Time, error) { return mongodb.ServerTime(ctx, db.Database) }),
	}
}

func mongoDatabase(c *Config) string {
	return "database " + c.MongoDB.Database + " at " + masked(c.MongoDB.URI)
}

func databaseName(c *Config) string { return c.MongoDB.Database }

// fileID identifies a file by its path on this host.
func fileID(path string) string {
	host, _ := os.Hostname() // without a name the path has to do
	hash := fnv.New64a()
	_, _ = fmt.Fprintf(hash, "%s:%s", host, absolute(path)) // writing to a hash cannot fail
	return fmt.Sprintf("%x", hash.Sum64())
}

func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}
