package policy

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"

	"sluicegate.io/sluice/protocol"
)

// Decision is the outcome of judging one statement. The zero value denies.
type Decision struct {
	Verdict protocol.Verdict
	Rule    string // "policy/rule" that decided, "" where none matched
	Reason  string // one plain sentence
	Because string // of the rule that decided: what its author gave as the reason
	// Object, Action and Column were decisive; empty if the statement as a whole was.
	Object  protocol.Object
	Action  protocol.Action
	Column  string
	Implied string // what brought that access about, if the text did not name the object
	Allowed string // of a denial: what would be allowed, in plain words; bounded
	Limits  protocol.Limits
	// Bounds say what becomes of a statement that changes too many rows, the
	// smallest first, which is Limits.Affected. The tables that they come from are
	// shared: do not change them.
	Bounds []Bound
	// Approvers and GrantFor are those of the approve rule that decided.
	Approvers Approvers
	GrantFor  time.Duration
	// Observed is set where a policy in enforce: observe would have been stricter;
	// it names that rule, or is "-" where none matched.
	Observed string
}

// A Bound is a number of changed rows beyond which another verdict holds.
type Bound struct {
	Affected int64            // the most that passes
	Verdict  protocol.Verdict // of more: Deny or Approve
	Rule     string
}

// A question is what an answer is remembered by.
type question struct {
	object   protocol.Object
	action   protocol.Action
	filtered bool
	columns  uint64 // hash; the answer holds them
}

// An answer is what the rules say of one access.
type answer struct {
	columns []string
	verdict protocol.Verdict
	rule    *rule // nil: none
	column  string
	why     cause
	limits  Limits
	bounds  []Bound
}

// A cause is why an answer is as it is, where that is not the rule alone.
type cause uint8

const (
	byRule cause = iota
	byNothing
	byLabel      // a column that no line names, under unlabelled: deny
	bySensitive  // reads a sensitive column
	byGrantedAsk // an approve rule that a grant satisfies
)

var seed = maphash.MakeSeed()

// Decide judges what a statement does: each of its accesses, and the worst wins.
func (v *View) Decide(st *protocol.Statement) Decision {
	d := v.decide(st)
	if v.shadow != nil {
		if would := v.shadow.decide(st); would.Verdict < d.Verdict {
			d.Observed = cmp.Or(would.Rule, "-")
		}
	}
	return d
}

func (v *View) decide(st *protocol.Statement) Decision {
	switch {
	case v.db == nil:
		return Decision{Reason: "nothing is known about this database", Allowed: "nothing"}
	case v.index == nil:
		return Decision{Reason: "no policy names this subject in database " + v.db.Name, Allowed: "nothing"}
	case !st.Understood:
		return Decision{Reason: "the statement was not understood", Allowed: v.allowed}
	}
	d := Decision{Verdict: protocol.Allow, Rule: "built-in:no-object", Reason: "touches nothing that needs a right"}
	limits, bounds := v.limits, []Bound(nil)
	if v.limits.Affected > 0 {
		bounds = append(bounds, Bound{v.limits.Affected, protocol.Deny, v.limitOf})
	}
	worst, at := answer{}, -1
	for i := range st.Accesses {
		a := v.judge(&st.Accesses[i], st.Filtered)
		if a.verdict == protocol.Deny && a.why == byNothing && goesAlong(&st.Accesses[i]) {
			continue
		}
		limits = limits.strictest(a.limits)
		bounds = append(bounds, a.bounds...)
		if at < 0 || a.verdict < worst.verdict {
			worst, at = a, i
		}
	}
	if at >= 0 {
		v.explain(&d, &worst, &st.Accesses[at])
	}
	d.Limits = protocol.Limits{Rows: limits.Rows, Bytes: limits.Bytes, Millis: limits.Time.Milliseconds()}
	if len(bounds) > 0 {
		slices.SortStableFunc(bounds, func(a, b Bound) int {
			return cmp.Or(cmp.Compare(a.Affected, b.Affected), cmp.Compare(a.Verdict, b.Verdict))
		})
		d.Bounds = slices.Compact(bounds)
		d.Limits.Affected = bounds[0].Affected
	}
	return d
}

// goesAlong reports whether an access is part of what brings it about, unless a rule
// names it: the owner of a table has put the trigger there.
func goesAlong(a *protocol.Access) bool {
	return a.Implied != "" && a.Action == protocol.Call && a.Object.Kind == protocol.Function
}

// Limits returns the limits of a statement: the strictest of all that apply.
func (v *View) Limits(st *protocol.Statement) protocol.Limits { return v.Decide(st).Limits }

// judge answers for one access, from memory if it can.
func (v *View) judge(a *protocol.Access, filtered bool) answer {
	q := question{object: a.Object, action: a.Action, filtered: filtered}
	var h maphash.Hash
	h.SetSeed(seed)
	for _, c := range a.Columns {
		h.WriteString(c)
		h.WriteByte(0)
	}
	q.columns = h.Sum64()
	v.mu.RLock()
	known, ok := v.results[q]
	v.mu.RUnlock()
	if ok && slices.Equal(known.columns, a.Columns) {
		return known
	}
	fresh := v.answer(a, filtered)
	fresh.columns = slices.Clone(a.Columns)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.results) >= maxResults {
		clear(v.results)
	}
	v.results[q] = fresh
	return fresh
}

// answer judges every column of an access. The strictest wins, and what applies
// to any of them limits all.
func (v *View) answer(a *protocol.Access, filtered bool) answer {
	rules := v.about(a.Object).by[a.Action]
	columns := a.Columns
	if len(columns) == 0 {
		columns = []string{""}
	}
	var out answer
	counted := map[*rule]bool{}
	for i, c := range columns {
		one := v.columnAnswer(rules, a, c, filtered)
		for _, r := range rules {
			if !counted[r.rule] && r.applies(a.Action, c, filtered) {
				counted[r.rule] = true
				r.bound(&out, a.Action)
			}
		}
		if i == 0 || one.verdict < out.verdict {
			one.limits, one.bounds = out.limits, out.bounds
			out = one
		}
	}
	return out
}

// columnAnswer judges one column of an access, or with "" the object alone.
func (v *View) columnAnswer(rules []applied, a *protocol.Access, column string, filtered bool) answer {
	out := answer{column: column, why: byNothing}
	if len(rules) == 0 {
		// Of what may not be touched at all, no column is told: nobody learns whether
		// it is there.
		return answer{why: byNothing}
	}
	var ask *rule
	for i := range rules { // deny first, allow last
		r := &rules[i]
		if !r.applies(a.Action, column, filtered) || r.overlay(a.Action) {
			continue
		}
		switch {
		case r.Effect == protocol.Deny:
			if r.columns.whole() {
				column = ""
			}
			return answer{verdict: protocol.Deny, rule: r.rule, column: column}
		case r.Effect == protocol.Approve:
			if ask == nil {
				ask = r.rule
			}
			continue
		case ask != nil && !r.grant:
			continue // only a grant stands for the approval
		}
		out.verdict, out.rule, out.why = r.Effect, r.rule, byRule
		if ask != nil {
			out.why = byGrantedAsk
		}
		break
	}
	if out.rule == nil && ask != nil {
		out.verdict, out.rule, out.why = protocol.Approve, ask, byRule
	}
	if out.verdict == protocol.Deny || column == "" || a.Object.Kind != protocol.Relation {
		return out
	}
	if _, known := v.db.label(a.Object.Schema, a.Object.Name, column, nil); !known &&
		v.db.Unlabelled == UnlabelledDeny && v.hidden(a.Object.Schema, column) {
		return answer{column: column, why: byLabel}
	}
	if a.Action == protocol.Select && out.verdict > protocol.Mask &&
		v.column(a.Object.Schema, a.Object.Name, column).Sensitive {
		out.verdict, out.why = protocol.Mask, bySensitive
	}
	return out
}

// applies reports whether the rule is about an access to a column, or with "" to
// the object alone.
func (r *applied) applies(action protocol.Action, column string, filtered bool) bool {
	if f := r.Match.Filtered; f != nil && *f != filtered {
		return false
	}
	if r.Match.Affected != nil {
		switch changes(action) {
		case never:
			if !r.gives() {
				return false // it changes nothing, so it does not change too much
			}
		case unknown:
			if r.gives() {
				return false // nobody could tell whether it stayed below
			}
		}
	}
	switch {
	case column != "":
		return r.columns.has(column)
	case r.columns.only == nil && len(r.columns.except) == 0:
		return true
	case hasColumns(action):
		// count(*), INSERT ... DEFAULT VALUES: no column, so that a right to any of
		// them is enough, and one that takes away a column takes nothing.
		return r.gives() || r.columns.only == nil
	}
	// DELETE, TRUNCATE, DROP concern every column there is.
	return !r.gives()
}

// overlay reports whether the rule comes into force only when the rows are counted.
func (r *applied) overlay(action protocol.Action) bool {
	a := r.Match.Affected
	return a != nil && a.Over && a.N > 0 && changes(action) == counted
}

// bound adds the rule's limits to an answer.
func (r *applied) bound(out *answer, action protocol.Action) {
	if r.Effect == protocol.Deny && !r.overlay(action) {
		return
	}
	out.limits = out.limits.strictest(r.Limits)
	if n := r.Limits.Affected; n > 0 {
		out.bounds = append(out.bounds, Bound{n, protocol.Deny, r.id})
	}
	if a := r.Match.Affected; a != nil && a.N > 0 && changes(action) == counted {
		verdict := protocol.Deny
		if a.Over {
			verdict = r.Effect
		}
		out.bounds = append(out.bounds, Bound{a.N, verdict, r.id})
	}
}

// effectOn says whether the server counts the rows that an action changes.
type effectOn uint8

const (
	never effectOn = iota
	counted
	unknown
)

func changes(a protocol.Action) effectOn {
	switch a {
	case protocol.Select, protocol.Set, protocol.Lock, protocol.Listen:
		return never
	case protocol.Insert, protocol.Update, protocol.Delete, protocol.Merge:
		return counted
	}
	return unknown
}
