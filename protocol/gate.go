package protocol

import "context"

// A Gate is what a codec must pass. The codec owns bytes and order, the Gate
// owns meaning: no statement reaches the server, and no row the workload,
// without having gone through it. One Gate belongs to one session. The real one
// is session.Gate (package agent/session).
//
// Judge and Begin may block for minutes: a catalog to be read, a human to be
// asked. Nothing of the statement has reached the server then, so it holds no
// lock there. The codec cancels ctx when the workload cancels, disconnects, or
// the agent stops; both then return a Refusal.
//
// Calls of one session never overlap, except that Begin for a later statement
// of a pipeline may come before End of an earlier one.
type Gate interface {
	// Judge decides about a text before any byte of it is forwarded. It never
	// returns nil. It runs nothing and counts nothing: the same text may be
	// judged often.
	Judge(ctx context.Context, q *Query) *Judgement

	// Begin is called before the messages that make r run are forwarded, once
	// for a simple query and once for each Execute. It records the run (no
	// record, no query), spends budgets and asks for approval. After a nil
	// return the codec calls End for each statement, whatever happens.
	Begin(ctx context.Context, r *Run) *Refusal

	// Refused notes a refusal that was the codec's own (a protocol violation, a
	// judgement that refused), so that it is recorded and counted. text may be
	// empty. It returns only after the record is written or has failed.
	Refused(text string, why *Refusal)

	// Shape is called with the columns of statement i's result, before its first
	// row is forwarded: what the server says is compared with the plan. A
	// Refusal ends the session before a row leaves.
	Shape(r *Run, i int, columns []ResultColumn) *Refusal

	// Rows is shown whole backend messages (DataRow, CopyData) of statement i as
	// the workload gets them, many at a time. msgs is valid during the call, and
	// count is the number of rows in it. It must not block on the network.
	Rows(r *Run, i int, msgs []byte, count int)

	// End is called when statement i of r has ended.
	End(r *Run, i int, o Outcome)
}

// A Scanner is implemented by a Gate that looks into the values of columns whose
// plan says Scan. Value returns what the workload gets in place of value, and
// whether that is another one; value may be returned, and is never kept.
type Scanner interface {
	Value(r *Run, i, column int, value []byte) ([]byte, bool)
}

// A Passer is implemented by a Gate that can let pass what cannot be read: a call
// of a function by number, a text that the server reads by other rules than the
// analysis. Pass returns a Judgement of one plan with AnyEffect, or refuses.
type Passer interface {
	Pass(ctx context.Context, text string) *Judgement
}
