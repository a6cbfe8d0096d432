// Package credential holds the real credentials of databases, so that workloads
// need none. It is used by the redirector: the proxy, which parses what strangers
// send, asks it for proofs and never has the password.
//
// The package does not speak PostgreSQL: what to prove, and to whom, is for
// package protocol/postgres and its caller.
package credential
