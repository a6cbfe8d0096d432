// Package session is one connection of a workload, first byte to last: who it is,
// what it may do, the catalog that its statements are judged against, and the
// record of what it did. Its [Gate] is what a codec of package protocol passes
// every statement and every result through.
//
// It runs in the proxy process, and reaches the outside only through the
// [Redirector]: every connection to a database, every proof of a credential and
// every token is asked for there. It reads no files and opens no sockets.
package session
