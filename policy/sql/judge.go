package sql

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
	"google.golang.org/protobuf/proto"
)

// Options tune how texts are judged. The zero value is production.
type Options struct {
	MaxLength int // bytes of a text; default: 1 MiB
	MaxDepth  int // nesting of a text; default: 1000
	// Key gives the key of the hash mask of a tag. Without it a hash mask reads as NULL.
	Key func(tag string) mask.Key
	// Called is told of each function that was allowed because the policy lists it.
	Called func(f *Function)
}

// budget bounds the work on one text, in nodes looked at.
const workBudget = 4 << 20

// Judge decides about every statement of a text: what it does, whether v allows
// that, and what the server gets instead of the text. It never returns nil, and
// one refused statement refuses the whole text. It does no I/O, and the result
// is the same for the same text, path, v and c.
//
// stale says that the text names something that c does not know: a caller whose
// catalog may be old loads it again and asks once more.
func Judge(c *Catalog, v *policy.View, q *protocol.Query, o Options) (j *protocol.Judgement, stale bool) {
	return judgeHoles(c, v, q, o, nil)
}

// maxLength is the most bytes of a text.
func (o *Options) maxLength() int {
	if o.MaxLength <= 0 {
		return 1 << 20
	}
	return o.MaxLength
}

// judgeHoles is Judge that also tells which constants of the text don't matter.
func judgeHoles(c *Catalog, v *policy.View, q *protocol.Query, o Options, holes *[]hole) (j *protocol.Judgement, stale bool) {
	o.MaxLength = o.maxLength()
	if o.MaxDepth <= 0 {
		o.MaxDepth = 1000
	}
	if v == nil || c == nil {
		return &protocol.Judgement{Refusal: &protocol.Refusal{Code: "XX000", Message: "statements cannot be judged now"}}, false
	}
	_, open := v.Open()
	lenient := open || v.Observe()
	tree, raw, refused := parse(q.Text, &o)
	if refused != nil {
		if lenient {
			return Unread(v, q.Text), false
		}
		return &protocol.Judgement{Refusal: refused}, false
	}
	budget := workBudget
	path := q.Path
	if len(path) == 0 {
		path = defaultPath(c, q.User)
	}
	t := &judge{c: c, v: v, o: &o, text: q.Text, path: path, user: q.User, masks: make(map[*Relation][]*masked), budget: &budget, shadows: confined(v), known: c.pieces.of(v)}
	j = &protocol.Judgement{Text: q.Text, Plans: make([]protocol.Plan, 0, len(tree.Stmts))}
	if q.Parse && len(tree.Stmts) > 1 {
		return &protocol.Judgement{Refusal: &protocol.Refusal{Code: "42601", Message: "cannot insert multiple commands into a prepared statement"}}, false
	}
	for _, stmt := range tree.Stmts {
		a := &analysis{judge: t, params: q.ParamTypes}
		p, err := a.judgeOne(stmt)
		if lenient {
			if err != nil {
				a.loosely(&p, stmt)
			}
			pass(v, &p)
		} else if err != nil {
			if err.Message == "" {
				err.Message = "the statement is not allowed"
			}
			return &protocol.Judgement{Refusal: err.Refusal, Named: t.byPath}, err.stale
		}
		j.Plans = append(j.Plans, p)
		if p.Verdict == protocol.Approve {
			j.Hold = true
		}
		for _, n := range a.notices {
			if !slices.Contains(j.Notices, n) {
				j.Notices = append(j.Notices, n)
			}
		}
	}
	j.Named = t.byPath
	if lenient {
		// Where everything is allowed, it does not matter how names resolve.
		j.Hold, j.Notices, j.Named = false, nil, t.byPath && !open
		return j, false
	}
	text, edits, ok := t.apply()
	if !ok || !t.checked(raw, len(tree.Stmts), text, edits) {
		return &protocol.Judgement{Refusal: &protocol.Refusal{Code: "0A000", Message: "the statement cannot be rewritten"}}, false
	}
	j.Text, j.Edits = text, edits
	if holes != nil && !t.exact {
		*holes = t.holes
	}
	return j, false
}

// defaultPath is what a session finds that has set nothing.
func defaultPath(c *Catalog, user string) []string {
	path := []string{"pg_catalog"}
	for _, s := range []string{cmp.Or(user, c.User), "public"} {
		if c.Schema(s) != nil {
			path = append(path, s)
		}
	}
	return path
}

// parse reads a text within limits, into a tree and the parser's own form of it. Nothing reaches the parser, which is C and
// recurses, that is longer or nested deeper than they say.
func parse(text string, o *Options) (tree *pg.ParseResult, raw []byte, refused *protocol.Refusal) {
	switch {
	case len(text) > o.MaxLength:
		return nil, nil, &protocol.Refusal{Code: "54000", Message: fmt.Sprintf("the text is longer than %d bytes", o.MaxLength),
			Hint: "Send fewer statements at once, or use COPY or parameters for values."}
	case strings.IndexByte(text, 0) >= 0:
		return nil, nil, &protocol.Refusal{Code: "22021", Message: "the text holds a NUL byte"}
	case !utf8.ValidString(text):
		return nil, nil, &protocol.Refusal{Code: "22021", Message: "the text is not valid UTF-8"}
	case strings.IndexByte(text, '\v') >= 0:
		return nil, nil, &protocol.Refusal{Code: "42601", Message: "the text holds a vertical tab, which servers read differently"}
	}
	if tooDeep(text, o.MaxDepth) {
		return nil, nil, &protocol.Refusal{Code: "54001", Message: "the text is nested too deep"}
	}
	raw, err := parser.ParseToProtobuf(text)
	if err != nil {
		// The parser's own words: they quote the text, never a value.
		return nil, nil, syntaxError(err)
	}
	tree = new(pg.ParseResult)
	if err := proto.Unmarshal(raw, tree); err != nil {
		return nil, nil, &protocol.Refusal{Code: "XX000", Message: "the statement cannot be analysed"}
	}
	return tree, raw, nil
}

// judgeOne analyses and judges one statement.
func (a *analysis) judgeOne(raw *pg.RawStmt) (p protocol.Plan, err *refusal) {
	_, open := a.v.Open()
	observe := open || a.v.Observe()
	defer func() {
		if r := recover(); r != nil {
			x, ok := r.(refusal)
			if !ok {
				x = refusal{Refusal: &protocol.Refusal{Code: "XX000", Message: "the statement cannot be analysed"}}
				if debugPanics {
					panic(r)
				}
			}
			// What is not there must not be told apart from what may not be seen.
			if !x.stale || strings.HasPrefix(x.Code, "42") {
				if d := a.deniedFirst(); d != nil {
					x.Refusal = d
				}
			}
			p.Observed = observe
			err = &x
		}
	}()
	from := int(raw.StmtLocation)
	to := len(a.text)
	if raw.StmtLen > 0 {
		to = from + int(raw.StmtLen)
	}
	for _, oid := range a.params {
		a.parameter(oid)
	}
	o := a.statement(raw.Stmt, from, to)
	a.describe(&p, o)
	a.lost = a.lost || a.calls
	d := a.v.Decide(&p.Statement)
	p.Verdict, p.Rule, p.Limits = d.Verdict, d.Rule, d.Limits
	if in := p.Effect.Inner; in != nil {
		// What is kept for later runs under the same decision.
		in.Verdict, in.Rule, in.Limits = d.Verdict, d.Rule, d.Limits
	}
	if d.Verdict != protocol.Deny && len(a.cascaded) > 0 && a.refused == nil {
		a.uncountedCascade(&p.Statement)
	}
	if d.Verdict != protocol.Deny && d.Limits.Affected > 0 && a.uncounted && a.refused == nil {
		a.refused = &protocol.Refusal{Code: "0A000", Rule: d.Rule,
			Message: "a statement with a limit on affected rows cannot be inside WITH or EXPLAIN ANALYZE",
			Detail:  "What the server tells of such a statement is not how many rows it affected.",
			Hint:    "Send it as a statement of its own, with RETURNING where its rows are needed."}
	}
	if d.Verdict == protocol.Deny {
		if observe {
			p.Observed = true
			return p, nil
		}
		return p, &refusal{Refusal: a.denial(d)}
	}
	if a.refused != nil {
		p.Verdict = protocol.Deny
		if observe {
			p.Observed = true
			return p, nil
		}
		return p, &refusal{Refusal: a.refused}
	}
	p.Observed = d.Observed != "" || observe && p.Verdict == protocol.Approve
	if observe {
		return p, nil
	}
	a.spliceAll()
	if p.Verdict > protocol.Mask {
		for i := range p.Columns {
			if p.Columns[i].Sensitive {
				p.Verdict = protocol.Mask
			}
		}
	}
	return p, nil
}

// uncountedCascade refuses what changes rows by a foreign key whose number a rule
// limits: the server tells those of the statement's own table.
func (a *analysis) uncountedCascade(st *protocol.Statement) {
	of := func(x []protocol.Access) []policy.Bound {
		return a.v.Decide(&protocol.Statement{Understood: true, Filtered: st.Filtered, Accesses: x}).Bounds
	}
	every := of(nil) // of all statements alike
	for i := range a.cascaded {
		x := &a.cascaded[i]
		for _, b := range of(a.cascaded[i : i+1]) {
			if slices.ContainsFunc(every, func(e policy.Bound) bool { return e.Rule == b.Rule }) {
				continue
			}
			a.refused = &protocol.Refusal{Code: "0A000", Rule: b.Rule,
				Message: "the number of affected rows of " + x.Object.String() + " is limited, and " + x.Implied + " changes rows that are not counted",
				Hint:    "Change those rows first, by a statement of their own."}
			return
		}
	}
}

// deniedFirst returns the denial of what was noted before an analysis failed.
func (a *analysis) deniedFirst() (r *protocol.Refusal) {
	defer func() {
		if x := recover(); x != nil {
			r = nil
		}
	}()
	st := protocol.Statement{Understood: true, Tag: a.tag, Accesses: a.finalAccesses()}
	if len(st.Accesses) == 0 {
		return nil
	}
	if d := a.v.Decide(&st); d.Verdict == protocol.Deny {
		return a.denial(d)
	}
	return nil
}

// describe fills a plan with what was found out.
func (a *analysis) describe(p *protocol.Plan, o outcome) {
	p.Statement = protocol.Statement{Understood: true, Tag: o.tag, Accesses: a.finalAccesses(), Filtered: a.filtered, Volatile: a.volatile}
	p.Effect = o.effect
	if a.changesPath && p.Effect.Kind == protocol.NoEffect {
		p.Effect.Kind = protocol.ChangesPath
	}
	p.Effect.Moves = a.calls || a.changesPath && p.Effect.Kind != protocol.ChangesPath
	p.Returns = o.returns
	p.Resets = a.resets(&p.Statement)
	p.Sensitive = a.sensitive
	p.Columns = a.described(o.columns)
	if o.copy != nil {
		p.Copy = o.copy
		p.Copy.Columns = a.described(o.copies)
	}
}

func (a *analysis) described(cols []column) []protocol.Column {
	if cols == nil {
		return nil
	}
	all := make([]protocol.Column, len(cols))
	for i := range cols {
		c := &cols[i]
		out := &all[i]
		out.Name = TruncateName(c.name)
		switch {
		case c.mask != nil:
			out.Sensitive, out.Tag = true, c.mask.rule.Tag
		case c.rel != nil && c.col != nil:
			out.Relation, out.Column = c.rel.object(), c.col.Name
			if !c.rel.System() {
				out.Scan = a.v.Column(c.rel.Schema, c.rel.Name, c.col.Name).Scan
			}
		default:
			out.Scan = len(a.v.Detect()) > 0
		}
	}
	return all
}

// debugPanics lets a mistake of the analysis end a test.
const debugPanics = false
