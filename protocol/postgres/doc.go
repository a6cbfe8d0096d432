// Package postgres speaks the PostgreSQL frontend/backend protocol between a
// workload and its server, first byte to last.
//
// A [Server] serves accepted connections: it reads the startup packet, asks its
// caller who that is and where to (Open), logs in to the database with a
// credential that it never sees (an [Authenticator] computes the proofs), and
// then moves messages both ways. No statement is forwarded before the session's
// [protocol.Gate] has judged and begun it, and no row before the Gate has seen
// its shape. [Client] is the small counterpart for connections of our own.
//
// The package opens no connection itself (Dial does), reads no files, and decides
// nothing: what a statement means and whether it may run is the Gate's affair.
// See README.md for what of the protocol is spoken and what is refused.
package postgres
