// Package record keeps what happened: one append-only, hash-chained log per
// session, of which [Log.Append] returns only when the event is in the file. The
// session forwards a statement after that and not before: no record, no query.
//
// A [Store] is the writer of one lane of a directory. Sessions share its segment
// files, which are preallocated and mapped, so that an append is a copy into the
// page cache: it survives the death of the process, and a full disk is noticed
// when a segment is reserved, not when a record is half written. The readers
// ([Sessions], [Read], [Tail], [Verify], [Export]) need no daemon, only the
// directory. README.md in this folder describes the format and what it proves.
//
// The package does not mask: it stores what it is given, which is what the
// workload saw. It knows nothing of sockets, and decides nothing.
package record
