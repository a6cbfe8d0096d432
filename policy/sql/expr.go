package sql

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// OIDs of built-in types that the analysis knows by heart (pg_type.dat).
const (
	boolOID    = 16
	nameOID    = 19
	int8OID    = 20
	int4OID    = 23
	textOID    = 25
	bpcharOID  = 1042
	varcharOID = 1043
	unknownOID = 705
	recordOID  = 2249
)

// expr analyses an expression. What it doesn't know refuses the statement.
func (a *analysis) expr(n *pg.Node, s *scope) value {
	a.step()
	if n == nil {
		return value{}
	}
	switch x := n.Node.(type) {
	case *pg.Node_ColumnRef:
		return a.columnRef(x.ColumnRef, s)
	case *pg.Node_AConst:
		return a.constant(x.AConst)
	case *pg.Node_ParamRef:
		return value{}
	case *pg.Node_TypeCast:
		return a.cast(x.TypeCast, s)
	case *pg.Node_AExpr:
		return a.operator(x.AExpr, s)
	case *pg.Node_FuncCall:
		return a.call(x.FuncCall, s)
	case *pg.Node_BoolExpr:
		for _, e := range x.BoolExpr.Args {
			a.condition(a.expr(e, s), "a condition")
		}
		return value{typ: boolOID}
	case *pg.Node_NullTest:
		a.nullTest(x.NullTest.Arg, s)
		return value{typ: boolOID}
	case *pg.Node_BooleanTest:
		a.condition(a.expr(x.BooleanTest.Arg, s), "a condition")
		return value{typ: boolOID}
	case *pg.Node_CaseExpr:
		return a.caseExpr(x.CaseExpr, s)
	case *pg.Node_CoalesceExpr:
		return a.all(x.CoalesceExpr.Args, s)
	case *pg.Node_MinMaxExpr:
		v := a.all(x.MinMaxExpr.Args, s)
		a.condition(v, "GREATEST or LEAST")
		return v
	case *pg.Node_SubLink:
		return a.subLink(x.SubLink, s)
	case *pg.Node_AArrayExpr:
		v := a.all(x.AArrayExpr.Elements, s)
		return value{mask: v.mask, raw: v.raw, typ: a.arrayOf(v.typ)}
	case *pg.Node_RowExpr:
		return a.row(x.RowExpr.Args, s)
	case *pg.Node_AIndirection:
		return a.indirection(x.AIndirection, s)
	case *pg.Node_CollateClause:
		v := a.expr(x.CollateClause.Arg, s)
		v.rel, v.col = nil, nil
		return v
	case *pg.Node_SqlvalueFunction:
		return value{}
	case *pg.Node_GroupingFunc:
		for _, e := range x.GroupingFunc.Args {
			a.expr(e, s)
		}
		return value{typ: int4OID}
	case *pg.Node_NamedArgExpr:
		return a.expr(x.NamedArgExpr.Arg, s)
	case *pg.Node_SetToDefault:
		return value{}
	case *pg.Node_List:
		return a.all(x.List.Items, s)
	case *pg.Node_MultiAssignRef:
		return a.expr(x.MultiAssignRef.Source, s)
	case *pg.Node_CurrentOfExpr:
		return value{typ: boolOID}
	case *pg.Node_MergeSupportFunc:
		a.sinceVersion(n)
		return value{typ: textOID}
	}
	if v, ok := a.xml(n, s); ok {
		return v
	}
	if v, ok := a.json(n, s); ok {
		return v
	}
	a.unknown(n)
	return value{}
}

// all analyses several expressions that make one value.
func (a *analysis) all(list []*pg.Node, s *scope) value {
	var v value
	for i, n := range list {
		w := a.expr(n, s)
		if i == 0 {
			v = value{mask: w.mask, raw: w.raw, typ: w.typ}
			continue
		}
		typ := v.typ
		v = v.plus(w)
		if typ == w.typ {
			v.typ = typ
		} else if text(typ) {
			v.typ = typ
		} else {
			v.typ = w.typ
		}
	}
	return v
}

func (a *analysis) constant(c *pg.A_Const) value {
	switch c.Val.(type) {
	case *pg.A_Const_Ival:
		a.number(c.Location)
		return value{typ: int4OID}
	case *pg.A_Const_Boolval:
		return value{typ: boolOID}
	case *pg.A_Const_Fval:
		a.number(c.Location)
	}
	return value{}
}

// number refuses what only newer servers read as one number: 1_000 and 0x1F are a
// number and a name to PostgreSQL before 16.
func (a *analysis) number(at int32) {
	if a.c.ServerVersion >= 160000 || at < 0 || int(at) >= len(a.text) {
		return
	}
	rest := strings.TrimLeft(a.text[at:], "+- \t\r\n\f")
	digits := func() {
		rest = strings.TrimLeft(rest, "0123456789")
	}
	digits()
	if strings.HasPrefix(rest, ".") {
		rest = rest[1:]
		digits()
	}
	if len(rest) > 1 && (rest[0] == 'e' || rest[0] == 'E') {
		exponent := strings.TrimLeft(rest[1:], "+-")
		if exponent != "" && exponent[0] >= '0' && exponent[0] <= '9' {
			rest = exponent
			digits()
		}
	}
	if rest != "" && (rest[0] == '_' || rest[0] >= 'a' && rest[0] <= 'z' || rest[0] >= 'A' && rest[0] <= 'Z') {
		a.fail("42601", at, "trailing junk after a number")
	}
}

func isNull(n *pg.Node) bool { return n.GetAConst() != nil && n.GetAConst().Isnull }

// nullTest may look at a masked column: NULL stays NULL in every mask.
func (a *analysis) nullTest(n *pg.Node, s *scope) {
	if n.GetColumnRef() == nil {
		a.condition(a.expr(n, s), "IS NULL over an expression")
		return
	}
	a.untested++
	a.expr(n, s)
	a.untested--
}

func (a *analysis) caseExpr(c *pg.CaseExpr, s *scope) value {
	if c.Arg != nil {
		a.equals()
		a.condition(a.expr(c.Arg, s), "CASE")
	}
	var v value
	var typ uint32
	for _, n := range c.Args {
		w := n.GetCaseWhen()
		if w == nil {
			a.unknown(n)
		}
		a.condition(a.expr(w.Expr, s), "CASE")
		r := a.expr(w.Result, s)
		if typ == 0 {
			typ = r.typ
		}
		v = v.plus(r)
	}
	if c.Defresult != nil {
		r := a.expr(c.Defresult, s)
		if typ == 0 {
			typ = r.typ
		}
		v = v.plus(r)
	}
	v.typ = typ
	return v
}

func (a *analysis) subLink(l *pg.SubLink, s *scope) value {
	sel := l.Subselect.GetSelectStmt()
	if sel == nil {
		a.unknown(l.Subselect)
	}
	cols := a.selectStmt(sel, s)
	switch l.SubLinkType {
	case pg.SubLinkType_EXISTS_SUBLINK:
		return value{typ: boolOID}
	case pg.SubLinkType_EXPR_SUBLINK, pg.SubLinkType_ARRAY_SUBLINK:
		var v value
		for i := range cols {
			v = v.plus(cols[i].value)
		}
		if l.SubLinkType == pg.SubLinkType_EXPR_SUBLINK && len(cols) == 1 {
			v.typ, v.row = cols[0].typ, cols[0].row
		}
		return v
	case pg.SubLinkType_ANY_SUBLINK, pg.SubLinkType_ALL_SUBLINK:
		if len(l.OperName) > 0 { // none: IN
			a.operatorName(l.OperName, -1)
		} else {
			a.operatorName([]*pg.Node{pg.MakeStrNode("=")}, -1)
		}
		if l.Testexpr != nil {
			a.condition(a.expr(l.Testexpr, s), "IN, ANY or ALL")
		}
		for i := range cols {
			a.condition(cols[i].value, "IN, ANY or ALL")
		}
		return value{typ: boolOID}
	case pg.SubLinkType_ROWCOMPARE_SUBLINK:
		a.operatorName(l.OperName, -1)
		a.condition(a.expr(l.Testexpr, s), "a comparison")
		for i := range cols {
			a.condition(cols[i].value, "a comparison")
		}
		return value{typ: boolOID}
	}
	a.fail("0A000", l.Location, "sub-selects of kind %s are not supported", l.SubLinkType)
	return value{}
}

// row is ROW(...), with stars spread out.
func (a *analysis) row(args []*pg.Node, s *scope) value {
	var v value
	for _, n := range args {
		if ref := n.GetColumnRef(); ref != nil && isStar(ref) {
			for _, c := range a.starColumns(ref, s, false) {
				v = v.plus(c.value)
				v.row = append(v.row, c)
			}
			continue
		}
		w := a.expr(n, s)
		row := append(v.row, column{name: "f" + itoa(len(v.row)+1), value: w})
		v = v.plus(w)
		v.row = row
	}
	return v
}

// indirection is (expr).field, (expr)[i] and what is built of them.
func (a *analysis) indirection(x *pg.A_Indirection, s *scope) value {
	v := a.expr(x.Arg, s)
	for _, n := range x.Indirection {
		switch y := n.Node.(type) {
		case *pg.Node_String_:
			v = a.field(v, y.String_.Sval)
		case *pg.Node_AIndices:
			w := value{mask: v.mask, raw: v.raw, typ: a.element(v.typ)}
			for _, e := range []*pg.Node{y.AIndices.Lidx, y.AIndices.Uidx} {
				if e != nil {
					w2 := a.expr(e, s)
					a.condition(w2, "a subscript")
				}
			}
			v = w
		default:
			a.unknown(n)
		}
	}
	return v
}

// field picks a column out of a row, or calls a function on it: (x).f is f(x).
func (a *analysis) field(v value, name string) value {
	if v.row == nil {
		v.row = a.compositeColumns(v)
	}
	for i := range v.row {
		if v.row[i].name == name {
			return v.row[i].value
		}
	}
	if v.row == nil && len(a.c.ResolveFunction(a.path, name)) == 0 {
		if a.userFunction(name) { // which another path may find
			a.byPath = true
			a.needPath(-1)
		}
		return value{mask: v.mask, raw: v.raw}
	}
	return a.attribute(v, name)
}

// compositeColumns returns the columns of a value of a composite type.
func (a *analysis) compositeColumns(v value) []column {
	t := a.c.BaseType(v.typ)
	if t == nil || t.Relation == 0 {
		return nil
	}
	rel := a.c.RelationByOID(t.Relation)
	if rel == nil {
		return nil
	}
	var cols []column
	for i := range rel.Columns {
		if c := &rel.Columns[i]; !c.Dropped {
			cols = append(cols, column{name: c.Name, value: value{mask: v.mask, raw: v.raw, typ: c.Type}})
		}
	}
	return cols
}

// arrayOf is the array type of an element's type. An array of arrays has the
// type of its elements.
func (a *analysis) arrayOf(typ uint32) uint32 {
	t := a.c.TypeByOID(typ)
	if t == nil || t.Category == "A" {
		return typ
	}
	return t.Array
}

func (a *analysis) element(typ uint32) uint32 {
	if t := a.c.BaseType(typ); t != nil {
		return t.Element
	}
	return 0
}

// columnRef resolves a name in an expression.
func (a *analysis) columnRef(x *pg.ColumnRef, s *scope) value {
	if isStar(x) {
		if len(x.Fields) == 1 {
			a.fail("42601", x.Location, "* is not allowed here")
		}
		it, at := a.starItem(x, s)
		return a.itemRow(x, it, at)
	}
	f := fieldNames(x)
	switch len(f) {
	case 1:
		if c, it, at := a.unqualified(s, f[0], x.Location); c != nil {
			return a.resolved(x, f, c, it, at)
		}
		if it, at := a.named(s, "", f[0], x.Location); it != nil {
			return a.rowReference(x, f, it, at)
		}
		if v, ok := openValue(s); ok {
			return v
		}
		a.missing("42703", x.Location, "column %q does not exist", f[0])
	case 2, 3, 4:
		if len(f) == 4 && f[0] != a.c.Database {
			a.fail("0A000", x.Location, "references to other databases are not supported")
		}
		schema := ""
		if len(f) >= 3 {
			schema = f[len(f)-3]
		}
		it, at := a.named(s, schema, f[len(f)-2], x.Location)
		if it == nil {
			a.missing("42P01", x.Location, "missing FROM-clause entry for table %q", f[len(f)-2])
		}
		name := f[len(f)-1]
		if c := a.inItem(it, name, x.Location); c != nil {
			return a.resolved(x, f, c, it, at)
		}
		if it.open != nil {
			return *it.open
		}
		a.strip(x, len(f), it)
		return a.attribute(a.itemRow(x, it, at), name)
	}
	a.fail("42601", x.Location, "improper qualified name")
	return value{}
}

// resolved is a reference to a column that was found.
func (a *analysis) resolved(x *pg.ColumnRef, f []string, c *column, it *item, at *scope) value {
	v := a.use(c)
	a.last = c
	a.strip(x, len(f), it)
	a.free(f, c, it, at)
	if c.inline && v.mask != nil {
		a.inline(x, f, c)
	}
	if v.raw && a.untested == 0 {
		a.rawUse(v)
	}
	return v
}

// rowReference is the name of a FROM item used as a value.
func (a *analysis) rowReference(x *pg.ColumnRef, f []string, it *item, at *scope) value {
	if it.single && len(it.cols) == 1 {
		return a.resolved(x, f, &it.cols[0], it, at)
	}
	return a.itemRow(x, it, at)
}

// itemRow is a FROM item as one value. That of a statement's own target holds
// true values, and cannot be replaced.
func (a *analysis) itemRow(x *pg.ColumnRef, it *item, at *scope) value {
	if it.open != nil {
		return *it.open
	}
	v := a.wholeRow(it)
	if inlined(it) {
		a.fail("42501", x.Location, "a whole row of %s cannot be returned: name its columns", it.alias)
	}
	for i := range it.cols {
		a.free([]string{it.alias, it.cols[i].name}, &it.cols[i], it, at)
	}
	if v.raw {
		a.rawUse(v)
	}
	return v
}

func inlined(it *item) bool {
	for i := range it.cols {
		if it.cols[i].inline && it.cols[i].mask != nil {
			return true
		}
	}
	return false
}

// free notes a column that stands where only the primary key may make it legal.
func (a *analysis) free(f []string, c *column, it *item, at *scope) {
	if at == nil || at.q == nil || at.q.loose == 0 || c.ref == nil || c.system || !c.ref.spliced() {
		return
	}
	if len(f) > 2 {
		f = f[len(f)-2:]
	}
	text := quote(f[0])
	for _, p := range f[1:] {
		text += "." + quote(p)
	}
	at.q.free = append(at.q.free, freeColumn{ref: c.ref, index: c.index, text: text})
}

func openValue(s *scope) (value, bool) {
	for ; s != nil; s = s.up {
		for _, it := range s.items {
			if it.open != nil && it.names {
				return *it.open, true
			}
		}
	}
	return value{}, false
}

func isStar(x *pg.ColumnRef) bool {
	return len(x.Fields) > 0 && x.Fields[len(x.Fields)-1].GetAStar() != nil
}

func fieldNames(x *pg.ColumnRef) []string {
	f := make([]string, 0, 4)
	for _, n := range x.Fields {
		f = append(f, n.GetString_().GetSval())
	}
	return f
}

// starItem resolves the t of "t.*".
func (a *analysis) starItem(x *pg.ColumnRef, s *scope) (*item, *scope) {
	f := fieldNames(x)
	f = f[:len(f)-1]
	schema := ""
	switch len(f) {
	case 1:
	case 2:
		schema = f[0]
	case 3:
		if f[0] != a.c.Database {
			a.fail("0A000", x.Location, "references to other databases are not supported")
		}
		schema = f[1]
	default:
		a.fail("42601", x.Location, "improper qualified name")
	}
	it, at := a.named(s, schema, f[len(f)-1], x.Location)
	if it == nil {
		a.missing("42P01", x.Location, "missing FROM-clause entry for table %q", f[len(f)-1])
	}
	a.strip(x, len(f)+1, it)
	return it, at
}

// starColumns spreads a star out. edit says that it stands in a list where it
// can be written as the columns.
func (a *analysis) starColumns(x *pg.ColumnRef, s *scope, edit bool) []column {
	var items []*item
	at := s
	if len(x.Fields) > 1 {
		it, level := a.starItem(x, s)
		items, at = []*item{it}, level
	} else {
		for _, it := range s.items {
			if it.names {
				items = append(items, it)
			}
		}
		if len(items) == 0 {
			a.fail("42601", x.Location, "SELECT * with no tables specified is not valid")
		}
	}
	var out []column
	for _, it := range items {
		a.wide(len(it.cols))
		if it.open != nil {
			a.fail("0A000", x.Location, "the columns of %q are not known: name them", it.alias)
		}
		for i := range it.cols {
			c := &it.cols[i]
			if c.system {
				continue
			}
			v := a.use(c)
			if v.raw {
				a.rawUse(v)
			}
			name := []string{it.alias, c.name}
			if it.alias == "" {
				name = name[1:]
				if c.from != nil {
					name = []string{c.from.alias, c.name}
				}
			}
			a.free(name, c, it, at)
			out = append(out, column{name: c.name, value: v, ref: c.ref, index: c.index, inline: c.inline, from: c.from})
		}
	}
	if edit {
		a.stars = append(a.stars, star{x: x, items: items})
	} else if !edit {
		for _, it := range items {
			if inlined(it) {
				a.fail("42501", x.Location, "a whole row of %s cannot be returned: name its columns", it.alias)
			}
			if it.ref != nil {
				it.ref.rowUsed = true
			}
		}
	}
	return out
}
