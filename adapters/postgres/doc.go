// Package postgres keeps orders, outbox, topic and read model in PostgreSQL 14 or newer, through pgx. All tables are in the
// first schema of the connection's search_path, so that several services can share a database.
//
// Read it in this order: migrations, open.go, store.go (what one Save writes), committer.go (many saves, one transaction),
// log.go (why a reader of sequence numbers misses nothing), outbox.go, wake.go (how it hears of other processes); then
// lease.go, parking.go, topic.go; then the read model: readmodel.go, readmodel_commit.go, readmodel_generations.go.
// DESIGN.md explains the two hard parts, the sequence gap and the group commit.
package postgres
