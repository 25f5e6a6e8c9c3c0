package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations are the steps from an empty schema on. A step that was released never changes.
var migrations = readMigrations()

func readMigrations() (all []string) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names { // sorted
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			panic(err) // it was built in
		}
		all = append(all, string(text))
	}
	return all
}

// prepareSchema makes or migrates the tables. Processes that start together do it one after the other. A user who may not
// create tables can run the service once somebody else has.
func (db *DB) prepareSchema(ctx context.Context) error {
	var encoding string
	var schema *string
	err := db.pool.QueryRow(ctx, `SELECT current_schema(), current_setting('server_encoding')`).Scan(&schema, &encoding)
	switch {
	case err != nil:
		return err
	case schema == nil:
		return ErrNoSchema
	case encoding != "UTF8":
		return ErrEncoding
	}
	db.schema = *schema
	version, err := schemaVersion(ctx, db.pool)
	if err != nil || version == len(migrations) {
		return err
	}
	return pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, lockKey(db.schema, "schema")); err != nil {
			return err
		}
		version, err := schemaVersion(ctx, tx)
		if err == nil && version == 0 {
			_, err = tx.Exec(ctx, `CREATE TABLE schema_version (version integer NOT NULL)`)
			if err == nil {
				_, err = tx.Exec(ctx, `INSERT INTO schema_version (version) VALUES (0)`)
			}
		}
		for ; err == nil && version < len(migrations); version++ {
			_, err = tx.Exec(ctx, migrations[version]) // without arguments it may be several statements
		}
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE schema_version SET version = $1`, len(migrations))
		}
		return err
	})
}

// schemaVersion returns how many migrations the schema has, 0 for an empty one. Errors: ErrForeign, ErrNewer.
func schemaVersion(ctx context.Context, db interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}) (version int, err error) {
	var ours, theirs bool
	// Not to_regclass: it asks a cache of the connection, which does not know yet what another process has just made.
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version'),
		EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'orders')`).Scan(&ours, &theirs)
	switch {
	case err != nil:
		return 0, err
	case !ours && theirs:
		return 0, ErrForeign
	case !ours:
		return 0, nil
	}
	err = db.QueryRow(ctx, `SELECT version FROM schema_version`).Scan(&version)
	switch {
	case errors.Is(err, pgx.ErrNoRows) || hasCode(err, undefinedColumn):
		return 0, ErrForeign
	case err == nil && version > len(migrations):
		return 0, fmt.Errorf("schema %d, this program supports up to %d: %w", version, len(migrations), ErrNewer)
	}
	return version, err
}
