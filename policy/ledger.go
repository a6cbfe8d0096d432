package policy

import (
	"sync"
	"time"
)

// Usage is what a statement spends of a budget.
type Usage struct {
	Statements, Rows, Denials int64
}

// Ledger counts what subjects spend of their budgets in sliding windows. It is
// safe for concurrent use. Time is an argument, and goes forward.
//
// It is memory only: after a restart all windows are empty.
type Ledger struct {
	mu       sync.Mutex
	accounts map[account]*window
	limit    int
	swept    time.Time
}

// An account is one budget of one subject.
type account struct {
	subject string
	budget  Budget
}

// slots is the number of parts of a window. What was spent leaves the window a
// part at a time, up to 1/slots later than to the moment, never earlier.
const slots = 32

type window struct {
	used      [slots + 1]Usage
	newest    int64 // number of the part that the last one of used is
	suspended Suspension
}

// NewLedger returns a Ledger that keeps at most accounts pairs of subject and
// budget, 0 for 100,000. Beyond that the subjects that are new are refused: a
// flood of subjects must not make the others' counts go away.
func NewLedger(accounts int) *Ledger {
	if accounts == 0 {
		accounts = 100_000
	}
	return &Ledger{accounts: map[account]*window{}, limit: accounts}
}

// Suspension says that a budget is spent.
type Suspension struct {
	Policy string // that has the budget
	What   string // "statements", "rows" or "denials"; "subjects" for a full Ledger
	Limit  int64  // of What
	Per    time.Duration
	Until  time.Time // when to try again
}

// Spend adds to all budgets of a subject, and returns the Suspension that is in
// force: one from before, or one that this use brought about. What is tried while
// a budget is suspended is not added to it. Spending nothing asks only.
func (l *Ledger) Spend(subject string, budgets []Budget, use Usage, now time.Time) *Suspension {
	if len(budgets) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	var worst *Suspension
	for _, b := range budgets {
		s := l.spend(account{subject, b}, use, now)
		if s != nil && (worst == nil || s.Until.After(worst.Until)) {
			worst = s
		}
	}
	return worst
}

func (l *Ledger) spend(a account, use Usage, now time.Time) *Suspension {
	w := l.accounts[a]
	if w == nil {
		if use == (Usage{}) {
			return nil
		}
		if len(l.accounts) >= l.limit {
			return &Suspension{Policy: a.budget.Policy, What: "subjects", Limit: int64(l.limit), Per: a.budget.Per, Until: now.Add(a.budget.Per)}
		}
		w = &window{}
		l.accounts[a] = w
	}
	if now.Before(w.suspended.Until) {
		s := w.suspended
		return &s
	}
	total := w.add(use, a.budget.Per, now)
	what, limit := exceeded(a.budget, total)
	if what == "" {
		return nil
	}
	// The window starts anew after the suspension, or what was tried during it
	// would suspend the subject for ever.
	w.used = [slots + 1]Usage{}
	w.suspended = Suspension{Policy: a.budget.Policy, What: what, Limit: limit, Per: a.budget.Per, Until: now.Add(a.budget.Per)}
	s := w.suspended
	return &s
}

// exceeded returns what of a budget is used up beyond its limit.
func exceeded(b Budget, total Usage) (string, int64) {
	switch {
	case b.Denials > 0 && total.Denials > b.Denials:
		return "denials", b.Denials
	case b.Statements > 0 && total.Statements > b.Statements:
		return "statements", b.Statements
	case b.Rows > 0 && total.Rows > b.Rows:
		return "rows", b.Rows
	}
	return "", 0
}

// add counts a use and returns the sum of the window.
func (w *window) add(use Usage, per time.Duration, now time.Time) Usage {
	part := now.UnixNano() / max(int64(per)/slots, 1)
	if step := part - w.newest; step > 0 {
		if step > slots {
			w.used = [slots + 1]Usage{}
		} else {
			copy(w.used[:], w.used[step:])
			clear(w.used[slots+1-step:])
		}
		w.newest = part
	}
	last := &w.used[slots]
	last.Statements += use.Statements
	last.Rows += use.Rows
	last.Denials += use.Denials
	var total Usage
	for _, u := range w.used {
		total.Statements += u.Statements
		total.Rows += u.Rows
		total.Denials += u.Denials
	}
	return total
}

// Resume ends all suspensions of a subject and forgets what it spent.
func (l *Ledger) Resume(subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a := range l.accounts {
		if a.subject == subject {
			delete(l.accounts, a)
		}
	}
}

// sweep forgets, once a minute, accounts whose window has passed.
func (l *Ledger) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for a, w := range l.accounts {
		part := max(int64(a.budget.Per)/slots, 1)
		if now.UnixNano()/part-w.newest > slots && !now.Before(w.suspended.Until) {
			delete(l.accounts, a)
		}
	}
}
