package session

import (
	"sync"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// suspendedCode is configuration_limit_exceeded.
const suspendedCode = "53400"

// maxAccounts bounds the subjects whose budgets are kept.
const maxAccounts = 10_000

// ledger keeps what subjects have spent of their budgets. A window is counted in
// two halves, of which the earlier one fades: nobody gains by waiting for its end.
type ledger struct {
	mu       sync.Mutex
	accounts map[account]*spending
}

type account struct {
	subject, policy string
	per             time.Duration
}

type spending struct {
	start         time.Time // of the current window
	now, before   amounts
	suspended     time.Time // until then
	suspendedWhat string
}

type amounts struct{ rows, statements, denials int64 }

// each calls f for every budget of g's view, with its account.
func (l *ledger) each(g *Gate, now time.Time, f func(b *policy.Budget, s *spending)) {
	budgets := g.view.Budgets()
	if len(budgets) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range budgets {
		b := &budgets[i]
		key := account{g.name, b.Policy, b.Per}
		s := l.accounts[key]
		if s == nil {
			if l.accounts == nil || len(l.accounts) >= maxAccounts {
				l.accounts = make(map[account]*spending)
			}
			s = &spending{start: now}
			l.accounts[key] = s
		}
		switch gone := now.Sub(s.start); {
		case gone >= 2*b.Per:
			s.start, s.before, s.now = now, amounts{}, amounts{}
		case gone >= b.Per:
			s.start, s.before, s.now = s.start.Add(b.Per), s.now, amounts{}
		}
		f(b, s)
	}
}

// check suspends an account that is beyond its budget.
func (s *spending) check(b *policy.Budget, now time.Time) {
	left := 1 - float64(now.Sub(s.start))/float64(b.Per)
	over := func(limit, before, current int64) bool {
		return limit > 0 && float64(before)*left+float64(current) > float64(limit)
	}
	what := ""
	switch {
	case over(b.Rows, s.before.rows, s.now.rows):
		what = "rows"
	case over(b.Statements, s.before.statements, s.now.statements):
		what = "statements"
	case over(b.Denials, s.before.denials, s.now.denials):
		what = "refusals"
	default:
		return
	}
	s.suspended, s.suspendedWhat = now.Add(b.Per), what
}

// spentOut refuses while the subject is suspended.
func (g *Gate) spentOut(now time.Time) *protocol.Refusal {
	var why *protocol.Refusal
	g.s.spent.each(g, now, func(b *policy.Budget, s *spending) {
		if now.Before(s.suspended) && why == nil {
			why = &protocol.Refusal{
				Code: suspendedCode, Rule: b.Policy + "/budget",
				Message: "the budget of " + s.suspendedWhat + " is used up, so this subject is suspended",
				Detail:  "Policy " + b.Policy + " bounds them per " + b.Per.String() + ".",
				Hint:    "Statements run again after " + s.suspended.UTC().Format(time.RFC3339) + ".",
			}
		}
	})
	return why
}

// spend counts the statements of a run.
func (g *Gate) spend(j *protocol.Judgement, first int) *protocol.Refusal {
	if len(g.view.Budgets()) == 0 || g.view.Observe() {
		return nil
	}
	now := time.Now()
	if why := g.spentOut(now); why != nil {
		return why
	}
	n := int64(1)
	if first == 0 {
		n = int64(len(j.Plans))
	}
	g.s.spent.each(g, now, func(b *policy.Budget, s *spending) {
		s.now.statements += n
		s.check(b, now)
	})
	return g.spentOut(now)
}

func (l *ledger) denied(g *Gate, now time.Time) {
	l.each(g, now, func(b *policy.Budget, s *spending) {
		s.now.denials++
		s.check(b, now)
	})
}

func (l *ledger) rows(g *Gate, n int64) {
	if n == 0 || len(g.view.Budgets()) == 0 {
		return
	}
	now := time.Now()
	l.each(g, now, func(b *policy.Budget, s *spending) {
		s.now.rows += n
		s.check(b, now)
	})
}
