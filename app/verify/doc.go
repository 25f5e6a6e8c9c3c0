// Package verify proves that the store, its outbox, the topic and the read model agree, on a service that may be
// running, in memory that does not grow with their size. DESIGN.md has the idea: what is read when, and why what is on
// its way is no difference.
//
// Read verify.go first: what is compared, in which steps. Then order.go (the rules for one order), rows.go (the rows of
// the views), read.go (reading the topic and the store) and report.go (what a difference means). sorter.go sorts more
// than memory holds.
package verify
