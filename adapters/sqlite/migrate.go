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

// migrations are the steps from an empty file to the current tables. Step n leads to schema version n, which the file
// stores as its user_version. A released step never changes; a later change is another step.
var migrations = readMigrations()

// applicationID marks a file as ours ("hexo"), so that another program's database is not taken for an empty one.
const applicationID = 0x6865786f

// migrate runs the missing steps in one transaction and returns the schema version that the file had. Several processes
// may open a new file at once. It writes even when no step is missing, so that a file that cannot be written to fails
// now and not at the first order.
func (o options) migrate(ctx context.Context, conn *sql.Conn) (from int, err error) {
	begin := func() error { _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); return err }
	if err := o.retryBusy(ctx, begin); err != nil {
		return 0, err
	}
	// After an error the caller closes the connection, which ends the transaction.
	if from, err = inspect(ctx, conn); err != nil {
		return 0, err
	}
	for i, statements := range migrations[from:] {
		if _, err := conn.ExecContext(ctx, statements); err != nil {
			return 0, fmt.Errorf("migration %d: %w", from+i+1, err)
		}
	}
	if from < placesOfATopic {
		if err := addColumns(ctx, conn); err != nil {
			return 0, fmt.Errorf("migrate the read model: %w", err)
		}
	}
	// This write is unconditional: on a read-only file BEGIN IMMEDIATE succeeds, and only a write fails.
	_, err = conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d; COMMIT",
		len(migrations), applicationID))
	return from, err
}

// placesOfATopic is the schema version whose generations of the read model have more columns.
const placesOfATopic = 7

// addColumns adds them to the generations that the file has. Their names depend on the file, so no migration has them.
func addColumns(ctx context.Context, conn *sql.Conn) error {
	const columns = "VALUES ('places', 'gap TEXT'), ('places', 'missing TEXT'), ('progress', 'digest INTEGER')"
	var statements string
	err := conn.QueryRowContext(ctx, `SELECT coalesce(group_concat(printf('ALTER TABLE "%w" ADD COLUMN %s', name, column2), '; '), '')
		FROM sqlite_schema JOIN (`+columns+`) ON name GLOB 'rm[0-9]*_' || column1 WHERE type = 'table'`).Scan(&statements)
	if err == nil && statements != "" {
		_, err = conn.ExecContext(ctx, statements)
	}
	return err
}

// inspect returns the schema version of the file. Errors: ErrForeign, ErrNewer.
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
		return 0, fmt.Errorf("schema %d, this program supports up to %d: %w", version, len(migrations), ErrNewer)
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
