package sql

import (
	"regexp"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// reference is one place in the text that names a relation.
type reference struct {
	rel    *Relation
	rv     *pg.RangeVar
	masks  []*masked // by index into rel.Columns, nil if none is masked
	rows   *rowScope // nil: all rows are there
	sample *pg.RangeTableSample
	target bool // what a statement writes to: stands as it is
	// nested says that it is in an aliased or natural join, where another column
	// would move those after it.
	nested  bool
	reads   []bool // by index into rel.Columns
	sys     []string
	rowUsed bool
	// shown says that of pg_settings only rows are read whose setting may be shown.
	shown bool
	// confined says that a view takes its place whatever is masked, in mode role;
	// shadow is that view, nil if there is none.
	confined bool
	shadow   *Relation
}

func (r *reference) read(i int) {
	if i < 0 {
		return
	}
	if r.reads == nil {
		r.reads = make([]bool, len(r.rel.Columns))
	}
	r.reads[i] = true
}

func (r *reference) hasSystem() bool {
	switch r.rel.Kind {
	case Table, PartitionedTable, MaterializedView, ForeignTable, Sequence:
		return true
	}
	return false
}

func (r *reference) system(name string) {
	if !contains(r.sys, name) {
		r.sys = append(r.sys, name)
	}
}

func (r *reference) spliced() bool {
	return r.confined || (r.masks != nil || r.rows != nil) && !r.target
}

// columns returns the names of the columns that are read, in order of number.
func (r *reference) columns() []string {
	var out []string
	for i, read := range r.reads {
		if read {
			out = append(out, r.rel.Columns[i].Name)
		}
	}
	return out
}

func (r *Relation) object() protocol.Object {
	return protocol.Object{Kind: protocol.Relation, Schema: r.Schema, Name: r.Name}
}

// maxViews bounds how deep views are followed.
const maxViews = 32

// masksOf returns what is masked of a relation by index of column, nil if
// nothing is: what the policy says of the column, of the one it is generated or
// selected from, and of the same column of ancestors and descendants.
func (a *analysis) masksOf(r *Relation) []*masked {
	if m, ok := a.masks[r]; ok {
		return m
	}
	if m, ok := a.known.masksOf(r); ok {
		a.masks[r] = m
		return m
	}
	if r.System() && a.closedRelation(r) {
		a.masks[r] = nil
		return nil
	}
	out := make([]*masked, len(r.Columns))
	some := false
	for _, rel := range a.family(r) {
		for i := range r.Columns {
			c := &r.Columns[i]
			if c.Dropped || out[i] != nil || rel != r && rel.Column(c.Name) == nil {
				continue
			}
			if cr := a.v.Column(rel.Schema, rel.Name, c.Name); cr.Sensitive {
				out[i] = &masked{rule: cr, object: r.object(), column: c.Name}
				some = true
			}
		}
	}
	for i := range r.Columns {
		for _, n := range r.Columns[i].From {
			for j := range r.Columns {
				if r.Columns[j].Number == n && out[j] != nil && out[i] == nil {
					out[i], some = out[j], true
				}
			}
		}
	}
	if r.Definition != "" {
		for i, m := range a.viewMasks(r) {
			if m != nil && i < len(out) && out[i] == nil {
				out[i], some = m, true
			}
		}
	}
	if !some {
		out = nil
	}
	a.masks[r] = out
	a.known.keepMasks(r, out)
	return out
}

// family returns r, all that it inherits from, and all that inherits from it.
func (a *analysis) family(r *Relation) []*Relation {
	all := []*Relation{r}
	if len(r.Parents) == 0 && len(r.Children) == 0 {
		return all
	}
	seen := map[uint32]bool{r.OID: true}
	walk := func(next func(*Relation) []uint32) {
		queue := []*Relation{r}
		for len(queue) > 0 {
			x := queue[0]
			queue = queue[1:]
			for _, oid := range next(x) {
				if p := a.c.RelationByOID(oid); p != nil && !seen[oid] {
					seen[oid] = true
					all = append(all, p)
					queue = append(queue, p)
				}
			}
		}
	}
	walk(func(x *Relation) []uint32 { return x.Parents })
	walk(func(x *Relation) []uint32 { return x.Children })
	return all
}

// valueCatalogs are catalog relations that hold values of all tables, the texts of
// others' statements, or passwords. A view shows them whatever is masked.
var valueCatalogs = regexp.MustCompile(`\b(pg_stats|pg_statistic|pg_stats_ext|pg_stats_ext_exprs|pg_statistic_ext_data|pg_largeobject|` +
	`pg_stat_activity|pg_authid|pg_shadow|pg_user_mapping|pg_user_mappings|pg_prepared_statements|pg_cursors)\b`)

var setsConfig = regexp.MustCompile(`\bset_config\(`)

// viewMasks analyses the definition of a view, if anything sensitive is below it.
func (a *analysis) viewMasks(r *Relation) []*masked {
	for _, oid := range r.Calls {
		f := a.c.FunctionByOID(oid)
		if f != nil && f.Set && !a.listed(f) {
			a.denyFunction(f, -1) // makes rows out of anything: pg_stat_statements, dblink
		}
		a.allowedCode(f, "view "+r.object().String())
	}
	if name := valueCatalogs.FindString(r.Definition); name != "" {
		a.refuse(&protocol.Refusal{Code: "42501",
			Message: "reading " + r.object().String() + " is not allowed",
			Detail:  "It shows " + name + ", which holds values of other tables."})
	}
	if setsConfig.MatchString(r.Definition) {
		a.refuse(&protocol.Refusal{Code: "42501",
			Message: "reading " + r.object().String() + " is not allowed",
			Detail:  "It calls set_config, so that it may change how names resolve."})
	}
	below := false
	for _, d := range r.Depends {
		if rel := a.c.RelationByOID(d.Relation); rel == nil || rel != r && a.deeper().masksOf(rel) != nil {
			below = true
			break
		}
	}
	if !below {
		return nil
	}
	in := a.deeper()
	in.path = []string{"pg_catalog"}
	in.text = r.Definition
	in.quiet = true
	tree, err := pg.Parse(r.Definition)
	if err != nil || len(tree.Stmts) != 1 || tree.Stmts[0].Stmt.GetSelectStmt() == nil {
		a.fail("0A000", -1, "view %s cannot be analysed", r.object())
	}
	cols := in.selectStmt(tree.Stmts[0].Stmt.GetSelectStmt(), nil)
	out := make([]*masked, len(r.Columns))
	n := 0
	for i := range r.Columns {
		if r.Columns[i].Dropped {
			continue
		}
		if n < len(cols) {
			out[i] = cols[n].mask
		} else {
			a.fail("0A000", -1, "view %s cannot be analysed", r.object())
		}
		n++
	}
	return out
}

// deeper returns an analysis of a view's definition inside a.
func (a *analysis) deeper() *analysis {
	if a.depth >= maxViews {
		a.fail("54001", -1, "views are nested too deep")
	}
	return &analysis{judge: &judge{c: a.c, v: a.v, o: a.o, path: a.path, masks: a.masks, known: a.known, budget: a.budget}, depth: a.depth + 1, quiet: true}
}

// maskSQL returns the expression that masks a column, or NULL of its type where
// the mask can't apply to it.
func (a *analysis) maskSQL(m *masked, c *Column, ref string) string {
	t, ok := a.maskType(c.Type, c.Typmod)
	if ok {
		var key mask.Key
		if a.o.Key != nil {
			key = a.o.Key(m.rule.Tag)
		}
		keyless := m.rule.Mask.Kind == policy.MaskHash && a.o.Key == nil
		if s, err := mask.SQL(m.rule.Mask, ref, t, key); err == nil && !keyless {
			return s
		}
	}
	return "NULL::" + c.TypeName
}

// maskType tells package mask what it has to know of a type.
func (a *analysis) maskType(oid uint32, mod int32) (mask.Type, bool) {
	return a.maskTypeIn(oid, mod, 0)
}

// maxTypes bounds how deep types are made of others: the server's word is not
// taken for it that they end.
const maxTypes = 64

func (a *analysis) maskTypeIn(oid uint32, mod int32, depth int) (mask.Type, bool) {
	t := a.c.TypeByOID(oid)
	if t == nil || t.Kind == "" || depth > maxTypes {
		return mask.Type{}, false
	}
	m := mask.Type{OID: oid, Name: quote(t.Schema) + "." + quote(t.Name), Mod: mod, Kind: byte(t.Kind[0]), Labels: t.Labels}
	if t.Category != "" {
		m.Category = t.Category[0]
	}
	if t.Element != 0 {
		if e, ok := a.maskTypeIn(t.Element, mod, depth+1); ok {
			m.Elem = &e
		}
	}
	if t.Kind == DomainType && t.Base != 0 {
		if b, ok := a.maskTypeIn(t.Base, t.Typmod, depth+1); ok {
			m.Base = &b
		}
	}
	return m, true
}
