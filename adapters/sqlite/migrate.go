package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations are the steps from an empty file to today's tables: the n-th leads to schema version n, which the file
// keeps as its user_version. A step that was released is never changed; what comes later is another step.
var migrations = readMigrations()

// applicationID marks a file as ours ("hexo"), so that another program's database is not taken for an empty one.
const applicationID = 0x6865786f

// migrate brings the file up to date in one transaction, also when several processes open a new file at once. It
// writes even when there is nothing to do: that nothing can be written here is better known now than at the first
// order.
func (o options) migrate(ctx context.Context, conn *sql.Conn) error {
	if err := o.retryBusy(ctx, func() error { _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); return err }); err != nil {
		return err
	}
	// After an error the connection is closed, and the transaction with it.
	version, err := inspect(ctx, conn)
	if err != nil {
		return err
	}
	for i, statements := range migrations[version:] {
		if _, err := conn.ExecContext(ctx, statements); err != nil {
			return fmt.Errorf("migration %d: %w", version+i+1, err)
		}
	}
	// Also when nothing has changed: on a read-only file BEGIN IMMEDIATE succeeds, and only a write fails.
	_, err = conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d; COMMIT", len(migrations), applicationID))
	return err
}

// inspect tells which of the migrations the file has behind it. Errors: ErrForeign, ErrNewer.
func inspect(ctx context.Context, conn *sql.Conn) (version int, err error) {
	var owner, tables int
	err = conn.QueryRowContext(ctx, `SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_user_version, pragma_application_id`).Scan(&version, &owner, &tables)
	switch {
	case err != nil:
		return 0, err
	case owner != applicationID && (owner != 0 || version != 0 || tables > 0):
		return 0, ErrForeign
	case version > len(migrations):
		return 0, fmt.Errorf("schema %d, this program knows up to %d: %w", version, len(migrations), ErrNewer)
	}
	return version, nil
}

func readMigrations() (all []string) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i, name := range names { // sorted
		var n int
		if _, err := fmt.Sscanf(name, "migrations/%04d_", &n); err != nil || n != i+1 {
			panic(fmt.Sprintf("%s should be migration %04d", name, i+1))
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			panic(err) // it was built in
		}
		all = append(all, string(text))
	}
	return all
}
