// Package ports is the border of the core: what the outside may ask of it (driving ports), and what it asks of the
// outside (driven ports). Adapters call or implement these interfaces. Package porttest holds every implementation to
// the promises in the comments, one check a promise.
//
// Read ports.go first: the write side, on one screen. Then values.go (what crosses the border) and errors.go;
// optional.go (what a store may leave out); readside.go and rows.go (events back from the broker, and what clients read).
package ports
