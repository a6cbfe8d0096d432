package sql

import (
	"strconv"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// from analyses a FROM clause, and leaves its items in s.
func (a *analysis) from(list []*pg.Node, s *scope) {
	for _, n := range list {
		s.items = append(s.items, a.fromItem(n, s)...)
	}
}

// fromItem returns what one element of FROM adds to the names. s holds what
// stands left of it, for LATERAL.
func (a *analysis) fromItem(n *pg.Node, s *scope) []*item {
	a.step()
	switch x := n.Node.(type) {
	case *pg.Node_RangeVar:
		return []*item{a.rangeVar(x.RangeVar, nil, s)}
	case *pg.Node_RangeTableSample:
		t := x.RangeTableSample
		rv := t.Relation.GetRangeVar()
		if rv == nil {
			a.unknown(t.Relation)
		}
		it := a.rangeVar(rv, t, s)
		if it.ref == nil {
			a.fail("42601", t.Location, "TABLESAMPLE applies to tables only")
		}
		a.sampleMethod(t)
		for _, e := range t.Args {
			a.condition(a.expr(e, s), "TABLESAMPLE")
		}
		if t.Repeatable != nil {
			a.condition(a.expr(t.Repeatable, s), "TABLESAMPLE")
		}
		return []*item{it}
	case *pg.Node_RangeSubselect:
		r := x.RangeSubselect
		sel := r.Subquery.GetSelectStmt()
		if sel == nil {
			a.unknown(r.Subquery)
		}
		cols := a.selectStmt(sel, outer(s, r.Lateral))
		return []*item{a.derived(r.Alias, cols)}
	case *pg.Node_RangeFunction:
		return []*item{a.rangeFunction(x.RangeFunction, s)}
	case *pg.Node_RangeTableFunc:
		return []*item{a.xmlTable(x.RangeTableFunc, s)}
	case *pg.Node_JsonTable:
		a.sinceVersion(n)
		return []*item{a.jsonTable(x.JsonTable, s)}
	case *pg.Node_JoinExpr:
		return a.join(x.JoinExpr, s)
	}
	a.unknown(n)
	return nil
}

// outer is what a sub-select in FROM sees: the level itself only if LATERAL.
func outer(s *scope, lateral bool) *scope {
	if lateral {
		return s
	}
	return &scope{up: s.up, ctes: s.ctes, q: &query{}}
}

// derived is the item of something that is not a relation.
func (a *analysis) derived(alias *pg.Alias, cols []column) *item {
	a.wide(len(cols))
	it := &item{rels: true, names: true, cols: make([]column, len(cols))}
	copy(it.cols, cols)
	for i := range it.cols {
		it.cols[i].ref, it.cols[i].from, it.cols[i].inline = nil, nil, false
	}
	if alias != nil {
		it.alias = alias.Aliasname
		a.rename(it, alias)
	} else {
		it.rels = false
	}
	return it
}

// rename applies the column list of an alias.
func (a *analysis) rename(it *item, alias *pg.Alias) {
	if len(alias.Colnames) > len(it.cols) {
		a.fail("42P10", -1, "table %q has fewer columns than its alias names", alias.Aliasname)
	}
	for i, n := range alias.Colnames {
		it.cols[i].name = n.GetString_().GetSval()
	}
}

// rangeVar analyses a name in FROM: a WITH query or a relation.
func (a *analysis) rangeVar(rv *pg.RangeVar, sample *pg.RangeTableSample, s *scope) *item {
	if rv.Schemaname == "" && rv.Catalogname == "" {
		if c := s.cte(rv.Relname); c != nil {
			alias := rv.Alias
			if alias == nil {
				alias = &pg.Alias{Aliasname: rv.Relname}
			}
			if c.cols == nil && c.dml {
				a.fail("0A000", rv.Location, "WITH query %q does not have a RETURNING clause", c.name)
			}
			return a.derived(alias, c.cols)
		}
	}
	rel := a.relation(rv)
	if !rel.Readable() {
		a.fail("42809", rv.Location, "%s is not a table", rel.object())
	}
	if rel.Kind == Toast {
		a.fail("42501", rv.Location, "TOAST tables may not be read")
	}
	ref := a.reference(rel, rv)
	ref.sample = sample
	return a.relationItem(ref, rv.Alias)
}

// reference returns what is known of a place in the text. The same place may be
// analysed more than once, as in the recursive part of a WITH query.
func (a *analysis) reference(rel *Relation, rv *pg.RangeVar) *reference {
	if ref := a.refs[rv]; ref != nil {
		return ref
	}
	ref := &reference{rel: rel, rv: rv, masks: a.masksOf(rel), rows: a.rowsOf(rel)}
	if a.refs == nil {
		a.refs = make(map[*pg.RangeVar]*reference)
	}
	a.refs[rv] = ref
	a.order = append(a.order, ref)
	a.shadow(ref)
	return ref
}

// relationItem is the item of a relation, with its live columns.
func (a *analysis) relationItem(ref *reference, alias *pg.Alias) *item {
	rel := ref.rel
	it := &item{alias: rel.Name, schema: rel.Schema, ref: ref, rels: true, names: true}
	a.wide(len(rel.Columns))
	it.cols = make([]column, 0, len(rel.Columns))
	for i := range rel.Columns {
		c := &rel.Columns[i]
		if c.Dropped {
			continue
		}
		col := column{name: c.Name, ref: ref, index: i, value: value{typ: c.Type, rel: rel, col: c}}
		if ref.masks != nil && ref.masks[i] != nil {
			col.mask, col.raw = ref.masks[i], ref.target
		}
		it.cols = append(it.cols, col)
	}
	if alias != nil {
		it.alias, it.schema = alias.Aliasname, ""
		a.rename(it, alias)
	}
	return it
}

// join analyses a JOIN.
func (a *analysis) join(j *pg.JoinExpr, s *scope) []*item {
	mark := len(a.order)
	left := a.fromItem(j.Larg, s)
	outerItems := s.items
	s.items = append(append([]*item(nil), outerItems...), left...)
	right := a.fromItem(j.Rarg, s)
	s.items = outerItems

	if j.Alias != nil || j.IsNatural {
		for _, r := range a.order[mark:] {
			r.nested = true
		}
	}
	lcols, rcols := joinColumns(left), joinColumns(right)
	a.wide(len(lcols) + len(rcols))
	var using []string
	switch {
	case j.IsNatural:
		for i := range lcols {
			if hasColumn(rcols, lcols[i].name) {
				using = append(using, lcols[i].name)
			}
		}
	default:
		for _, u := range j.UsingClause {
			using = append(using, u.GetString_().GetSval())
		}
	}
	var merged []column
	if len(using) > 0 {
		a.equals()
	}
	for _, name := range using {
		l, r := a.one(lcols, name), a.one(rcols, name)
		m := column{name: name}
		lv, rv := a.use(l), a.use(r)
		a.condition(lv, "JOIN USING")
		a.condition(rv, "JOIN USING")
		m.value = lv.plus(rv)
		switch j.Jointype {
		case pg.JoinType_JOIN_RIGHT:
			m.value, m.ref, m.index = rv, r.ref, r.index
			m.mask = lv.plus(rv).mask
		case pg.JoinType_JOIN_FULL:
		default:
			m.value, m.ref, m.index = lv, l.ref, l.index
			m.mask = lv.plus(rv).mask
		}
		merged = append(merged, m)
	}
	all := append([]column(nil), merged...)
	for _, side := range [][]column{lcols, rcols} {
		for i := range side {
			if !contains(using, side[i].name) {
				all = append(all, side[i])
			}
		}
	}
	inside := append(append([]*item(nil), left...), right...)
	var out []*item
	if j.JoinUsingAlias != nil {
		u := &item{alias: j.JoinUsingAlias.Aliasname, cols: merged, rels: true}
		inside = append(inside, u)
		out = append(out, u)
	}
	if j.Quals != nil {
		on := &scope{up: s.up, items: inside, ctes: s.ctes, q: s.q}
		a.condition(a.expr(j.Quals, on), "JOIN ON")
	}
	if j.Alias != nil {
		it := &item{alias: j.Alias.Aliasname, cols: all, rels: true, names: true}
		a.rename(it, j.Alias)
		return append(out, it)
	}
	// The join's own item carries the columns; those joined can still be named.
	for _, it := range left {
		out = append(out, &item{alias: it.alias, schema: it.schema, cols: it.cols, ref: it.ref, rels: it.rels})
	}
	for _, it := range right {
		out = append(out, &item{alias: it.alias, schema: it.schema, cols: it.cols, ref: it.ref, rels: it.rels})
	}
	// System columns can be named without their table too.
	it := &item{cols: all, names: true}
	for _, x := range append(append([]*item(nil), left...), right...) {
		if x.names && x.ref != nil && x.ref.hasSystem() {
			for _, n := range systemColumns {
				it.cols = append(it.cols, column{name: n, ref: x.ref, index: -1, system: true})
			}
		}
		if x.names && x.ref == nil {
			for i := range x.cols {
				if x.cols[i].system && !hasColumn(it.cols, x.cols[i].name) {
					it.cols = append(it.cols, x.cols[i])
				}
			}
		}
	}
	return append(out, it)
}

var systemColumns = [...]string{"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"}

// joinColumns are the columns that items give to a join, in order.
func joinColumns(items []*item) []column {
	var out []column
	for _, it := range items {
		if !it.names {
			continue
		}
		for _, c := range it.cols {
			if c.system {
				continue
			}
			if it.alias != "" {
				c.from = it
			}
			out = append(out, c)
		}
	}
	return out
}

func hasColumn(cols []column, name string) bool {
	for i := range cols {
		if cols[i].name == name {
			return true
		}
	}
	return false
}

// one finds the column of a USING clause on one side.
func (a *analysis) one(cols []column, name string) *column {
	var found *column
	for i := range cols {
		if cols[i].name == name {
			if found != nil {
				a.fail("42702", -1, "common column name %q appears more than once in one table", name)
			}
			found = &cols[i]
		}
	}
	if found == nil {
		a.fail("42703", -1, "column %q of the USING clause does not exist", name)
	}
	return found
}

// rangeFunction analyses functions in FROM.
func (a *analysis) rangeFunction(f *pg.RangeFunction, s *scope) *item {
	var cols []column
	var open *value
	single := false
	for _, n := range f.Functions {
		items := n.GetList().GetItems()
		if len(items) == 0 {
			a.unknown(n)
		}
		if args := unnested(items, f); args != nil {
			for _, e := range args {
				w := a.expr(e, s)
				cols = append(cols, column{name: "unnest", value: value{mask: w.mask, raw: w.raw, typ: a.element(w.typ)}})
			}
			continue
		}
		v := a.expr(items[0], s)
		var defs []*pg.Node
		if len(items) > 1 {
			defs = items[1].GetList().GetItems()
		}
		alias := f.Alias
		if len(f.Functions) == 1 {
			if len(f.Coldeflist) > 0 {
				defs = f.Coldeflist
			}
		} else {
			alias = nil
		}
		more, unknown, one := a.functionColumns(items[0], v, defs, alias)
		cols = append(cols, more...)
		single = one && len(f.Functions) == 1 && !f.Ordinality
		if unknown {
			open = &value{mask: v.mask, raw: v.raw}
		}
	}
	if f.Ordinality {
		cols = append(cols, column{name: "ordinality", value: value{typ: int8OID}})
	}
	alias := f.Alias
	if alias == nil {
		alias = &pg.Alias{Aliasname: figureName(f.Functions[0].GetList().GetItems()[0])}
	}
	if open != nil {
		// What an alias renames is not known either.
		it := a.derived(&pg.Alias{Aliasname: alias.Aliasname}, cols)
		for _, n := range alias.Colnames {
			it.cols = append(it.cols, column{name: n.GetString_().GetSval(), value: *open})
		}
		it.open = open
		return it
	}
	it := a.derived(alias, cols)
	it.single = single
	return it
}

// unnested returns the arguments of an unnest of several arrays, which the server
// takes for several calls.
func unnested(items []*pg.Node, f *pg.RangeFunction) []*pg.Node {
	c := items[0].GetFuncCall()
	if c == nil || len(c.Funcname) != 1 || c.Funcname[0].GetString_().GetSval() != "unnest" || len(c.Args) < 2 ||
		len(items) > 1 && len(items[1].GetList().GetItems()) > 0 || len(f.Coldeflist) > 0 ||
		len(c.AggOrder) > 0 || c.AggFilter != nil || c.AggStar || c.AggDistinct || c.FuncVariadic || c.Over != nil {
		return nil
	}
	return c.Args
}

// functionColumns tells the columns of a function in FROM, and whether there
// are others that it can't tell.
func (a *analysis) functionColumns(call *pg.Node, v value, defs []*pg.Node, alias *pg.Alias) (cols []column, open, single bool) {
	if len(defs) > 0 {
		for _, d := range defs {
			def := d.GetColumnDef()
			if def == nil {
				a.unknown(d)
			}
			cols = append(cols, column{name: def.Colname, value: value{mask: v.mask, raw: v.raw, typ: a.typeName(def.TypeName)}})
		}
		return cols, false, false
	}
	if v.open {
		return nil, true, false
	}
	if v.row == nil {
		v.row = a.compositeColumns(v)
	}
	if v.row != nil {
		for _, c := range v.row {
			if c.mask == nil {
				c.mask = v.mask
			}
			c.rel, c.col = nil, nil
			cols = append(cols, c)
		}
		return cols, false, false
	}
	name := figureName(call)
	if alias != nil {
		name = alias.Aliasname
	}
	if v.out != "" {
		name = v.out
	}
	return []column{{name: name, value: value{mask: v.mask, raw: v.raw, typ: v.typ}}}, false, true
}

func (a *analysis) xmlTable(t *pg.RangeTableFunc, s *scope) *item {
	v := a.expr(t.Docexpr, s)
	v = v.plus(a.expr(t.Rowexpr, s))
	for _, n := range t.Namespaces {
		v = v.plus(a.expr(n.GetResTarget().GetVal(), s))
	}
	var cols []column
	for _, n := range t.Columns {
		c := n.GetRangeTableFuncCol()
		if c == nil {
			a.unknown(n)
		}
		w := v
		if c.Colexpr != nil {
			w = w.plus(a.expr(c.Colexpr, s))
		}
		if c.Coldefexpr != nil {
			w = w.plus(a.expr(c.Coldefexpr, s))
		}
		col := column{name: c.Colname, value: value{mask: w.mask, raw: w.raw}}
		if c.TypeName != nil {
			col.typ = a.typeName(c.TypeName)
		}
		cols = append(cols, col)
	}
	alias := t.Alias
	if alias == nil {
		alias = &pg.Alias{Aliasname: "xmltable"}
	}
	return a.derived(alias, cols)
}

func (a *analysis) jsonTable(t *pg.JsonTable, s *scope) *item {
	v := a.jsonValue(t.ContextItem, s)
	for _, n := range t.Passing {
		if n.GetJsonArgument() == nil {
			a.unknown(n)
		}
		v = v.plus(a.jsonValue(n.GetJsonArgument().Val, s))
	}
	v = v.plus(a.jsonBehavior(t.OnError, s))
	cols := a.jsonColumns(t.Columns, v, s)
	alias := t.Alias
	if alias == nil {
		alias = &pg.Alias{Aliasname: "json_table"}
	}
	return a.derived(alias, cols)
}

func (a *analysis) jsonColumns(list []*pg.Node, v value, s *scope) []column {
	var cols []column
	for _, n := range list {
		c := n.GetJsonTableColumn()
		if c == nil {
			a.unknown(n)
		}
		if c.Coltype == pg.JsonTableColumnType_JTC_NESTED {
			cols = append(cols, a.jsonColumns(c.Columns, v, s)...)
			continue
		}
		w := v.plus(a.jsonBehavior(c.OnEmpty, s)).plus(a.jsonBehavior(c.OnError, s))
		col := column{name: c.Name, value: value{mask: w.mask, raw: w.raw}}
		if c.TypeName != nil {
			col.typ = a.typeName(c.TypeName)
		}
		cols = append(cols, col)
	}
	return cols
}

// valueColumns names the columns of a VALUES list.
func valueColumns(n int) []column {
	cols := make([]column, n)
	for i := range cols {
		cols[i].name = "column" + strconv.Itoa(i+1)
	}
	return cols
}
