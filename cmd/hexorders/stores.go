package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/adapters/sqlite"
	"hexorders/app/readside"
	"hexorders/ports"
)

// stores are where orders can be kept (HEXORDERS_STORE). To add a store, add a row: no other file decides by the name of
// a store.
var stores = []storeKind{
	{
		name: "sqlite", open: openSQLite, shared: true, keepsTopic: true, group: databaseFile, exists: databaseExists,
		where: func(c *Config) string { return "orders are kept in " + absolute(c.SQLite.Path) },
	},
	{
		name: "memory", open: openMemory,
		where: func(*Config) string {
			return "orders are kept in memory and are lost when the process stops (HEXORDERS_STORE=sqlite keeps them)"
		},
	},
	{
		name: "mongodb", open: openMongoDB, shared: true, keepsTopic: true, group: databaseName,
		where: func(c *Config) string { return "orders are kept in " + mongoDatabase(c) },
	},
	{
		name: "mongodb-events", open: openMongoDBEvents, shared: true, keepsTopic: true, group: databaseName,
		where: func(c *Config) string { return "orders are kept as events in " + mongoDatabase(c) },
	},
}

// storeKind is one row of stores. Only name, open and where are required.
type storeKind struct {
	name string

	// open connects to the store, which lets w watch as much as it can show.
	open func(ctx context.Context, c *Config, log *slog.Logger, w watch) (*storage, error)

	// exists is asked by the commands beside the service before they open the store, if opening creates one where there is
	// none. The error is fs.ErrNotExist if serving would create it.
	exists func(c *Config) error

	// where says where the orders are, for the greeting and for doctor.
	where func(c *Config) string

	// shared: several processes can open the store at the same time and see the same orders, views and topic. Commands
	// beside the service need that.
	shared bool

	// keepsTopic: what the in-process broker has published is still there after a restart.
	keepsTopic bool

	// group tells this store's views from all others that read the same topic. It becomes part of the consumer group's
	// name. Without it each process has a group of its own.
	group func(c *Config) string
}

func (k storeKind) String() string { return k.name }

// storage is what an open store brings. A store can do more: orders may be ports.IdempotencyStore, ports.History and
// ports.OrderScanner, outbox a backlog and a ports.Trimmer. A type assertion tells, and what is missing is done without.
type storage struct {
	orders  ports.OrderStore
	outbox  ports.Outbox
	parking ports.Parking
	lease   ports.Lease
	topic   inproc.Log                      // for the in-process broker
	views   ports.ReadModelStore            // with the tables of all views
	ready   func(context.Context) error     // nil when the store answers
	write   func(context.Context) error     // nil when it takes writes; itself nil where that cannot fail
	failing atomic.Bool                     // the last save has found the store unavailable
	examine func(context.Context) []finding // more for doctor; may be nil
	close   func(context.Context) error
}

// viewTables are what a read model has to keep.
func viewTables() []ports.Table { return readside.Tables(readside.All) }

func openSQLite(ctx context.Context, c *Config, log *slog.Logger, w watch) (*storage, error) {
	db, err := sqlite.Open(ctx, c.SQLite.Path)
	if err != nil {
		return nil, fmt.Errorf("%w (HEXORDERS_SQLITE_PATH)", err)
	}
	db.Watch(w.ended)
	if db.DroppedViews() {
		log.Info("deleted the views of an earlier version: the read model is rebuilt from the topic")
	}
	return &storage{
		orders:  sqlite.NewStore(db),
		outbox:  sqlite.NewOutbox(db),
		parking: sqlite.NewParking(db),
		lease:   sqlite.NewLease(db, "relay"),
		topic:   sqlite.NewTopic(db),
		views:   sqlite.NewReadModel(db, viewTables()),
		ready:   db.Ping,
		write:   db.TryWrite,
		close:   func(context.Context) error { return db.Close() },
	}, nil
}

func databaseExists(c *Config) error {
	if err := sqlite.CheckExists(c.SQLite.Path); err != nil {
		return fmt.Errorf("%w (HEXORDERS_SQLITE_PATH)", err)
	}
	return nil
}

func openMemory(context.Context, *Config, *slog.Logger, watch) (*storage, error) {
	store := memory.NewStore()
	return &storage{
		orders:  store,
		outbox:  memory.NewOutbox(store),
		parking: memory.NewParking(),
		lease:   memory.NewLease(),
		topic:   memory.NewTopic(),
		views:   memory.NewReadModel(viewTables()),
		ready:   func(context.Context) error { return nil },
		close:   func(context.Context) error { return nil },
	}, nil
}

func openMongoDB(ctx context.Context, c *Config, log *slog.Logger, w watch) (*storage, error) {
	db, err := mongodb.Connect(ctx, c.MongoDB.URI, c.MongoDB.Database, w.commands)
	if err != nil {
		return nil, err
	}
	s := mongoStorage(db, log)
	store := mongodb.NewStore(db, mongodb.Options{MaxBatch: c.MongoDB.MaxBatch, Around: w.around})
	s.orders, s.outbox = store, mongodb.NewOutbox(db, mongodb.OutboxOptions{Logger: log})
	s.close = func(ctx context.Context) error { return errors.Join(store.Close(ctx), db.Client().Disconnect(ctx)) }
	return s, nil
}

func openMongoDBEvents(ctx context.Context, c *Config, log *slog.Logger, w watch) (*storage, error) {
	db, err := mongodb.Connect(ctx, c.MongoDB.URI, c.MongoDB.Database, w.commands)
	if err != nil {
		return nil, err
	}
	s := mongoStorage(db, log)
	store := mongodb.NewEventStore(db, mongodb.Options{MaxBatch: c.MongoDB.MaxBatch, Around: w.around})
	s.orders, s.outbox = store, mongodb.NewEventLog(db, mongodb.OutboxOptions{Logger: log})
	s.close = func(ctx context.Context) error { return errors.Join(store.Close(ctx), db.Client().Disconnect(ctx)) }
	return s, nil
}

// mongoStorage is what both MongoDB stores have in common.
func mongoStorage(db *mongo.Database, log *slog.Logger) *storage {
	return &storage{
		parking: mongodb.NewParking(db),
		lease:   mongodb.NewLease(db, "relay"),
		topic:   mongodb.NewTopic(db),
		views:   readmodel.New(db, viewTables(), readmodel.Options{Logger: log}),
		ready:   func(ctx context.Context) error { return db.Client().Ping(ctx, nil) }, // asks the primary
		write:   func(ctx context.Context) error { return mongodb.TryWrite(ctx, db) },
		examine: func(ctx context.Context) []finding {
			return []finding{
				{what: "replicas", good: "a replica set, as transactions and change streams need it"},
				checkClock(ctx, func(ctx context.Context) (time.Time, error) { return mongodb.ServerTime(ctx, db) }),
			}
		},
	}
}

func mongoDatabase(c *Config) string {
	return "database " + c.MongoDB.Database + " at " + masked(c.MongoDB.URI)
}

func databaseName(c *Config) string { return c.MongoDB.Database }

// databaseFile identifies a file by its path on this host.
func databaseFile(c *Config) string {
	host, _ := os.Hostname() // without a name the path has to do
	hash := fnv.New64a()
	_, _ = fmt.Fprintf(hash, "%s:%s", host, absolute(c.SQLite.Path)) // writing to a hash cannot fail
	return fmt.Sprintf("%x", hash.Sum64())
}

func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}
