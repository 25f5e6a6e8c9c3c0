// Package readmodel stores the read model in MongoDB, beside the orders or in a database of its own. It knows rows, and no
// view: a view is a collection whose name, indexes and counters come from the program. DESIGN.md has the ideas and the failure
// cases.
//
// Read documents.go for what is in the collections, store.go for the questions, commit.go for the one transaction that a
// batch takes, and generations.go for the rebuild, the upgrade and when collections are made and dropped.
package readmodel
