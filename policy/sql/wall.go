package sql

import (
	"strings"

	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

// The analysis finds the places that read what is masked, and replaces them. The
// wall is a second look that shares nothing with it but the catalog: what was
// made of a text is parsed again, and every relation in it that has masks has
// to stand in a piece of our own making or be what a statement writes to. A place
// that the analysis overlooked ends here.
//
// Most of what is put in are sub-selects that are the same each time. Such a
// piece is parsed once, by prove; where the whole is parsed, a short query in parentheses
// stands in for it, which is the same to the grammar.
type wall struct {
	a      *analysis
	own    []ownPiece // ascending
	ctes   []string
	target []wallTarget
	stmts  int
	// returning is the level of selects inside a RETURNING list, -1 outside.
	returning int
	bad       string
}

// ownPiece is where text of ours stands.
type ownPiece struct {
	at, end int
	reads   bool // it may name relations
	rows    bool // it leaves out rows of what a statement changes
}

// wallTarget is what a statement writes to, if it has masks.
type wallTarget struct {
	rel   *Relation
	alias string
	masks []*masked
}

const standIn = "(SELECT 1)"

// checked parses what was made of the text, and looks for what is not as it should be.
func (j *judge) checked(raw []byte, stmts int, text string, edits []protocol.Edit) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	w := &wall{a: &analysis{judge: j, quiet: true}, returning: -1}
	if len(edits) > 0 {
		skeleton := w.skeleton(text)
		var err error
		if raw, err = parser.ParseToProtobuf(skeleton); err != nil {
			return false
		}
	}
	w.walk(wireRoot(), raw, reads)
	return w.bad == "" && w.stmts == stmts
}

// skeleton is the text that was made, with stand-ins for what is proven, and
// notes where our own text is.
func (w *wall) skeleton(text string) string {
	var b strings.Builder
	last := 0 // of text
	for _, m := range w.a.made {
		b.WriteString(text[last:m.at])
		p := ownPiece{at: b.Len(), reads: m.edit.reads, rows: m.edit.rows}
		piece := text[m.at : m.at+m.length]
		if s := m.edit.proven; s != "" {
			before, after, found := strings.Cut(piece, s)
			if !found {
				w.bad = "a piece is not as it was proven"
			}
			b.WriteString(before)
			b.WriteString(standIn)
			b.WriteString(after)
		} else {
			b.WriteString(piece)
		}
		p.end = b.Len()
		w.own = append(w.own, p)
		last = m.at + m.length
	}
	b.WriteString(text[last:])
	return b.String()
}

// ours returns the piece that an offset is in.
func (w *wall) ours(at int) *ownPiece {
	for i := range w.own {
		if p := &w.own[i]; at >= p.at && at < p.end {
			return p
		}
	}
	return nil
}

func (w *wall) walk(t *wireType, b []byte, as role) {
	if w.bad != "" {
		return
	}
	switch t.kind {
	case rangeVarNode:
		w.rangeVar(t.rangeVar(b), as)
		return
	case columnRefNode:
		w.columnRef(t, b)
	case rawStmtNode:
		w.stmts++
	case withNode:
		w.with(t, b)
		return
	case selectNode, writeNode:
		w.query(t, b)
		return
	}
	copies := false
	if t.kind == copyNode {
		_, _, n := t.find(b, "is_from")
		copies = n != 0
	}
	for len(b) > 0 {
		num, data, _, rest, ok := wireNext(b)
		if !ok {
			w.bad = "the tree cannot be read"
			return
		}
		b = rest
		f := t.field(num)
		if f == nil || f.child == nil || data == nil {
			if f == nil {
				w.bad = "the tree has fields that are not known"
			}
			continue
		}
		in := f.role
		switch {
		case t.kind == wrapperNode:
			in = as
		case copies && f.name == "relation":
			in = writes
		}
		w.walk(f.child, data, in)
	}
}

// query walks a statement that may have WITH queries, which all of it sees.
func (w *wall) query(t *wireType, b []byte) {
	mark := len(w.ctes)
	if f, data, _ := t.find(b, "with_clause"); f != nil {
		w.walk(f.child, data, reads)
	}
	level := w.returning
	if t.kind == selectNode && level >= 0 {
		w.returning++
	}
	if t.kind == writeNode {
		w.returning = -1
		if f, data, _ := t.find(b, "relation"); f != nil {
			v := f.child.rangeVar(data)
			w.target = append(w.target, w.targetOf(v))
			w.changes(t, b)
		} else {
			w.bad = "a statement writes to nothing"
			return
		}
	}
	for len(b) > 0 {
		num, data, _, rest, ok := wireNext(b)
		if !ok {
			w.bad = "the tree cannot be read"
			return
		}
		b = rest
		f := t.field(num)
		switch {
		case f == nil:
			w.bad = "the tree has fields that are not known"
			return
		case f.child == nil || data == nil || f.name == "with_clause":
			continue
		case t.kind == writeNode && f.name == "returning_list":
			w.returning = 0
			w.walk(f.child, data, reads)
			w.returning = -1
		default:
			w.walk(f.child, data, f.role)
		}
	}
	if t.kind == writeNode {
		w.target = w.target[:len(w.target)-1]
	}
	w.returning = level
	w.ctes = w.ctes[:mark]
}

// with walks WITH queries. Those before see none that comes after, unless they are
// RECURSIVE.
func (w *wall) with(t *wireType, b []byte) {
	_, _, recursive := t.find(b, "recursive")
	for pass := range 2 {
		for rest := b; len(rest) > 0; {
			num, data, _, next, ok := wireNext(rest)
			if !ok {
				w.bad = "the tree cannot be read"
				return
			}
			rest = next
			f := t.field(num)
			if f == nil || f.name != "ctes" {
				continue
			}
			k, inner, _, _, ok := wireNext(data)
			node := f.child.field(k)
			if !ok || node == nil || node.child == nil || node.child.kind != cteNode {
				w.bad = "a WITH query is not understood"
				return
			}
			_, name, _ := node.child.find(inner, "ctename")
			if pass == 0 && recursive != 0 {
				w.ctes = append(w.ctes, string(name))
			}
			if pass == 1 {
				w.walk(node.child, inner, reads)
				if recursive == 0 {
					w.ctes = append(w.ctes, string(name))
				}
			}
		}
	}
}

// rangeVar looks at one name of a relation.
func (w *wall) rangeVar(v wireName, as role) {
	if as == bears {
		return
	}
	if v.schema == "" {
		if as == reads && contains(w.ctes, v.name) {
			return
		}
		w.bad = "a name is left to the search path"
		return
	}
	own := w.ours(v.at)
	if own != nil && own.reads || as == writes {
		return
	}
	rel := w.a.c.Relation(v.schema, v.name)
	switch {
	case rel == nil:
		w.bad = "a relation is not known"
	case rel.System():
	case w.a.shadows != "":
		w.bad = "a relation is read that is not a view of mode role"
	case w.a.rowsOf(rel) != nil:
		w.bad = "a relation is read whose rows are not all there"
	case w.a.masksOf(rel) != nil:
		w.bad = "a relation with masks is read as it is"
	}
}

// targetOf is what a statement writes to, nil if nothing of it is masked.
func (w *wall) targetOf(v wireName) wallTarget {
	t := wallTarget{alias: v.alias}
	if t.alias == "" {
		t.alias = v.name
	}
	t.rel = w.a.c.Relation(v.schema, v.name)
	if t.rel == nil {
		w.bad = "a relation is not known"
		return t
	}
	if w.a.shadows == "" && !t.rel.System() {
		t.masks = w.a.masksOf(t.rel)
	}
	return t
}

// changes looks at the WHERE clause of an UPDATE or DELETE: where only some rows are
// there for the subject, its outermost condition is ours.
func (w *wall) changes(t *wireType, b []byte) {
	rel := w.target[len(w.target)-1].rel
	if rel == nil || !w.scoped(rel) || t.has("on_conflict_clause") {
		return
	}
	if f, data, _ := t.find(b, "where_clause"); f != nil {
		if k, inner, _, _, ok := wireNext(data); ok {
			if node := f.child.field(k); node != nil && node.child != nil {
				if g, _, at := node.child.find(inner, "location"); g != nil {
					if own := w.ours(int(int32(at))); own != nil && own.rows {
						return
					}
				}
			}
		}
	}
	w.bad = "a statement changes rows that are not there"
}

// scoped reports whether only some rows of a relation are there for the subject. A
// view of mode role has the scope of what it stands for.
func (w *wall) scoped(rel *Relation) bool {
	if w.a.shadows == "" || rel.Schema != w.a.shadows {
		return w.a.rowsOf(rel) != nil
	}
	for _, d := range rel.Depends {
		if base := w.a.c.RelationByOID(d.Relation); base != nil && base != rel && base.Schema != w.a.shadows && w.a.rowsOf(base) != nil {
			return true
		}
	}
	return false
}

// columnRef looks at a reference in a RETURNING list: what is masked of the target
// is named by pieces of ours only.
func (w *wall) columnRef(t *wireType, b []byte) {
	if w.returning != 0 || len(w.target) == 0 {
		return
	}
	target := &w.target[len(w.target)-1]
	if target.masks == nil {
		return
	}
	var buf [4]string
	parts, star, at := t.columnRef(b, buf[:0])
	if w.ours(at) != nil {
		return
	}
	n := len(parts)
	switch {
	case star && (n == 0 || parts[n-1] == target.alias),
		!star && n == 1 && parts[0] == target.alias && target.rel.Column(parts[0]) == nil:
		w.bad = "RETURNING gives a row as it is"
	case star || n > 1 && parts[n-2] != target.alias:
	default:
		for i, m := range target.masks {
			if m != nil && target.rel.Columns[i].Name == parts[n-1] {
				w.bad = "RETURNING gives a value as it is"
			}
		}
	}
}

// prove parses a sub-select that reads rel on its own, and checks that it is one
// query of that relation alone, with masks in the places of what is masked.
func prove(text string, rel *Relation, masks []*masked) bool {
	tree, err := pg.Parse("SELECT * FROM " + text + ` AS "x"`)
	if err != nil || len(tree.Stmts) != 1 || !strings.HasPrefix(text, "(") || !strings.HasSuffix(text, ")") {
		return false
	}
	from := tree.Stmts[0].Stmt.GetSelectStmt().GetFromClause()
	if len(from) != 1 || from[0].GetRangeSubselect() == nil {
		return false
	}
	in := from[0].GetRangeSubselect().GetSubquery().GetSelectStmt()
	if len(in.GetFromClause()) != 1 || in.WhereClause != nil || in.WithClause != nil || in.Larg != nil {
		return false
	}
	rv := in.FromClause[0].GetRangeVar()
	if rv == nil || rv.Schemaname != rel.Schema || rv.Relname != rel.Name || rv.Alias != nil {
		return false
	}
	list := in.TargetList
	for i := range rel.Columns {
		c := &rel.Columns[i]
		if c.Dropped {
			continue
		}
		if len(list) == 0 {
			return false
		}
		t := list[0].GetResTarget()
		list = list[1:]
		if masks[i] == nil {
			f := fieldNames(t.GetVal().GetColumnRef())
			if len(f) != 1 || f[0] != c.Name || t.Name != "" {
				return false
			}
			continue
		}
		if t.GetName() != c.Name || t.Val == nil || t.Val.GetColumnRef() != nil {
			return false
		}
	}
	for _, n := range list {
		f := fieldNames(n.GetResTarget().GetVal().GetColumnRef())
		if len(f) != 1 || !SystemColumn(f[0]) {
			return false
		}
	}
	return true
}
