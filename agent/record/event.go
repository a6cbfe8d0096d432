package record

import (
	"time"

	"sluicegate.io/sluice/protocol"
)

// Kind says what an Event tells. The numbers are part of the file format.
type Kind uint8

const (
	KindNone      Kind = iota
	KindStart          // a session began
	KindStatement      // a run was let through, or is held
	KindNotice         // something was said or decided meanwhile: a hold, an approval, a warning
	KindRefusal        // a statement, or the session itself, was refused
	KindColumns        // the columns of a result
	KindRows           // masked rows of a result
	KindOutcome        // a statement ended
	KindEnd            // the session ended

	// What follows belongs to the store itself and to no session.
	kindOpen   // a writer opened the lane
	kindSeal   // the last event of a segment
	kindRetire // old segments were removed
)

var kindNames = [...]string{"none", "start", "statement", "notice", "refusal", "columns",
	"rows", "outcome", "end", "open", "seal", "retire"}

// String returns the word that exports use.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// An Event is one entry of a session's log. Exactly one of the pointers is set.
// Session, Seq, Time and Kind are filled in by the log, and by readers; a writer
// leaves them zero. An Event and what it points to are not kept by the log: a
// caller may reuse them, and nothing of them escapes to the heap.
type Event struct {
	Session ID        `json:"session"`
	Seq     uint32    `json:"seq"` // from 1 in each session
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"-"`

	Start     *Start     `json:"start,omitempty"`
	Statement *Statement `json:"statement,omitempty"`
	Notice    *Notice    `json:"notice,omitempty"`
	Refusal   *Refusal   `json:"refusal,omitempty"`
	Columns   *Columns   `json:"columns,omitempty"`
	Rows      *Rows      `json:"rows,omitempty"`
	Outcome   *Outcome   `json:"outcome,omitempty"`
	End       *End       `json:"end,omitempty"`
}

// Start is who connected, from where, to what.
type Start struct {
	Subject  string            `json:"subject"`           // policy.Subject.String
	Identity map[string]string `json:"identity"`          // pid, uid, user, exe, cgroup, namespace, pod, issuer, groups, ...
	Client   string            `json:"client,omitempty"`  // address of the workload's socket
	Origin   string            `json:"origin"`            // address that the workload asked for
	Protocol string            `json:"protocol"`          // "postgres"
	Database string            `json:"database"`          // name of the Database resource
	Params   map[string]string `json:"params,omitempty"`  // startup parameters; no credentials
	View     string            `json:"view,omitempty"`    // policies that speak for the subject
	Observe  bool              `json:"observe,omitempty"` // enforce: observe
}

// A Decision is what was decided about one statement of a text.
type Decision struct {
	Verdict protocol.Verdict `json:"verdict"`
	Rule    string           `json:"rule,omitempty"`   // "policy/rule"
	Tag     string           `json:"tag,omitempty"`    // "SELECT"
	Object  string           `json:"object,omitempty"` // what was decisive
	Reason  string           `json:"reason,omitempty"`
	// Observed says that it would have been refused, but enforce is observe.
	Observed bool `json:"observed,omitempty"`
}

// Statement is one run of a text, written before anything of it is forwarded.
// Number is the caller's, and is what Columns, Rows, Outcome, Notice and Refusal
// refer to.
type Statement struct {
	Number    uint64     `json:"number"`
	Text      string     `json:"text"`             // as the workload sent it
	Length    int        `json:"length,omitempty"` // of the whole text in bytes, if Text was cut
	SHA256    []byte     `json:"sha256,omitempty"` // of the whole text, if Text was cut
	Decisions []Decision `json:"decisions"`        // one a statement; may be shared between sessions
	Rewritten bool       `json:"rewritten,omitempty"`
	Held      bool       `json:"held,omitempty"` // waits for approval
	// Params are the values bound; nil elements are NULL. They are stored only as
	// far as Options.ParamBytes goes, their number always.
	Params  [][]byte `json:"params,omitempty"`
	Formats []int16  `json:"formats,omitempty"`
	Bound   int      `json:"bound,omitempty"` // number of parameters
}

// Notice is what happened around a statement: Type is "hold", "approval",
// "foreign-credential", "mask", or another word that the session documents.
type Notice struct {
	Number uint64            `json:"number,omitempty"` // statement, 0: the session
	Type   string            `json:"type"`
	Text   string            `json:"text,omitempty"`
	Facts  map[string]string `json:"facts,omitempty"`
}

// Refusal is what the workload got instead of a result.
type Refusal struct {
	Number  uint64 `json:"number,omitempty"` // statement, 0: it had none
	Index   int    `json:"index,omitempty"`  // which statement of the text
	Text    string `json:"text,omitempty"`   // as the workload sent it, if Number is 0
	Length  int    `json:"length,omitempty"` // of the whole text in bytes, if Text was cut
	Code    string `json:"code"`             // SQLSTATE
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Fatal   bool   `json:"fatal,omitempty"`
}

// Column is one column of a result.
type Column struct {
	Name   string `json:"name"`
	Type   uint32 `json:"type"`             // type OID
	Format int16  `json:"format,omitempty"` // 0 text, 1 binary
	Tag    string `json:"tag,omitempty"`    // sensitive: its values are masks
}

// Columns are the columns of a result.
type Columns struct {
	Number  uint64   `json:"number"`
	Index   int      `json:"index,omitempty"`
	Columns []Column `json:"columns"`
}

// Rows are rows as the workload saw them: whole backend messages.
type Rows struct {
	Number   uint64 `json:"number"`
	Index    int    `json:"index,omitempty"`
	Count    int    `json:"count"`
	Cut      bool   `json:"cut,omitempty"` // there were more, which are not recorded
	Messages []byte `json:"-"`             // decode with Values
}

// Outcome is how a statement ended.
type Outcome struct {
	Number       uint64 `json:"number"`
	Index        int    `json:"index,omitempty"`
	Tag          string `json:"tag,omitempty"`
	Code         string `json:"code,omitempty"` // SQLSTATE
	Rows         int64  `json:"rows"`
	Bytes        int64  `json:"bytes"`
	MaskedValues int64  `json:"maskedValues,omitempty"`
	Micros       int64  `json:"micros"`
}

// End is how a session ended: Reason is "terminate", "client gone", "server
// gone", "refused", "shutdown", ...
type End struct {
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}
