package policy

import "sluicegate.io/sluice/protocol"

// View is what one kind of subject may do in one database. It is safe for
// concurrent use, and the zero value denies everything.
type View struct{}

// Decision is the outcome of judging one statement. The zero value denies.
type Decision struct {
	Verdict protocol.Verdict
	Rule    string // "policy/rule" that decided, "" where none matched
	Reason  string // one plain sentence
	// Object, Action and Column were decisive; empty if the statement as a whole was.
	Object  protocol.Object
	Action  protocol.Action
	Column  string
	Implied string // what brought that access about, if the text did not name the object
	Allowed string // of a denial: what would be allowed, in plain words; bounded
	Limits  protocol.Limits
	// Over is what becomes of a statement that changes more than Limits.Affected
	// rows (Deny or Approve), and OverRule the rule that says so.
	Over     protocol.Verdict
	OverRule string
	// Approvers and GrantFor are those of the approve rule that decided.
	Approvers Approvers
	// Observed is set where a policy in enforce: observe would have refused what
	// passed; it names the rule, or "-" where none matched.
	Observed string
}

// Decide judges what a statement does: each of its accesses, and the worst wins.
func (v *View) Decide(st *protocol.Statement) Decision { return Decision{} }

// ColumnRule is what a column is to a View.
type ColumnRule struct {
	Sensitive bool // reads as a mask
	Tag       string
	Mask      Mask
	Scan      bool // content detectors look at its text values
}

// Column says what a column is for this View: what may be revealed is not sensitive.
func (v *View) Column(schema, table, column string) ColumnRule { return ColumnRule{Sensitive: true} }

// Function reports whether a function that is not a safe built-in may be called.
func (v *View) Function(schema, name string) bool { return false }

// Limits returns the limits of a statement: the strictest of all that apply.
func (v *View) Limits(st *protocol.Statement) protocol.Limits { return v.Decide(st).Limits }

// Conditions says what becomes of conditions on masked columns.
func (v *View) Conditions() ConditionMode { return ConditionsDeny }

// Observe reports whether decisions are recorded only.
func (v *View) Observe() bool { return false }

// Budgets returns what is spent by this subject's statements.
func (v *View) Budgets() []Budget { return nil }

// Detect returns the content detectors that look at values for this View.
func (v *View) Detect() []string { return nil }

// Policies returns the names of the policies that make it up, sorted.
func (v *View) Policies() []string { return nil }

// ID names the View in records: stable for equal rights of one Set.
func (v *View) ID() string { return "" }
