package sql

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// judge is what all statements of one text share.
type judge struct {
	c    *Catalog
	v    *policy.View
	o    *Options
	text string
	user string   // for "$user", "" for that of c
	path []string // as the statement that is analysed will find it
	// lost says that the path cannot be told, as after a ROLLBACK of what may
	// have changed it before this text.
	lost   bool
	byPath bool // some name was resolved by the path
	tokens []token
	edits  []edit
	made   []madePiece
	known  *pieces // nil: nothing is remembered
	holes  []hole
	exact  bool // another constant may be judged otherwise
	masks  map[*Relation][]*masked
	budget *int
	block  block
	// shadows is the schema of the views of mode role, "" in mode inline.
	shadows string
}

// analysis is the state of analysing one statement.
type analysis struct {
	*judge
	depth int  // of views
	quiet bool // inside a view: nothing is refused for what its author wrote

	refs     map[*pg.RangeVar]*reference
	order    []*reference
	pins     map[*pg.RangeVar]*Relation
	accesses []protocol.Access
	stars    []star
	strips   map[*pg.ColumnRef]strip
	inlines  map[*pg.ColumnRef]string
	bounds   map[*reference]bool // of what is changed and has a scope: whether there is a WHERE clause
	params   []uint32            // types that the workload declared
	last     *column             // the latest that a reference was resolved to

	untested    int  // inside IS NULL or count: reading tells no value
	into        bool // the next query may be a SELECT INTO
	procedures  bool // inside CALL
	uncounted   bool // writes rows that the server's answer does not count
	volatile    bool
	filtered    bool
	sensitive   bool
	changesPath bool              // runs set_config of search_path
	calls       bool              // runs code that may do so
	leaves      bool              // runs code that may leave something in the session
	cascaded    []protocol.Access // writes of foreign keys, whose rows nobody counts
	tag         string
	refused     *protocol.Refusal // a use of a masked column, told after what rights say
	notices     []protocol.Notice
}

// refusal ends an analysis: it is panicked with and caught in judgeOne.
type refusal struct {
	*protocol.Refusal
	stale bool // the catalog may be old
}

func (a *analysis) refuse(r *protocol.Refusal) { panic(refusal{Refusal: r}) }

// fail refuses with a message of its own.
func (a *analysis) fail(code string, at int32, format string, args ...any) {
	a.refuse(&protocol.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Position: a.position(at)})
}

// missing refuses because a name is not in the catalog, which may be old.
func (a *analysis) missing(code string, at int32, format string, args ...any) {
	panic(refusal{stale: true, Refusal: &protocol.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Position: a.position(at)}})
}

// unknown refuses a node that the analysis has no rule for.
func (a *analysis) unknown(n *pg.Node) {
	a.fail("0A000", -1, "%s is not supported here", nodeName(n))
}

// nodeName names a node of the parse tree for people.
func nodeName(n *pg.Node) string {
	if n == nil || n.Node == nil {
		return "an empty clause"
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", n.Node), "*pg_query.Node_")
}

// position turns a byte offset into a character position from 1.
func (a *analysis) position(at int32) int {
	if at < 0 || int(at) > len(a.text) || a.quiet {
		return 0
	}
	return utf8.RuneCountInString(a.text[:at]) + 1
}

// step bounds the work of one text.
func (a *analysis) step() {
	*a.budget--
	if *a.budget < 0 {
		a.fail("54001", -1, "the statement is too complex")
	}
}

// maxColumns is how many columns the server takes in one list; a row has no more.
const maxColumns = 1664

// columnWork is what one column costs of the budget that a node costs one of: a
// text of a few hundred bytes can make any number of columns out of stars.
const columnWork = 8

// wide bounds the columns that are made out of other columns.
func (a *analysis) wide(n int) {
	*a.budget -= n * columnWork
	if *a.budget < 0 {
		a.fail("54001", -1, "the statement is too complex")
	}
}

// condition notes that which rows come, or in what order, depends on v.
func (a *analysis) condition(v value, where string) {
	if v.mask == nil || a.quiet {
		return
	}
	if v.raw {
		a.rawUse(v)
		return
	}
	name := v.mask.column + " of " + v.mask.object.String()
	if a.v.Conditions() == policy.ConditionsDeny {
		if a.refused == nil {
			a.refused = &protocol.Refusal{Code: "42501",
				Message: name + " is masked for you and cannot be used in " + where,
				Detail:  "A condition would see the mask (tag " + v.mask.rule.Tag + "), not the value, and its result would be wrong.",
				Hint:    "Filter, join, group and sort by other columns. The column itself can be selected, tested with IS NULL, and counted."}
		}
		return
	}
	msg := name + " is masked for you; " + where + " sees the mask"
	for i := range a.notices {
		if a.notices[i].Message == msg {
			return
		}
	}
	a.notices = append(a.notices, protocol.Notice{Code: "01000", Message: msg})
}

// rawUse notes that a statement would compute with a true value.
func (a *analysis) rawUse(v value) {
	if a.refused == nil && !a.quiet {
		a.refused = &protocol.Refusal{Code: "42501",
			Message: v.mask.column + " of " + v.mask.object.String() + " is masked for you and cannot be read by a statement that writes",
			Detail:  "The column has the tag " + v.mask.rule.Tag + ".",
			Hint:    "Name rows by other columns, and set the column to constants or parameters. RETURNING gives its mask."}
	}
}

// copied refuses to write what derives from a masked column.
func (a *analysis) copied(v value, where string) {
	if v.mask == nil || a.quiet {
		return
	}
	if a.refused == nil {
		a.refused = &protocol.Refusal{Code: "42501",
			Message: v.mask.column + " of " + v.mask.object.String() + " is masked for you and cannot be written to " + where,
			Detail:  "What would be written is the mask (tag " + v.mask.rule.Tag + "), not the value.",
			Hint:    "Leave the column out."}
	}
}

// access adds an access, merging it with an equal one.
func (a *analysis) access(x protocol.Access) {
	for i := range a.accesses {
		y := &a.accesses[i]
		if y.Action == x.Action && y.Object == x.Object && y.Implied == x.Implied {
			y.Columns = union(y.Columns, x.Columns)
			return
		}
	}
	x.Columns = union(nil, x.Columns)
	a.accesses = append(a.accesses, x)
}

func (a *analysis) lock(r *Relation) {
	a.access(protocol.Access{Action: protocol.Lock, Object: r.object()})
}

// union returns the sorted, unique elements of both.
func union(x, y []string) []string {
	out := x
	for _, s := range y {
		i := 0
		for i < len(out) && out[i] < s {
			i++
		}
		if i < len(out) && out[i] == s {
			continue
		}
		out = append(out, "")
		copy(out[i+1:], out[i:])
		out[i] = s
	}
	return out
}

// relation resolves the name of a relation, and pins it to its schema in the
// text, so that it is this one that the server will find.
func (a *analysis) relation(rv *pg.RangeVar) *Relation { return a.relationFor(rv, protocol.Select) }

func (a *analysis) relationFor(rv *pg.RangeVar, action protocol.Action) *Relation {
	if rv == nil {
		a.fail("0A000", -1, "a relation is missing")
	}
	if rv.Catalogname != "" && rv.Catalogname != a.c.Database {
		a.fail("0A000", rv.Location, "references to other databases are not supported")
	}
	if rv.Schemaname != "" {
		if r := a.c.Relation(rv.Schemaname, rv.Relname); r != nil {
			return a.ownShadow(r, rv.Location)
		}
		a.noRelation(rv.Schemaname, rv.Relname, rv.Location, action)
	}
	a.byPath = true
	a.needPath(rv.Location)
	r := a.c.ResolveRelation(a.path, rv.Relname)
	if r == nil {
		schema := "public"
		for _, s := range a.path {
			if s != "pg_catalog" && !IsTemp(s) {
				schema = s
				break
			}
		}
		a.noRelation(schema, rv.Relname, rv.Location, action)
	}
	if _, open := a.v.Open(); open && !a.c.sole(r.Name) {
		a.leaves = true // nobody asks for the path there, so it may be another one
	}
	if a.pins == nil {
		a.pins = make(map[*pg.RangeVar]*Relation)
	}
	a.pins[rv] = r
	return a.ownShadow(r, rv.Location)
}

func (a *analysis) needPath(at int32) {
	if a.lost {
		a.fail("0A000", at, "the search path is not known here: qualify the name with its schema")
	}
}

// noRelation answers as if the relation were there, where it may not be touched
// in any case.
func (a *analysis) noRelation(schema, name string, at int32, action protocol.Action) {
	o := protocol.Object{Kind: protocol.Relation, Schema: schema, Name: name}
	st := protocol.Statement{Understood: true, Tag: a.tag, Accesses: append(a.finalAccesses(), protocol.Access{Action: action, Object: o})}
	if d := a.v.Decide(&st); d.Verdict == protocol.Deny {
		panic(refusal{Refusal: a.denial(d), stale: true})
	}
	a.missing("42P01", at, "relation %q does not exist", o.String())
}

// denial words a decision that says no, for who may be a person or a model.
func (a *analysis) denial(d policy.Decision) *protocol.Refusal {
	r := &protocol.Refusal{Code: "42501", Rule: d.Rule}
	switch {
	case d.Object == (protocol.Object{}):
		r.Message = "the statement is not allowed"
	case d.Object.Kind == protocol.DatabaseItself:
		r.Message = fmt.Sprintf("%s in the database is not allowed", d.Action)
	case d.Column != "":
		r.Message = fmt.Sprintf("%s of column %s on %s is not allowed, or it is not there", d.Action, d.Column, d.Object)
	default:
		r.Message = fmt.Sprintf("%s on %s is not allowed, or it is not there", d.Action, d.Object)
	}
	if d.Implied != "" {
		r.Message += " (because of " + d.Implied + ")"
	}
	switch {
	case d.Rule == "" && d.Object != (protocol.Object{}):
		r.Detail = "No rule of the policy allows it."
	case d.Rule == "" || strings.HasPrefix(d.Rule, "database:"):
		r.Detail = sentence(d.Reason)
	case d.Because != "":
		r.Detail = sentence("rule " + d.Rule + " denies it: " + d.Because)
	default:
		r.Detail = "Rule " + d.Rule + " denies it."
	}
	r.Hint = allowedHere(d.Allowed)
	if d.Action == protocol.Create && d.Object.Schema == "pg_temp" {
		r.Hint = tempHint
	}
	return r
}

// allowedHere is the hint of a denial.
func allowedHere(what string) string {
	switch {
	case what == "":
		return ""
	case strings.HasPrefix(what, "nothing"):
		return "Nothing is allowed here."
	}
	return "Allowed here: " + what + "."
}

// sentence makes words one.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(r)) + s[n:]
	if strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// finalAccesses are those noted, and those of the relations that are read.
func (a *analysis) finalAccesses() []protocol.Access {
	for _, r := range a.order {
		a.touched(r.rel)
		cols := r.columns()
		if r.target && len(cols) == 0 {
			continue
		}
		if a.closedRelation(r.rel) {
			a.closedColumns(r)
			continue
		}
		a.access(protocol.Access{Action: protocol.Select, Object: r.rel.object(), Columns: cols})
	}
	for _, x := range a.accesses[:len(a.accesses):len(a.accesses)] {
		a.along(x)
	}
	return a.accesses
}
