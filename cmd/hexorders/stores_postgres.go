package main

import (
	"context"
	"fmt"
	"log/slog"

	"hexorders/adapters/postgres"
)

func openPostgres(ctx context.Context, c *Config, _ *slog.Logger, w watch) ([]any, error) {
	db, err := postgres.Open(ctx, c.Postgres.URI, postgres.Options{Around: w.around})
	if err != nil {
		return nil, fmt.Errorf("%w (HEXORDERS_POSTGRES_URI)", err)
	}
	return []any{
		postgres.NewStore(db), postgres.NewOutbox(db), postgres.NewParking(db), postgres.NewLease(db, "relay"), postgres.NewTopic(db),
		postgres.NewReadModel(db, viewTables()), postgresDB{db},
	}, nil
}

// postgresDB is the connection.
type postgresDB struct{ *postgres.DB }

func (db postgresDB) examine(ctx context.Context) []finding {
	return []finding{checkClock(ctx, db.ServerTime)}
}
