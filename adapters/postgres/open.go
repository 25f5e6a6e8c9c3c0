package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"hexorders/ports"
)

// Options configures a DB. The zero value is for production.
type Options struct {
	// Timeout bounds each call. 0 means 5 seconds.
	Timeout time.Duration
	// MaxBatch bounds how many saves share a transaction. 1 gives each save a transaction of its own; 0 means 256.
	MaxBatch int
	// Around stands round each transaction of saves: it calls commit, and gets the contexts of the transaction's saves. nil
	// only calls commit.
	Around func(ctx context.Context, saves []context.Context, commit func(context.Context) error) error
}

const (
	defaultTimeout  = 5 * time.Second
	defaultMaxBatch = 256
	// defaultConnections is the size of the pool, unless the URI has pool_max_conns: one for the committer, one for the
	// relay, one for the views, and the rest for reads. More of them make a server of a few cores no faster.
	defaultConnections = 10
)

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(max(o.Timeout, 0), defaultTimeout)
	o.MaxBatch = cmp.Or(max(o.MaxBatch, 0), defaultMaxBatch)
	if o.Around == nil {
		o.Around = func(ctx context.Context, _ []context.Context, commit func(context.Context) error) error {
			return commit(ctx)
		}
	}
	return o
}

// DB is a pool of connections to a database whose tables are there. It can be used by many goroutines at once.
type DB struct {
	pool      *pgxpool.Pool
	schema    string
	options   Options
	committer *committer
	outbox    *changes
	topic     *changes
	listening sync.WaitGroup
	stop      context.CancelFunc
	closeOnce sync.Once
	closeErr  error
}

// Open connects and makes or migrates the tables.
//
// Errors, each a sentence that says what to do: ErrURI, ErrNoDatabase, ErrNoSchema, ErrNotAllowed, ErrEncoding, ErrForeign,
// ErrNewer; ports.ErrUnavailable.
func Open(ctx context.Context, uri string, o Options) (*DB, error) {
	config, err := parse(uri)
	if err != nil {
		return nil, err
	}
	o = o.withDefaults()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Where(uri), explainOpen(err))
	}
	db := &DB{pool: pool, options: o}
	prepare, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if err := db.prepareSchema(prepare); err != nil {
		pool.Close()
		return nil, fmt.Errorf("%s: %w", Where(uri), explainOpen(err))
	}
	listen, stop := context.WithCancel(context.Background())
	db.stop = stop
	db.outbox, db.topic = newChanges(db.schema, "outbox"), newChanges(db.schema, "topic")
	db.listening.Go(func() { db.listen(listen, config.ConnConfig) })
	db.committer = newCommitter(db)
	return db, nil
}

// parse reads a URI and adds what this package needs on each connection.
func parse(uri string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return nil, ErrURI // the driver's own error repeats parts of the URI, and that may hold a password
	}
	if !strings.Contains(uri, "pool_max_conns") {
		config.MaxConns = defaultConnections
	}
	parameters := config.ConnConfig.RuntimeParams
	for name, value := range map[string]string{
		"application_name": "hexorders",
		// A process that stops in mid-transaction must not keep its locks.
		"idle_in_transaction_session_timeout": "5s",
		// What was reported as saved survives a power cut, also where the server's default is another.
		"synchronous_commit": "on",
		// Plans are made while tables are small, and kept. Every statement here has an index in its order, however small its
		// table is at first.
		"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off", "jit": "off",
	} {
		if parameters[name] == "" {
			parameters[name] = value
		}
	}
	config.ConnConfig.ConnectTimeout = cmp.Or(config.ConnConfig.ConnectTimeout, defaultTimeout)
	return config, nil
}

// Close waits for the saves that have begun, or until ctx ends, and closes all connections. Later calls get
// ports.ErrUnavailable. A second Close does nothing.
func (db *DB) Close(ctx context.Context) error {
	db.closeOnce.Do(func() {
		db.closeErr = db.committer.close(ctx)
		db.stop()
		db.listening.Wait()
		db.pool.Close()
	})
	return db.closeErr
}

// Ping checks that the server answers. Error: ports.ErrUnavailable.
func (db *DB) Ping(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, db.options.Timeout)
	defer cancel()
	return fail(ctx, "ping PostgreSQL", db.pool.Ping(bounded))
}

// TryWrite checks that the server takes writes: that it is not a standby and that its disk has room. It writes 32 KiB and
// takes them back. Error: ports.ErrUnavailable, with ports.ErrNoRoom when there is no room.
func (db *DB) TryWrite(ctx context.Context) error {
	// No idempotency key has a space.
	_, err := db.exec(ctx, `INSERT INTO results SELECT 'try to write ' || gen_random_uuid(), '', '', '', '', 0,
		(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 1024)), now(), now(), now()`)
	if err == nil {
		_, err = db.exec(ctx, `DELETE FROM results WHERE key LIKE 'try to write %'`)
	}
	return fail(ctx, "try to write to PostgreSQL", err)
}

// ServerTime is the server's clock.
func (db *DB) ServerTime(ctx context.Context) (now time.Time, err error) {
	err = db.queryRow(ctx, `SELECT clock_timestamp()`, nil, &now)
	return now, fail(ctx, "read the clock of PostgreSQL", err)
}

// exec runs one statement, which is a transaction of its own.
func (db *DB) exec(ctx context.Context, statement string, args ...any) (changed int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, db.options.Timeout)
	defer cancel()
	tag, err := db.pool.Exec(ctx, statement, args...)
	return tag.RowsAffected(), err
}

// queryRow scans the first row into dest. Error also: ports.ErrNotFound.
func (db *DB) queryRow(ctx context.Context, query string, args []any, dest ...any) error {
	ctx, cancel := context.WithTimeout(ctx, db.options.Timeout)
	defer cancel()
	err := db.pool.QueryRow(ctx, query, args...).Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return ports.ErrNotFound
	}
	return err
}

// query calls scan for each row. An error of scan ends it.
func (db *DB) query(ctx context.Context, query string, args []any, scan func(pgx.Rows) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.options.Timeout)
	defer cancel()
	rows, err := db.pool.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// together sends a transaction of several statements at once and waits for its commit: one round trip. So a process that
// stops in the middle keeps no lock: the server has the commit already, or nothing.
func (db *DB) together(ctx context.Context, statements *pgx.Batch) error {
	whole := &pgx.Batch{}
	// Each statement sees what was committed before it begins, also where the server's default is another.
	whole.Queue(`BEGIN ISOLATION LEVEL READ COMMITTED`)
	whole.QueuedQueries = append(whole.QueuedQueries, statements.QueuedQueries...)
	whole.Queue(`COMMIT`)
	return db.pool.SendBatch(ctx, whole).Close()
}

// lockKey is the number of an advisory lock. Locks belong to a database, and tables to a schema in it.
func lockKey(schema, what string) int64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte("hexorders " + schema + " " + what)) // writing to a hash cannot fail
	return int64(hash.Sum64())
}
