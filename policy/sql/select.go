package sql

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// selectStmt analyses a query below up, and returns the columns of its result.
func (a *analysis) selectStmt(x *pg.SelectStmt, up *scope) []column {
	a.step()
	if x == nil {
		a.fail("0A000", -1, "a query is missing")
	}
	s := &scope{up: up, q: &query{}}
	if x.WithClause != nil {
		a.with(x.WithClause, s)
	}
	if x.IntoClause != nil && !a.into {
		a.fail("42601", -1, "SELECT INTO is not allowed here")
	}
	a.into = false
	switch {
	case x.Op != pg.SetOperation_SETOP_NONE && x.Op != pg.SetOperation_SET_OPERATION_UNDEFINED:
		return a.setOperation(x, s)
	case len(x.ValuesLists) > 0:
		cols := a.values(x, s)
		a.outputClauses(x, s, cols)
		return cols
	}
	mark := len(a.order)
	a.from(x.FromClause, s)
	inFrom := a.order[mark:len(a.order):len(a.order)]
	a.namedSettings(x, inFrom)
	s.q.loose++
	cols := a.targets(x.TargetList, s)
	s.q.loose--
	if x.WhereClause != nil {
		a.condition(a.expr(x.WhereClause, s), "WHERE")
		a.filtered = true
	}
	grouped := a.groupBy(x.GroupClause, s, cols)
	s.q.loose++
	if x.HavingClause != nil {
		a.condition(a.expr(x.HavingClause, s), "HAVING")
	}
	for _, n := range x.WindowClause {
		if n.GetWindowDef() == nil {
			a.unknown(n)
		}
		a.window(n.GetWindowDef(), s)
	}
	a.distinct(x.DistinctClause, s, cols)
	a.outputClauses(x, s, cols)
	s.q.loose--
	a.dependent(x.GroupClause, grouped, s)
	for _, n := range x.LockingClause {
		a.locking(n, s, inFrom)
	}
	return cols
}

// outputClauses are those that a set operation and VALUES may have too.
func (a *analysis) outputClauses(x *pg.SelectStmt, s *scope, cols []column) {
	for _, n := range x.SortClause {
		b := n.GetSortBy()
		if b == nil {
			a.unknown(n)
		}
		a.condition(a.outputRef(b.Node, s, cols, false), "ORDER BY")
		a.sortOperator(b)
	}
	if x.LimitCount != nil && !isNull(x.LimitCount) {
		a.condition(a.expr(x.LimitCount, s), "LIMIT")
	}
	if x.LimitOffset != nil {
		a.condition(a.expr(x.LimitOffset, s), "OFFSET")
	}
}

// outputRef is an expression of ORDER BY, DISTINCT ON or GROUP BY, where a
// number or a bare name may mean an output column.
func (a *analysis) outputRef(n *pg.Node, s *scope, cols []column, inputFirst bool) value {
	if c := n.GetAConst(); c != nil && !c.Isnull {
		i, ok := c.Val.(*pg.A_Const_Ival)
		if !ok {
			return value{}
		}
		if k := int(i.Ival.Ival); k >= 1 && k <= len(cols) {
			a.last = &cols[k-1]
			return cols[k-1].value
		}
		a.fail("42P10", c.Location, "position %d is not in the select list", i.Ival.Ival)
	}
	if ref := n.GetColumnRef(); ref != nil && len(ref.Fields) == 1 && !isStar(ref) {
		name := ref.Fields[0].GetString_().GetSval()
		if inputFirst && a.local(s, name) {
			return a.expr(n, s)
		}
		for i := range cols {
			if cols[i].name == name {
				a.last = &cols[i]
				return cols[i].value
			}
		}
	}
	return a.expr(n, s)
}

// local reports whether a name is a column of the level's own FROM clause.
func (a *analysis) local(s *scope, name string) bool {
	for _, it := range s.items {
		if it.names && (hasColumn(it.cols, name) || it.ref != nil && SystemColumn(name)) {
			return true
		}
	}
	return false
}

// targets analyses a select list.
func (a *analysis) targets(list []*pg.Node, s *scope) []column {
	cols := make([]column, 0, len(list))
	for _, n := range list {
		t := n.GetResTarget()
		if t == nil {
			a.unknown(n)
		}
		if ref := t.Val.GetColumnRef(); ref != nil && isStar(ref) {
			cols = append(cols, a.starColumns(ref, s, true)...)
			a.narrow(cols)
			continue
		}
		if ind := t.Val.GetAIndirection(); ind != nil && len(ind.Indirection) > 0 && ind.Indirection[len(ind.Indirection)-1].GetAStar() != nil {
			cols = append(cols, a.spread(ind, s)...)
			a.narrow(cols)
			continue
		}
		a.last = nil
		col := column{value: a.expr(t.Val, s), name: t.Name}
		if col.name == "" {
			col.name = figureName(t.Val)
		}
		if t.Val.GetColumnRef() != nil && a.last != nil {
			col.ref, col.index = a.last.ref, a.last.index
		}
		cols = append(cols, col)
	}
	return cols
}

// narrow refuses a list of more columns than the server takes, in its words.
func (a *analysis) narrow(cols []column) {
	if len(cols) > maxColumns {
		a.fail("54011", -1, "target lists can have at most %d entries", maxColumns)
	}
}

// spread is (expr).* in a select list.
func (a *analysis) spread(x *pg.A_Indirection, s *scope) []column {
	in := &pg.A_Indirection{Arg: x.Arg, Indirection: x.Indirection[:len(x.Indirection)-1]}
	v := a.indirection(in, s)
	if v.row == nil {
		v.row = a.compositeColumns(v)
	}
	if v.row == nil {
		a.fail("0A000", -1, "the columns of (...).* are not known: name them")
	}
	a.wide(len(v.row))
	out := make([]column, len(v.row))
	for i, c := range v.row {
		out[i] = column{name: c.name, value: c.value}
		if out[i].mask == nil && v.open {
			out[i].mask = v.mask
		}
	}
	return out
}

func (a *analysis) distinct(list []*pg.Node, s *scope, cols []column) {
	for _, n := range list {
		if n == nil || n.Node == nil {
			// A plain DISTINCT is a list of one empty node.
			for i := range cols {
				a.condition(cols[i].value, "DISTINCT")
			}
			continue
		}
		a.condition(a.outputRef(n, s, cols, false), "DISTINCT ON")
	}
}

func (a *analysis) setOperation(x *pg.SelectStmt, s *scope) []column {
	l := a.selectStmt(x.Larg, s)
	r := a.selectStmt(x.Rarg, s)
	if len(l) != len(r) {
		a.fail("42601", -1, "each query of a set operation must have the same number of columns")
	}
	a.wide(len(l))
	cols := mergeColumns(l, r)
	if !x.All || x.Op != pg.SetOperation_SETOP_UNION {
		for i := range cols {
			a.condition(cols[i].value, "UNION, INTERSECT or EXCEPT")
		}
	}
	a.outputClauses(x, s, cols)
	return cols
}

// mergeColumns are the columns of two queries put together.
func mergeColumns(l, r []column) []column {
	cols := make([]column, len(l))
	for i := range l {
		v := l[i].plus(r[i].value)
		if l[i].typ == r[i].typ {
			v.typ = l[i].typ
		}
		if v.mask != nil && v.typ == 0 {
			v.typ = l[i].typ
		}
		cols[i] = column{name: l[i].name, value: v}
	}
	return cols
}

func (a *analysis) values(x *pg.SelectStmt, s *scope) []column {
	var cols []column
	for i, n := range x.ValuesLists {
		row := a.valuesRow(n.GetList().GetItems(), s)
		if i == 0 {
			cols = valueColumns(len(row))
		}
		if len(row) != len(cols) {
			a.fail("42601", -1, "VALUES lists must all be the same length")
		}
		for j, v := range row {
			if i == 0 {
				cols[j].value = value{mask: v.mask, raw: v.raw, typ: v.typ, row: v.row}
			} else if v.mask != nil {
				cols[j].value = cols[j].plus(v)
			}
		}
	}
	return cols
}

// valuesRow is one row of VALUES, in which stars stand for columns.
func (a *analysis) valuesRow(list []*pg.Node, s *scope) []value {
	row := make([]value, 0, len(list))
	for _, e := range list {
		if ref := e.GetColumnRef(); ref != nil && isStar(ref) {
			for _, c := range a.starColumns(ref, s, false) {
				row = append(row, c.value)
			}
			continue
		}
		if ind := e.GetAIndirection(); ind != nil && len(ind.Indirection) > 0 && ind.Indirection[len(ind.Indirection)-1].GetAStar() != nil {
			for _, c := range a.spread(ind, s) {
				row = append(row, c.value)
			}
			continue
		}
		row = append(row, a.expr(e, s))
		a.hole(e)
	}
	return row
}

// with analyses WITH queries into s.
func (a *analysis) with(w *pg.WithClause, s *scope) {
	var all []*cte
	for _, n := range w.Ctes {
		x := n.GetCommonTableExpr()
		if x == nil {
			a.unknown(n)
		}
		for _, c := range all {
			if c.name == x.Ctename {
				a.fail("42712", x.Location, "WITH query name %q is used more than once", x.Ctename)
			}
		}
		c := &cte{name: x.Ctename, hidden: true}
		all = append(all, c)
		if w.Recursive && a.recursive(x, c, s) {
			continue
		}
		s.ctes = append(s.ctes, c)
		if sel := x.Ctequery.GetSelectStmt(); sel != nil {
			c.cols = renamed(a, a.selectStmt(sel, s), x)
		} else {
			c.dml = true
			if cols := a.nestedDML(x.Ctequery, s); cols != nil {
				c.cols = renamed(a, cols, x)
			}
		}
		a.searchCycle(x, c)
		c.hidden = false
	}
}

func renamed(a *analysis, cols []column, x *pg.CommonTableExpr) []column {
	if len(x.Aliascolnames) > len(cols) {
		a.fail("42P10", x.Location, "WITH query %q has fewer columns than it names", x.Ctename)
	}
	a.wide(len(cols))
	out := make([]column, len(cols))
	for i, c := range cols {
		out[i] = column{name: c.name, value: c.value}
		if i < len(x.Aliascolnames) {
			out[i].name = x.Aliascolnames[i].GetString_().GetSval()
		}
	}
	return out
}

// maxPasses bounds how often a recursive query is analysed until no more of its
// columns turn out to be masked.
const maxPasses = 16

// recursive analyses a query that may refer to itself. It returns false if the
// query has not the form, and so can't.
func (a *analysis) recursive(x *pg.CommonTableExpr, c *cte, s *scope) bool {
	sel := x.Ctequery.GetSelectStmt()
	if sel == nil || sel.Op != pg.SetOperation_SETOP_UNION || sel.WithClause != nil && len(sel.WithClause.Ctes) > 0 {
		if sel != nil && sel.Op == pg.SetOperation_SETOP_UNION {
			// WITH inside the recursive query itself: its scope is below the query.
			inner := &scope{up: s, q: &query{}}
			a.with(sel.WithClause, inner)
			return a.recursiveUnion(x, c, s, inner, sel)
		}
		return false
	}
	return a.recursiveUnion(x, c, s, &scope{up: s, q: &query{}}, sel)
}

func (a *analysis) recursiveUnion(x *pg.CommonTableExpr, c *cte, s, inner *scope, sel *pg.SelectStmt) bool {
	// The first part does not see the query.
	s.ctes = append(s.ctes, c)
	c.cols = renamed(a, a.selectStmt(sel.Larg, inner), x)
	a.searchCycle(x, c)
	c.hidden = false
	base := len(c.cols)
	for pass := 0; ; pass++ {
		if pass == maxPasses {
			a.fail("54001", x.Location, "the recursive query is too involved")
		}
		right := a.selectStmt(sel.Rarg, inner)
		changed := false
		for i := range right {
			if i < base && right[i].mask != nil && c.cols[i].mask == nil {
				c.cols[i].mask, c.cols[i].raw = right[i].mask, right[i].raw
				changed = true
			}
			if i < base && c.cols[i].typ != right[i].typ && c.cols[i].mask == nil {
				c.cols[i].typ = 0
			}
			if i < base {
				c.cols[i].rel, c.cols[i].col = nil, nil
			}
		}
		if !changed {
			break
		}
	}
	if !sel.All {
		for i := range c.cols {
			a.condition(c.cols[i].value, "UNION, INTERSECT or EXCEPT")
		}
	}
	a.outputClauses(sel, inner, c.cols)
	return true
}

// searchCycle adds the columns of SEARCH and CYCLE.
func (a *analysis) searchCycle(x *pg.CommonTableExpr, c *cte) {
	use := func(list []*pg.Node, where string) {
		for _, n := range list {
			for i := range c.cols {
				if c.cols[i].name == n.GetString_().GetSval() {
					a.condition(c.cols[i].value, where)
				}
			}
		}
	}
	if sc := x.SearchClause; sc != nil {
		use(sc.SearchColList, "SEARCH")
		c.cols = append(c.cols, column{name: sc.SearchSeqColumn})
	}
	if cy := x.CycleClause; cy != nil {
		use(cy.CycleColList, "CYCLE")
		if cy.CycleMarkValue != nil {
			a.expr(cy.CycleMarkValue, &scope{q: &query{}})
		}
		if cy.CycleMarkDefault != nil {
			a.expr(cy.CycleMarkDefault, &scope{q: &query{}})
		}
		c.cols = append(c.cols, column{name: cy.CycleMarkColumn}, column{name: cy.CyclePathColumn})
	}
}

// locking is FOR UPDATE and its kind.
func (a *analysis) locking(n *pg.Node, s *scope, from []*reference) {
	l := n.GetLockingClause()
	if l == nil {
		a.unknown(n)
	}
	if len(l.LockedRels) == 0 {
		for _, it := range s.items {
			a.lockItem(it, from)
		}
		return
	}
	for _, n := range l.LockedRels {
		rv := n.GetRangeVar()
		if rv == nil {
			a.unknown(n)
		}
		found := false
		for _, it := range s.items {
			if it.rels && it.alias == rv.Relname {
				a.lockItem(it, from)
				found = true
			}
		}
		if !found {
			a.fail("42P01", rv.Location, "relation %q in FOR UPDATE is not in the FROM clause", rv.Relname)
		}
	}
}

// lockItem notes the lock of an item; of a sub-select it is all that FROM reads.
func (a *analysis) lockItem(it *item, from []*reference) {
	if it.ref != nil {
		a.lock(it.ref.rel)
		a.outside(it.ref.rel, "FOR UPDATE")
		return
	}
	for _, r := range from {
		if r.hasSystem() {
			a.lock(r.rel)
			a.outside(r.rel, "FOR UPDATE")
		}
	}
}
