package tally

import (
	"sync/atomic"

	"sluicegate.io/sluice/protocol"
)

const (
	actions  = 32
	verdicts = 8
)

// Traffic counts what sessions do. One Traffic is shared by all of an agent's
// sessions; its methods and fields are safe for concurrent use. Nothing in it is
// named after a subject or a text.
type Traffic struct {
	Accepted atomic.Uint64 // connections handed over by the redirector
	Rejected Names         // connections refused before they were sessions, by reason: a fixed word
	Sessions atomic.Int64  // that go on now
	Ended    Names         // sessions that ended, by reason: a fixed word

	FromWorkload atomic.Uint64 // bytes read of workloads
	ToWorkload   atomic.Uint64
	FromServer   atomic.Uint64
	ToServer     atomic.Uint64

	statements [actions][verdicts]atomic.Uint64
	Denials    Names         // by "policy/rule", "" being no rule
	Observed   Names         // statements let through by enforce: observe, by the rule that would have refused
	Errors     Names         // by SQLSTATE, of statements that were let through
	Masked     Names         // values, by tag
	Foreign    atomic.Uint64 // credentials presented that are not the placeholder

	Held     atomic.Int64 // statements that wait for approval now
	Decision Histogram    // from a text's arrival to its judgement
	Added    Histogram    // from a judged statement to its release

	Limited    atomic.Uint64 // statements ended by a limit
	Violations atomic.Uint64 // sessions ended because a side broke the protocol
	Cancels    atomic.Uint64 // cancel requests that found a statement
	Unanswered Names         // requests to the redirector that failed: dial, proof, token

	PoolIdle     atomic.Int64  // sessions of servers that wait for a client now
	PoolHits     atomic.Uint64 // clients for whom there was one
	PoolMisses   atomic.Uint64
	PoolDiscards Names // sessions that were closed and not kept, by reason: a fixed word

	JudgementHits   atomic.Uint64 // in the cache of judgements
	JudgementMisses atomic.Uint64
	CatalogLoads    atomic.Uint64
	CatalogErrors   atomic.Uint64
}

// Statement counts one statement by its first action and its verdict.
func (t *Traffic) Statement(a protocol.Action, v protocol.Verdict) {
	if int(a) < actions && int(v) < verdicts {
		t.statements[a][v].Add(1)
	}
}

// Statements calls yield for each action and verdict of which there were any.
func (t *Traffic) Statements(yield func(protocol.Action, protocol.Verdict, uint64)) {
	for a := range t.statements {
		for v := range t.statements[a] {
			if n := t.statements[a][v].Load(); n > 0 {
				yield(protocol.Action(a), protocol.Verdict(v), n)
			}
		}
	}
}
