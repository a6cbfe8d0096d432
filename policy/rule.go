package policy

import (
	"time"

	"sluicegate.io/sluice/protocol"
)

// Policy says what its subjects may do in its databases.
type Policy struct {
	Name      string
	Pos       Position
	Subjects  []Selector // any of
	Databases []string   // names, or "*"
	Rules     []Rule
	Functions []Pattern // may be called, beyond the safe built-ins
	Reveal    []string  // tags that the subjects see in clear
	// Credential is the name of what each of Databases is logged in to with, "" for
	// the Database's own.
	Credential string
	Limits     Limits // of every statement
	Budgets    []Budget
	Tests      []Test
	Enforce    Enforcement
	// The rest is of a Grant, which is a Policy with an end.
	Grant     bool
	NotBefore time.Time
	Expires   time.Time
	Approver  string
	Reason    string

	places map[string]Position // of the references, by their text
}

// Selector picks subjects. What is set must all be true of a subject, and each
// of it must be proven: an empty fact of a subject matches nothing.
type Selector struct {
	Any            bool
	ServiceAccount string // namespace/name, or namespace/*
	Namespace      string
	Workload       string // name of a kind Workload
	Labels         map[string]string
	OIDC           *OIDCSelector
	Process        *ProcessSelector
	Pos            Position
}

// OIDCSelector picks by a verified token.
type OIDCSelector struct {
	Issuer   string
	Subject  string
	Audience string
	Groups   []string // any of
	Claims   map[string]string
}

// ProcessSelector picks by what the kernel says of the process.
type ProcessSelector struct {
	Exe  string
	User string
	UID  *uint32
}

// Rule is one line of a Policy.
type Rule struct {
	Name      string // "#3" for the third if it has none
	Pos       Position
	Effect    protocol.Verdict
	Actions   []protocol.Action // groups are spread out
	AnyAction bool              // "any" was written, which includes what is not known
	On        []Pattern         // empty: everything (deny only)
	Except    []Pattern
	Columns   []string // empty: all
	Mask      Mask     // of effect mask
	Match     Match
	Limits    Limits
	Approvers Approvers
	GrantFor  time.Duration
	Reason    string
}

// Match narrows a rule to statements of a kind.
type Match struct {
	Filtered *bool
	Affected *Affected
	Time     []Window // any of
	Scope    *Scope
}

// Affected bounds the number of rows that a statement changes. With Over the
// rule is about statements that change more than N rows, else about those that
// change at most N.
type Affected struct {
	Over bool
	N    int64
}

// Window is a span of each of some days, in the fixed Zone.
type Window struct {
	Days     [7]bool       // by time.Weekday
	From, To time.Duration // since midnight; To before From goes past midnight
	Zone     *time.Location
}

// Approvers are who may say yes.
type Approvers struct {
	Groups   []string
	Subjects []string
	Count    int // different people, at least 1
}

// Limits bound one statement. Zero: no limit.
type Limits struct {
	Rows, Bytes, Affected int64
	Time                  time.Duration
}

// Budget bounds what one subject does in a window of time.
type Budget struct {
	Policy     string
	Per        time.Duration
	Rows       int64 // 0: not bounded
	Statements int64
	Denials    int64
	// What happens then is to suspend the subject until the window has passed.
}

// Test is a statement and what must become of it. Package policy/sql knows what
// it does, so that who runs tests is above both.
type Test struct {
	SQL      string
	Database string // default: each of the Policy's
	As       *Subject
	Expect   protocol.Verdict
	Pos      Position
}
