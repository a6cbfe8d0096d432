// Package protocol holds the words that all database protocols share: what a
// statement does, what was decided about it, and the [Gate] that a codec must
// pass for every statement and every result.
//
// It does no I/O and decides nothing. Bytes are for the packages below it
// (protocol/postgres), meaning for package policy/sql, decisions for package
// policy. Zero values deny throughout.
package protocol

// Verdict is the outcome of a decision. The zero value denies, and of several
// verdicts the smallest wins.
type Verdict uint8

const (
	Deny    Verdict = iota // refused
	Approve                // held until a human says yes
	Mask                   // runs, and some of what it reads is masked
	Allow                  // runs as it is
)

// String returns the word that policies, recordings and metrics use.
func (v Verdict) String() string {
	switch v {
	case Approve:
		return "approve"
	case Mask:
		return "mask"
	case Allow:
		return "allow"
	}
	return "deny"
}

// Action is one kind of effect on one object. The words are those of the policy
// language; see policy/README.md.
type Action uint8

const (
	ActionUnknown Action = iota // matches no rule
	Select
	Insert
	Update
	Delete
	Merge
	Truncate
	Create
	Alter
	Drop
	Grant // GRANT, REVOKE, and ownership
	Call  // CALL, DO and functions that are not known to be safe
	Set
	Lock
	Listen
	Maintenance // VACUUM, ANALYZE, REINDEX, CHECKPOINT, ...
)

var actionNames = [...]string{
	"unknown", "select", "insert", "update", "delete", "merge", "truncate",
	"create", "alter", "drop", "grant", "call", "set", "lock", "listen", "maintenance",
}

// String returns the policy word for a, "unknown" for one that there is none for.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown"
}

// Actions lists every known Action in order.
func Actions() []Action {
	all := make([]Action, 0, len(actionNames)-1)
	for a := Select; int(a) < len(actionNames); a++ {
		all = append(all, a)
	}
	return all
}

// Kind says what an Object is.
type Kind uint8

const (
	KindUnknown    Kind = iota
	Relation            // table, view, materialized view, partition, foreign table, sequence
	Function            // function, procedure, aggregate; Name is without arguments
	Setting             // configuration parameter; Schema is empty
	Channel             // LISTEN and NOTIFY; Schema is empty
	Schema              // a schema itself; Name is its name
	DatabaseItself      // what concerns no single schema: roles, extensions, the database
)

// Object names one thing in the database, by its resolved, unquoted name.
type Object struct {
	Kind   Kind
	Schema string
	Name   string
}

// String returns "schema.name", or "name" where there is no schema.
func (o Object) String() string {
	if o.Schema == "" {
		return o.Name
	}
	return o.Schema + "." + o.Name
}

// TagDatabase is the Tag of statements that concern another database as a whole,
// and that wait or fail while somebody is connected to it.
const TagDatabase = "DATABASE"

// Access is one action on one object, and the columns that it reads or writes.
type Access struct {
	Action  Action
	Object  Object
	Columns []string // sorted, unique; empty: no particular column, as in count(*) or DROP
	// Implied names what brought this access about when the text did not name the
	// object: a view, a foreign key, a trigger.
	Implied string
}

// Statement is what one statement does. The zero value is a statement that was
// not understood, and every decision about it is Deny.
type Statement struct {
	Understood bool
	Tag        string // as in CommandComplete: "SELECT", "CREATE TABLE"
	Accesses   []Access
	Filtered   bool // has a WHERE clause that can leave rows out; a lint, not a boundary
	Volatile   bool // calls something volatile
}

// Column is one column of a result, as the analysis expects it.
type Column struct {
	Name      string
	Sensitive bool   // derives from a column that is masked for this subject: its value is a mask
	Tag       string // of that column, for metrics
	// Origin, where the output is a plain column reference, else empty. A codec
	// compares it with what the server says of its result.
	Relation Object
	Column   string
	Scan     bool // content detectors look at its text values
}

// Limits bound one statement. Zero: no limit.
type Limits struct {
	Rows     int64
	Bytes    int64
	Affected int64
	Millis   int64
}

// Refusal is what a workload reads instead of a result. Its reader is as often
// a language model as a person: one plain sentence, the rule, the next step.
// None of the fields ever holds a value from the database or a credential.
type Refusal struct {
	Code     string // SQLSTATE, such as "42501"
	Message  string
	Detail   string // names the rule
	Hint     string // what would be allowed
	Position int    // in characters from 1 of the text, 0: none
	Rule     string // "policy/rule" for records and metrics, "" where no rule matched
	Fatal    bool   // the session ends with it
}

// Error makes a Refusal an error where one has to travel as such.
func (r *Refusal) Error() string { return r.Message + " (SQLSTATE " + r.Code + ")" }

// Notice is sent to the workload before the result, and changes nothing.
type Notice struct {
	Code, Message, Detail, Hint string
}

// EffectKind says what a statement changes in its session that a codec has to know.
type EffectKind uint8

const (
	NoEffect    EffectKind = iota
	Begin                  // a transaction block starts
	End                    // ... ends (COMMIT, ROLLBACK, PREPARE TRANSACTION)
	Savepoint              // SAVEPOINT, RELEASE, ROLLBACK TO
	ChangesPath            // may have changed how names resolve (search_path, role)
	Prepares               // PREPARE Name AS ...; Inner is the plan of its statement
	Executes               // EXECUTE Name
	Deallocates            // DEALLOCATE Name; "" is ALL
	Declares               // DECLARE Name CURSOR FOR ...; Inner is the plan of its query
	Fetches                // FETCH or MOVE from Name
	Closes                 // CLOSE Name; "" is ALL
	Discards               // DISCARD ALL and its kind
	CopiesIn               // COPY ... FROM STDIN: the workload sends data
	CopiesOut              // COPY ... TO STDOUT
	AnyEffect              // not known: the text was not read, and may be several statements
)

// Effect is what a statement changes in its session.
type Effect struct {
	Kind  EffectKind
	Name  string
	Inner *Plan
	// Text is the inner statement as the workload wrote it (Prepares, Declares),
	// judged again when names have come to resolve differently.
	Text string
	// Moves says that names may resolve differently once it has run, whatever its kind:
	// it runs set_config or a function that may.
	Moves bool
}

// MovesNames reports whether names may resolve differently behind the statement.
func (e *Effect) MovesNames() bool {
	return e.Moves || e.Kind == ChangesPath || e.Kind == Discards || e.Kind == AnyEffect
}

// Plan is what was decided about one statement, and what to expect of it.
type Plan struct {
	Statement Statement
	Verdict   Verdict
	Rule      string // "policy/rule" that decided
	Effect    Effect
	Columns   []Column // nil: returns no rows, or (Effect Executes, Fetches) those of Name
	Returns   bool     // returns rows
	Copy      *Copy    // of Effect CopiesOut: what the data looks like; nil: not known
	Limits    Limits
	Sensitive bool // touches a sensitive column: errors and notices pass redacted
	Observed  bool // would have been refused, but enforce is observe
	Resets    bool // what it leaves in its session is certain to be taken back by DISCARD ALL
	Free      bool // whatever the server makes of it passes: nothing is enforced, or nothing is to be protected
}

// Copy is how COPY ... TO STDOUT writes rows.
type Copy struct {
	Columns []Column
	Binary  bool
	CSV     bool // else the text format
	// Delimiter is between values; Quote and Escape are those of CSV.
	Delimiter, Quote, Escape byte
}

// Edit is one replacement that turned a workload's text into the text for the
// server, so that an error's position can be told in terms of the former.
// Offsets and lengths are bytes.
type Edit struct {
	At     int // offset in the workload's text
	Length int // bytes replaced there
	Added  int // bytes put in their place
}

// Judgement is what was decided about one text. It is immutable and shared by
// all sessions that ask the same question. The zero value refuses.
type Judgement struct {
	Refusal *Refusal // nil only if every statement may run
	Text    string   // what the server gets
	Edits   []Edit   // ascending
	Plans   []Plan   // one a statement, in order
	Notices []Notice
	// Named says that some name was resolved by search_path: the judgement then
	// holds for the path it was made under and no other. If that path was nil, the
	// codec asks the server for it and has the text judged again, whatever the
	// judgement says.
	Named bool
	// Hold is set if a statement waits for a human at Gate.Begin.
	Hold bool
}

// Query is a text to be judged.
type Query struct {
	Text       string
	Path       []string // effective search path, as current_schemas(true) tells it; nil: not known, see Judgement.Named
	User       string   // who logged in, whom "$user" stands for; "": who read the catalog
	Parse      bool     // one statement with parameters; else a simple query of any number
	ParamTypes []uint32 // type OIDs that the workload declared (Parse)
}

// ResultColumn is what the server says of one column of a result.
type ResultColumn struct {
	Name      string
	TableOID  uint32
	Attribute int16
	TypeOID   uint32
	Format    int16 // 0 text, 1 binary
}

// Run is one execution of a judged text. A codec owns it, fills it in, and hands
// it to the Gate until End; the Gate keeps what it needs in State.
type Run struct {
	Judgement *Judgement
	First     int      // index of the plan that Execute runs, 0 for simple queries
	Text      string   // as the workload sent it
	Params    [][]byte // values of Bind, nil elements are NULL; valid until Begin returns
	Formats   []int16  // of Params
	// Inner has, for each plan of the Judgement, the plan of what its Effect names
	// (Executes, Fetches), and nil for others. It is nil if there is none at all.
	Inner []*Plan
	// InnerText has, for each of Inner, its text as the workload sent it where the
	// run's own text does not hold it: a Parse message is recorded nowhere else.
	InnerText []string
	// Notify sends a notice to the workload at once. It may be called until Begin
	// returns, by which a held statement tells its request id.
	Notify func(Notice)
	State  any
}

// Outcome is how one statement of a Run ended. With neither Tag, Code, Suspended
// nor Refused it never ran: an earlier one of its text failed.
type Outcome struct {
	Tag         string // of CommandComplete, "" if it failed
	Code        string // SQLSTATE of the error, "" if it succeeded; 08006: the connection ended
	Suspended   bool   // the row limit of its Execute was reached, and the portal stays
	Rows, Bytes int64
	Refused     *Refusal // the gate's or the codec's own, after Begin
}
