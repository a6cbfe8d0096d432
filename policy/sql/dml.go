package sql

import (
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// nestedDML analyses a WITH query that writes. It returns nil if it returns no rows.
func (a *analysis) nestedDML(n *pg.Node, s *scope) []column {
	a.uncounted = true
	switch x := n.Node.(type) {
	case *pg.Node_InsertStmt:
		return a.insertStmt(x.InsertStmt, s)
	case *pg.Node_UpdateStmt:
		return a.updateStmt(x.UpdateStmt, s)
	case *pg.Node_DeleteStmt:
		return a.deleteStmt(x.DeleteStmt, s)
	case *pg.Node_MergeStmt:
		return a.mergeStmt(x.MergeStmt, s)
	}
	a.unknown(n)
	return nil
}

// target resolves what a statement writes to.
func (a *analysis) target(rv *pg.RangeVar, action protocol.Action, event string) *reference {
	rel := a.relationFor(rv, action)
	if rel.System() {
		a.fail("42501", rv.Location, "writing to %s is not allowed", rel.object())
	}
	switch rel.Kind {
	case Table, PartitionedTable, View, ForeignTable:
	default:
		a.fail("42809", rv.Location, "%s cannot be written to", rel.object())
	}
	a.unruled(rel, event, rv.Location)
	if ref := a.refs[rv]; ref != nil {
		return ref
	}
	ref := &reference{rel: rel, rv: rv, masks: a.masksOf(rel), rows: a.rowsOf(rel), target: true}
	if a.refs == nil {
		a.refs = make(map[*pg.RangeVar]*reference)
	}
	a.refs[rv] = ref
	a.order = append(a.order, ref)
	a.shadow(ref)
	if a.touched(rel); action != protocol.Insert {
		a.changed(rel)
	}
	return ref
}

// unruled refuses to write where a rule makes something else of the statement.
func (a *analysis) unruled(rel *Relation, event string, at int32) {
	for i := range rel.Rules {
		if r := &rel.Rules[i]; r.Event == event && r.Enabled != "D" {
			a.fail("42501", at, "%s has a rule that rewrites such a statement, which is not supported", rel.object())
		}
	}
}

// base notes that writing to a view writes to what is below it. cols are the columns
// that are written.
func (a *analysis) base(rel *Relation, action protocol.Action, cols []string, depth int) {
	a.step()
	if rel.Kind != View || depth > maxViews {
		return
	}
	for i := range rel.Triggers {
		if rel.Triggers[i].Enabled != "D" {
			return // INSTEAD OF
		}
	}
	names := viewColumns(rel)
	seen := map[uint32]bool{}
	for _, d := range rel.Depends {
		if r := a.c.RelationByOID(d.Relation); r != nil && r != rel && !seen[d.Relation] {
			seen[d.Relation] = true
			if r.System() {
				continue
			}
			a.unruled(r, action.String(), -1)
			a.changed(r)
			x := protocol.Access{Action: action, Object: r.object(), Implied: "view " + rel.object().String()}
			if action != protocol.Delete {
				for _, c := range cols {
					if n := names[c]; names == nil || n != "" && r.Column(n) != nil {
						x.Columns = append(x.Columns, n)
					}
				}
				if names == nil {
					x.Columns = nil // which they are is not known: all of them
					for i := range r.Columns {
						if !r.Columns[i].Dropped {
							x.Columns = append(x.Columns, r.Columns[i].Name)
						}
					}
				}
			}
			a.access(x)
			a.runs(r, action, x.Columns)
			a.base(r, action, x.Columns, depth+1)
			if action != protocol.Insert {
				a.cascade(r, action, x.Columns, 0)
			}
		}
	}
}

// viewColumns tells which column below each column of a view is, nil if that cannot
// be told. Columns of an updatable view are plain references.
func viewColumns(rel *Relation) map[string]string {
	tree, err := pg.Parse(rel.Definition)
	if err != nil || len(tree.Stmts) != 1 {
		return nil
	}
	list := tree.Stmts[0].Stmt.GetSelectStmt().GetTargetList()
	out := make(map[string]string)
	for i := range rel.Columns {
		c := &rel.Columns[i]
		if c.Dropped {
			continue
		}
		if len(list) == 0 {
			return nil
		}
		t := list[0].GetResTarget()
		list = list[1:]
		if x := t.GetVal().GetColumnRef(); x != nil && !isStar(x) {
			f := fieldNames(x)
			out[c.Name] = f[len(f)-1]
		}
	}
	if len(list) > 0 {
		return nil
	}
	return out
}

// returning analyses RETURNING: columns of the target are replaced by masks.
func (a *analysis) returning(list []*pg.Node, target *item, s *scope) []column {
	if len(list) == 0 {
		return nil
	}
	it := &item{alias: target.alias, schema: target.schema, ref: target.ref, rels: true, names: true}
	it.cols = append([]column(nil), target.cols...)
	for i := range it.cols {
		if it.cols[i].mask != nil {
			it.cols[i].inline, it.cols[i].raw = true, false
		}
	}
	in := &scope{up: s.up, ctes: s.ctes, q: s.q, items: []*item{it}}
	for _, x := range s.items {
		if x != target && x.alias != "excluded" {
			in.items = append(in.items, x)
		}
	}
	return a.targets(list, in)
}

func (a *analysis) insertStmt(x *pg.InsertStmt, up *scope) []column {
	s := &scope{up: up, q: &query{}}
	if x.WithClause != nil {
		a.with(x.WithClause, s)
	}
	ref := a.target(x.Relation, protocol.Insert, "insert")
	rel := ref.rel
	cols := a.written(rel, x.Cols, s)
	a.inserted(ref, cols, x.SelectStmt.GetSelectStmt())
	if x.SelectStmt != nil {
		sel := x.SelectStmt.GetSelectStmt()
		if sel == nil {
			a.unknown(x.SelectStmt)
		}
		source := a.selectStmt(sel, s)
		if len(x.Cols) == 0 && len(source) < len(cols) {
			cols = cols[:len(source)]
		}
		if len(source) > len(cols) {
			a.fail("42601", x.Relation.Location, "INSERT has more expressions than target columns")
		}
		for _, c := range source {
			a.copied(c.value, rel.object().String())
		}
	}
	a.access(protocol.Access{Action: protocol.Insert, Object: rel.object(), Columns: cols})
	a.runs(rel, protocol.Insert, nil)
	a.base(rel, protocol.Insert, cols, 0)
	it := a.relationItem(ref, x.Relation.Alias)
	if c := x.OnConflictClause; c != nil {
		a.onConflict(c, it, s)
	}
	return a.returning(x.ReturningList, it, s)
}

// written returns the names of the columns of a column list, all if there is none.
func (a *analysis) written(rel *Relation, list []*pg.Node, s *scope) []string {
	var cols []string
	if len(list) == 0 {
		for i := range rel.Columns {
			if !rel.Columns[i].Dropped {
				cols = append(cols, rel.Columns[i].Name)
			}
		}
		return cols
	}
	for _, n := range list {
		t := n.GetResTarget()
		if t == nil {
			a.unknown(n)
		}
		cols = append(cols, a.writtenColumn(rel, t, s))
	}
	return cols
}

func (a *analysis) writtenColumn(rel *Relation, t *pg.ResTarget, s *scope) string {
	if rel.Column(t.Name) == nil {
		a.missing("42703", t.Location, "column %q of relation %s does not exist", t.Name, rel.object())
	}
	for _, n := range t.Indirection {
		if i := n.GetAIndices(); i != nil {
			if i.Lidx != nil {
				a.copied(a.expr(i.Lidx, s), rel.object().String())
			}
			if i.Uidx != nil {
				a.copied(a.expr(i.Uidx, s), rel.object().String())
			}
		} else if n.GetString_() == nil {
			a.unknown(n)
		}
	}
	return t.Name
}

func (a *analysis) onConflict(c *pg.OnConflictClause, target *item, s *scope) {
	rel := target.ref.rel
	in := &scope{up: s.up, ctes: s.ctes, q: s.q, items: []*item{target}}
	if inf := c.Infer; inf != nil {
		// The arbiter names columns of an index; no value is read.
		a.untested++
		for _, n := range inf.IndexElems {
			e := n.GetIndexElem()
			if e == nil {
				a.unknown(n)
			}
			if e.Expr != nil {
				a.expr(e.Expr, in)
			} else if rel.Column(e.Name) == nil {
				a.missing("42703", -1, "column %q of relation %s does not exist", e.Name, rel.object())
			}
		}
		a.untested--
		if inf.WhereClause != nil {
			a.condition(a.expr(inf.WhereClause, in), "ON CONFLICT")
		}
	}
	if c.Action != pg.OnConflictAction_ONCONFLICT_UPDATE {
		return
	}
	a.outside(rel, "ON CONFLICT DO UPDATE")
	// EXCLUDED is what the statement itself wanted to insert.
	ex := &item{alias: "excluded", rels: true, names: true}
	for i := range rel.Columns {
		if col := &rel.Columns[i]; !col.Dropped {
			ex.cols = append(ex.cols, column{name: col.Name, value: value{typ: col.Type}})
		}
	}
	in.items = append(in.items, ex)
	a.changed(rel)
	a.set(c.TargetList, target.ref, in)
	if c.WhereClause != nil {
		a.condition(a.expr(c.WhereClause, in), "WHERE")
	}
}

// set analyses the assignments of an UPDATE.
func (a *analysis) set(list []*pg.Node, ref *reference, s *scope) {
	rel := ref.rel
	var cols []string
	for _, n := range list {
		t := n.GetResTarget()
		if t == nil {
			a.unknown(n)
		}
		cols = append(cols, a.writtenColumn(rel, t, s))
		if ref.rows != nil && ref.rows.about(t.Name) {
			a.outside(rel, "changing column "+t.Name)
		}
		v := a.expr(t.Val, s)
		a.hole(t.Val)
		a.copied(v, rel.object().String())
	}
	a.access(protocol.Access{Action: protocol.Update, Object: rel.object(), Columns: cols})
	a.runs(rel, protocol.Update, cols)
	a.base(rel, protocol.Update, cols, 0)
	a.cascade(rel, protocol.Update, cols, 0)
}

// cascade notes what foreign keys do when rows of rel are deleted or columns of
// it change.
func (a *analysis) cascade(rel *Relation, action protocol.Action, cols []string, depth int) {
	a.step()
	if depth > maxViews {
		return
	}
	for _, r := range a.c.ReferencedBy(rel.OID) {
		why := "foreign key " + r.Key.Name + " of " + r.From.object().String()
		how := r.Key.OnDelete
		if action == protocol.Update {
			how = r.Key.OnUpdate
			hit := false
			for _, n := range r.Key.Referenced {
				if c := rel.ColumnByNumber(n); c != nil && contains(cols, c.Name) {
					hit = true
				}
			}
			if !hit {
				continue
			}
		}
		x := protocol.Access{Object: r.From.object(), Implied: why}
		for _, n := range r.Key.Columns {
			if c := r.From.ColumnByNumber(n); c != nil {
				x.Columns = union(x.Columns, []string{c.Name})
			}
		}
		next := protocol.Update
		switch {
		case how == "c" && action == protocol.Delete:
			next, x.Columns = protocol.Delete, nil
		case how == "c", how == "n", how == "d":
		default:
			continue
		}
		x.Action = next
		a.unruled(r.From, next.String(), -1)
		a.changed(r.From)
		a.outside(r.From, "what "+why+" brings about")
		before := len(a.accesses)
		changed := append([]string(nil), x.Columns...)
		a.access(x)
		a.cascaded = append(a.cascaded, x)
		if len(a.accesses) > before {
			a.runs(r.From, next, changed)
			a.cascade(r.From, next, changed, depth+1)
		}
	}
}

func (a *analysis) updateStmt(x *pg.UpdateStmt, up *scope) []column {
	s := &scope{up: up, q: &query{}}
	if x.WithClause != nil {
		a.with(x.WithClause, s)
	}
	ref := a.target(x.Relation, protocol.Update, "update")
	it := a.relationItem(ref, x.Relation.Alias)
	a.from(x.FromClause, s)
	s.items = append([]*item{it}, s.items...)
	a.set(x.TargetList, ref, s)
	a.where(x.WhereClause, s)
	a.changes(ref, x.WhereClause)
	return a.returning(x.ReturningList, it, s)
}

func (a *analysis) where(n *pg.Node, s *scope) {
	if n != nil {
		a.filtered = true
		a.condition(a.expr(n, s), "WHERE")
	}
}

func (a *analysis) deleteStmt(x *pg.DeleteStmt, up *scope) []column {
	s := &scope{up: up, q: &query{}}
	if x.WithClause != nil {
		a.with(x.WithClause, s)
	}
	ref := a.target(x.Relation, protocol.Delete, "delete")
	it := a.relationItem(ref, x.Relation.Alias)
	a.from(x.UsingClause, s)
	s.items = append([]*item{it}, s.items...)
	a.where(x.WhereClause, s)
	a.changes(ref, x.WhereClause)
	a.access(protocol.Access{Action: protocol.Delete, Object: ref.rel.object()})
	a.runs(ref.rel, protocol.Delete, nil)
	a.base(ref.rel, protocol.Delete, nil, 0)
	a.cascade(ref.rel, protocol.Delete, nil, 0)
	return a.returning(x.ReturningList, it, s)
}

func (a *analysis) mergeStmt(x *pg.MergeStmt, up *scope) []column {
	s := &scope{up: up, q: &query{}}
	if x.WithClause != nil {
		a.with(x.WithClause, s)
	}
	ref := a.target(x.Relation, protocol.Merge, "merge")
	rel := ref.rel
	a.outside(rel, "MERGE")
	if a.c.ServerVersion < 170000 {
		a.unwritable(ref, "MERGE", "Use INSERT ... ON CONFLICT, UPDATE or DELETE.")
	}
	it := a.relationItem(ref, x.Relation.Alias)
	source := &scope{up: s.up, ctes: s.ctes, q: s.q, items: a.fromItem(x.SourceRelation, s)}
	s.items = append([]*item{it}, source.items...)
	a.condition(a.expr(x.JoinCondition, s), "MERGE ON")
	for _, n := range x.MergeWhenClauses {
		w := n.GetMergeWhenClause()
		if w == nil {
			a.unknown(n)
		}
		in := s
		if w.MatchKind == pg.MergeMatchKind_MERGE_WHEN_NOT_MATCHED_BY_TARGET {
			in = source // there is no row of the target
		}
		if w.Condition != nil {
			a.condition(a.expr(w.Condition, in), "MERGE WHEN")
		}
		switch w.CommandType {
		case pg.CmdType_CMD_INSERT:
			cols := a.written(rel, w.TargetList, s)
			for _, v := range w.Values {
				a.copied(a.expr(v, in), rel.object().String())
			}
			a.access(protocol.Access{Action: protocol.Insert, Object: rel.object(), Columns: cols})
			a.runs(rel, protocol.Insert, nil)
			a.base(rel, protocol.Insert, cols, 0)
		case pg.CmdType_CMD_UPDATE:
			a.set(w.TargetList, ref, s)
		case pg.CmdType_CMD_DELETE:
			a.access(protocol.Access{Action: protocol.Delete, Object: rel.object()})
			a.runs(rel, protocol.Delete, nil)
			a.base(rel, protocol.Delete, nil, 0)
			a.cascade(rel, protocol.Delete, nil, 0)
		case pg.CmdType_CMD_NOTHING:
		default:
			a.unknown(n)
		}
	}
	a.access(protocol.Access{Action: protocol.Merge, Object: rel.object()})
	return a.returning(x.ReturningList, it, s)
}
