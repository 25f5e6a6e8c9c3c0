// Package sqlite stores everything in one file: orders and outbox, the relay's checkpoint and lease, parked messages,
// the log of the in-process broker, and the read model. The driver is pure Go, so the first `go run` needs no other tool.
//
// Read migrations/0001_schema.sql for the tables and writer.go for how a transaction is made; it is the simpler one of
// this project's two group committers. Then read store.go (orders), outbox.go with tail.go, lease.go and parking.go, and
// for the read model readmodel.go (queries), readmodel_commit.go and readmodel_generations.go. sqlite.go opens the file;
// errors.go says what to do when that fails.
//
// Several processes may use one file. They must be on one machine, because SQLite's write-ahead log is in shared memory
// (https://www.sqlite.org/wal.html).
package sqlite
