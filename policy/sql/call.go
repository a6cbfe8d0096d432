package sql

import (
	"strconv"
	"strings"

	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

func itoa(n int) string { return strconv.Itoa(n) }

// text reports whether values of a type are text, so that another type's input
// function would quote them in its error.
func text(typ uint32) bool {
	switch typ {
	case textOID, varcharOID, bpcharOID, nameOID, unknownOID, 18:
		return true
	}
	return false
}

func names(list []*pg.Node) []string {
	out := make([]string, 0, 2)
	for _, n := range list {
		out = append(out, n.GetString_().GetSval())
	}
	return out
}

// functions resolves the name of a call to all that it may mean.
func (a *analysis) functions(f []string, at int32) []*Function {
	var all []*Function
	switch len(f) {
	case 1:
		all = a.c.ResolveFunction(a.path, f[0])
		if a.userFunction(f[0]) {
			a.byPath = true
			if _, open := a.v.Open(); open {
				a.leaves = true // nobody asks for the path there, so it may be any
			}
			a.needPath(at)
		}
	case 3:
		if f[0] != a.c.Database {
			a.fail("0A000", at, "references to other databases are not supported")
		}
		f = f[1:]
		fallthrough
	case 2:
		if IsTemp(f[0]) {
			a.fail("42501", at, "functions of temporary schemas may not be called")
		}
		all = a.c.FunctionsIn(f[0], f[1])
	default:
		a.fail("42601", at, "improper function name")
	}
	return all
}

// userFunction reports whether anything but PostgreSQL's own has that name, so
// that the search path may matter.
func (a *analysis) userFunction(name string) bool {
	for _, f := range a.c.FunctionsNamed(name) {
		if !f.System() || f.Schema != "pg_catalog" {
			return true
		}
	}
	return false
}

// allowed checks that all that a call may mean may be called.
func (a *analysis) allowed(all []*Function, x *pg.FuncCall, at int32) {
	for _, f := range all {
		if f.Volatility == "v" {
			a.volatile = true
		}
		a.runsCode(f)
		if f.System() && safeFunction(f) || a.listed(f) {
			// It may set search_path for good, unless it has no body in SQL. One that
			// is IMMUTABLE and does, lies about more than that.
			a.calls = a.calls || !f.System() && f.Volatility != "i" && f.Language != "c" && f.Language != "internal"
			for _, oid := range f.Calls {
				a.allowedCode(a.c.FunctionByOID(oid), "function "+f.Schema+"."+f.Name)
			}
			continue
		}
		if f.System() && (f.Name == "set_config" && x != nil || a.relationCall(f, x)) {
			continue
		}
		if a.depth > 0 || f.System() {
			a.denyFunction(f, at)
		}
		a.calls = true
		a.access(protocol.Access{Action: protocol.Call, Object: f.object()})
	}
}

// listed reports whether the policy allows to call a function.
func (a *analysis) listed(f *Function) bool {
	if !a.v.Function(f.Schema, f.Name) {
		return false
	}
	if a.o.Called != nil {
		a.o.Called(f)
	}
	return true
}

func (f *Function) object() protocol.Object {
	return protocol.Object{Kind: protocol.Function, Schema: f.Schema, Name: f.Name}
}

func (a *analysis) denyFunction(f *Function, at int32) {
	hint := "Use built-in functions that compute on their arguments only, or ask for the function to be listed."
	switch {
	case f.Name == "lastval" && f.System():
		hint = "Use INSERT ... RETURNING, or currval with the name of the sequence."
	case strings.HasPrefix(f.Name, "pg_sleep") && f.System():
		hint = "Wait in the client, between statements."
	case strings.Contains(f.Name, "advisory") && f.System():
		hint = "Lock rows with SELECT ... FOR UPDATE, or ask for " + f.object().String() + " to be listed under functions of the policy."
	}
	a.refuse(&protocol.Refusal{Code: "42501", Position: a.position(at),
		Message: "function " + f.object().String() + " is not allowed",
		Detail:  "It is not one of the functions that are known to be safe, and no policy lists it under functions.",
		Hint:    hint})
}

// allowedCode checks what runs unseen: behind an operator, a cast, a type or a
// view. C code was installed by a superuser as part of an extension and computes
// on its arguments; anything else has to be listed.
func (a *analysis) allowedCode(f *Function, of string) {
	if f == nil {
		a.missing("42883", -1, "%s runs a function that is not known", of)
	}
	a.leaves = a.leaves || !f.traceless() && !f.native()
	if f.System() && safeFunction(f) || f.Language == "c" || f.Language == "internal" || a.listed(f) {
		return
	}
	if f.Language == "sql" && f.System() {
		return
	}
	a.refuse(&protocol.Refusal{Code: "42501",
		Message: of + " runs function " + f.object().String() + ", which is not allowed",
		Hint:    "Ask for the function to be listed under functions of the policy."})
}

// call analyses a function call.
func (a *analysis) call(x *pg.FuncCall, s *scope) value {
	f := names(x.Funcname)
	all := fitting(a.functions(f, x.Location), x)
	aggregate := false
	for _, fn := range all {
		aggregate = aggregate || fn.Kind == AggregateFunction
		if fn.Kind == Procedure && !a.procedures {
			a.fail("42809", x.Location, "%s is a procedure: use CALL", fn.object())
		}
	}
	if len(all) > 0 {
		a.allowed(all, x, x.Location)
	}
	loose := 0
	if aggregate && x.Over == nil && s != nil && s.q != nil {
		loose, s.q.loose = s.q.loose, 0
	}
	var v value
	var args []value
	counted := f[len(f)-1] == "count" && len(x.Args) == 1 && !x.AggDistinct
	if counted && x.Args[0].GetColumnRef() != nil {
		a.untested++
	}
	for _, n := range x.Args {
		w := a.argument(n, s)
		args = append(args, w)
		v = v.plus(w)
	}
	if counted && x.Args[0].GetColumnRef() != nil {
		a.untested--
	}
	if len(all) == 0 {
		return a.notFunction(x, f, args)
	}
	a.arguments(all, x, args)
	if x.AggDistinct {
		a.condition(v, "DISTINCT in an aggregate")
	}
	for _, n := range x.AggOrder {
		w := a.expr(n.GetSortBy().GetNode(), s)
		a.sortOperator(n.GetSortBy())
		if x.AggWithinGroup {
			v = v.plus(w)
			if f[len(f)-1] != "mode" {
				a.condition(w, "WITHIN GROUP")
			}
			continue
		}
		a.condition(w, "ORDER BY in an aggregate")
	}
	if x.AggFilter != nil {
		a.condition(a.expr(x.AggFilter, s), "FILTER")
	}
	if aggregate && x.Over == nil && s != nil && s.q != nil {
		s.q.loose = loose
	}
	if x.Over != nil {
		a.window(x.Over, s)
	}
	if counted {
		if v.mask != nil && x.Args[0].GetColumnRef() == nil {
			a.condition(v, "count of an expression")
		}
		return value{typ: int8OID}
	}
	if f[len(f)-1] == "generate_series" {
		a.condition(v, "generate_series") // how many rows there are depends on it
	}
	out := a.result(all, args)
	if comparing[f[len(f)-1]] {
		a.condition(out, "a comparison by function "+f[len(f)-1])
	}
	if out.typ == boolOID && !aggregate {
		a.condition(out, "a comparison by function "+f[len(f)-1])
		return value{typ: boolOID}
	}
	return out
}

// fitting leaves out what the server cannot pick by the number of arguments.
func fitting(all []*Function, x *pg.FuncCall) []*Function {
	if x.AggWithinGroup || x.FuncVariadic {
		return all
	}
	out := filter(all, func(f *Function) bool {
		return f.Variadic || f.Kind == Procedure || len(x.Args) <= len(f.Args) && len(x.Args) >= len(f.Args)-f.Defaults
	})
	if len(out) == 0 {
		return all
	}
	return out
}

// argument is one argument of a call, where "t.*" is a row.
func (a *analysis) argument(n *pg.Node, s *scope) value {
	if ref := n.GetColumnRef(); ref != nil && isStar(ref) && len(ref.Fields) > 1 {
		var v value
		for _, c := range a.starColumns(ref, s, false) {
			v = v.plus(c.value)
			v.row = append(v.row, c)
		}
		return v
	}
	return a.expr(n, s)
}

// result is the value of a call of one of all.
func (a *analysis) result(all []*Function, args []value) value {
	var v value
	for i := range args {
		v = v.plus(args[i])
	}
	all = a.plausible(all, args)
	out := value{mask: v.mask, raw: v.raw, typ: all[0].Result}
	for _, f := range all[1:] {
		if f.Result != out.typ {
			out.typ = 0
		}
	}
	if o := all[0].Outputs; len(o) > 1 {
		for _, f := range all[1:] {
			if !sameOutputs(o, f.Outputs) {
				out.open = true
				return out
			}
		}
		for i := range o {
			name := o[i].Name
			if name == "" {
				name = "column" + itoa(i+1)
			}
			out.row = append(out.row, column{name: name, value: value{mask: v.mask, raw: v.raw, typ: o[i].Type}})
		}
		return out
	}
	if o := all[0].Outputs; len(o) == 1 && len(all) == 1 {
		out.out = o[0].Name
	}
	for _, f := range all {
		t := a.c.TypeByOID(f.Result)
		switch {
		case t == nil || f.Result == recordOID && len(f.Outputs) == 0:
			out.open = true
		case t.Kind == CompositeKind && out.typ == 0:
			out.open = true
		case t.Kind == PseudoType && len(all) == 1:
			out.typ = a.polymorphic(f, args)
			switch r := a.c.TypeByOID(out.typ); {
			case rowArgument(f, args) != nil:
				out.row = rowArgument(f, args)
			case r == nil:
				out.open = true
			case r.Kind == CompositeKind:
				out.row = a.compositeColumns(out)
			}
		case t.Kind == PseudoType:
			out.typ, out.open = 0, true
		}
	}
	for i := range out.row {
		if out.row[i].mask == nil {
			out.row[i].mask = v.mask
		}
	}
	return out
}

// plausible leaves out those of all that the server cannot pick: by the number of
// arguments, and where an array stands for none or the reverse.
func (a *analysis) plausible(all []*Function, args []value) []*Function {
	if len(all) == 1 {
		return all
	}
	out := filter(all, func(f *Function) bool {
		if len(args) < len(f.Args)-f.Defaults || len(args) > len(f.Args) && !f.Variadic {
			return false
		}
		for i := range args {
			t := a.c.BaseType(args[i].typ)
			if i >= len(f.Args) || f.Variadic || t == nil {
				continue
			}
			p := a.c.TypeByOID(f.Args[i])
			array := anyArray[f.Args[i]] || p != nil && p.Category == "A"
			if anyRange[f.Args[i]] && t.Category != "R" {
				return false
			}
			if array != (t.Category == "A") && !anyElement[f.Args[i]] && !(p != nil && p.Kind == PseudoType && !array) {
				return false
			}
		}
		return true
	})
	if len(out) == 0 {
		return all
	}
	return out
}

// Polymorphic pseudo-types (pg_type.dat), by what they stand for.
var (
	anyElement = map[uint32]bool{2283: true, 2776: true, 3500: true, 5077: true, 5079: true}
	anyArray   = map[uint32]bool{2277: true, 5078: true}
	anyRange   = map[uint32]bool{3831: true, 4537: true, 4538: true, 5080: true}
)

// polymorphic is the type that a result of a pseudo-type has, 0 if it can't be told.
func (a *analysis) polymorphic(f *Function, args []value) uint32 {
	for i := range args {
		if i >= len(f.Args) || args[i].typ == 0 {
			continue
		}
		var element uint32
		switch {
		case anyElement[f.Args[i]]:
			element = args[i].typ
		case anyArray[f.Args[i]]:
			element = a.element(args[i].typ)
		default:
			continue
		}
		switch {
		case element == 0:
		case anyElement[f.Result]:
			return element
		case anyArray[f.Result]:
			return a.arrayOf(element)
		}
	}
	if !anyElement[f.Result] && !anyArray[f.Result] {
		return f.Result
	}
	return 0
}

// rowArgument returns the columns of the row that f makes another one of.
func rowArgument(f *Function, args []value) []column {
	for i := range args {
		if i < len(f.Args) && anyElement[f.Args[i]] && anyElement[f.Result] && args[i].row != nil {
			return append([]column(nil), args[i].row...)
		}
	}
	return nil
}

func sameOutputs(a, b []Output) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

// notFunction is f(x) where f is no function: a column of the row x, or a type.
func (a *analysis) notFunction(x *pg.FuncCall, f []string, args []value) value {
	if len(args) == 1 && len(f) == 1 {
		for i := range args[0].row {
			if args[0].row[i].name == f[0] {
				return args[0].row[i].value
			}
		}
	}
	if len(args) == 1 {
		if t := a.typeByName(f); t != nil {
			a.usedType(t, x.Location)
			return a.castTo(args[0], t, x.Location)
		}
	}
	a.missing("42883", x.Location, "function %s is not there or not allowed", joinNames(f))
	return value{}
}

// attribute is x.f where f is no column: the call f(x).
func (a *analysis) attribute(v value, name string) value {
	all := a.functions([]string{name}, -1)
	if len(all) == 0 {
		a.missing("42703", -1, "column %q does not exist", name)
	}
	a.allowed(all, nil, -1)
	if traits(all)&(TraitSetting|TraitRelation|TraitSQL) != 0 {
		a.denyFunction(all[0], -1)
	}
	return a.result(all, []value{v})
}

// window analyses OVER (...), or a WINDOW clause's entry.
func (a *analysis) window(w *pg.WindowDef, s *scope) {
	for _, n := range w.PartitionClause {
		a.condition(a.expr(n, s), "PARTITION BY")
	}
	for _, n := range w.OrderClause {
		a.condition(a.expr(n.GetSortBy().GetNode(), s), "ORDER BY of a window")
		a.sortOperator(n.GetSortBy())
	}
	if w.StartOffset != nil {
		a.condition(a.expr(w.StartOffset, s), "a window frame")
	}
	if w.EndOffset != nil {
		a.condition(a.expr(w.EndOffset, s), "a window frame")
	}
}

func (a *analysis) sortOperator(b *pg.SortBy) {
	if b == nil {
		a.fail("0A000", -1, "an ORDER BY is not understood")
	}
	if len(b.UseOp) > 0 {
		a.operatorName(b.UseOp, b.Location)
	}
}

// operatorName resolves an operator, checks what runs behind it, and reports
// whether its result is always boolean.
func (a *analysis) operatorName(list []*pg.Node, at int32) bool {
	f := names(list)
	var all []*Operator
	switch len(f) {
	case 1:
		all = a.c.ResolveOperator(a.path, f[0])
		for _, o := range a.c.OperatorsNamed(f[0]) {
			if !o.System() {
				a.byPath = true
				a.needPath(at)
				break
			}
		}
	case 2:
		for _, o := range a.c.OperatorsNamed(f[1]) {
			if o.Schema == f[0] {
				all = append(all, o)
			}
		}
	default:
		a.fail("42601", at, "improper operator name")
	}
	if len(all) == 0 {
		a.missing("42883", at, "operator %s is not there or not allowed", joinNames(f))
	}
	boolean := true
	for _, o := range all {
		boolean = boolean && o.Result == boolOID
		if !o.System() {
			a.allowedCode(a.c.FunctionByOID(o.Function), "operator "+o.Name)
		}
	}
	return boolean
}

// equals is operatorName of the = that a clause stands for.
func (a *analysis) equals() { a.operatorName([]*pg.Node{pg.MakeStrNode("=")}, -1) }

// operator analyses an operator with its operands.
func (a *analysis) operator(x *pg.A_Expr, s *scope) value {
	switch x.Kind {
	case pg.A_Expr_Kind_AEXPR_OP:
		boolean := a.operatorName(x.Name, x.Location)
		var l value
		if x.Lexpr != nil {
			l = a.expr(x.Lexpr, s)
		}
		r := a.expr(x.Rexpr, s)
		a.hole(x.Lexpr)
		a.hole(x.Rexpr)
		v := l.plus(r)
		if boolean {
			a.condition(v, "a comparison")
			return value{typ: boolOID}
		}
		return v
	case pg.A_Expr_Kind_AEXPR_OP_ANY, pg.A_Expr_Kind_AEXPR_OP_ALL, pg.A_Expr_Kind_AEXPR_IN,
		pg.A_Expr_Kind_AEXPR_LIKE, pg.A_Expr_Kind_AEXPR_ILIKE, pg.A_Expr_Kind_AEXPR_SIMILAR:
		a.operatorName(x.Name, x.Location)
		v := a.expr(x.Lexpr, s)
		a.condition(v.plus(a.expr(x.Rexpr, s)), "a comparison")
		a.hole(x.Lexpr)
		a.hole(x.Rexpr)
		if x.Kind == pg.A_Expr_Kind_AEXPR_IN {
			for _, n := range x.Rexpr.GetList().GetItems() {
				a.hole(n)
			}
		}
		return value{typ: boolOID}
	case pg.A_Expr_Kind_AEXPR_DISTINCT, pg.A_Expr_Kind_AEXPR_NOT_DISTINCT:
		a.operatorName(x.Name, x.Location)
		if isNull(x.Rexpr) {
			a.nullTest(x.Lexpr, s)
			return value{typ: boolOID}
		}
		v := a.expr(x.Lexpr, s)
		a.condition(v.plus(a.expr(x.Rexpr, s)), "a comparison")
		return value{typ: boolOID}
	case pg.A_Expr_Kind_AEXPR_NULLIF:
		a.operatorName(x.Name, x.Location)
		l := a.expr(x.Lexpr, s)
		v := l.plus(a.expr(x.Rexpr, s))
		v.typ = l.typ
		return v
	case pg.A_Expr_Kind_AEXPR_BETWEEN, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN,
		pg.A_Expr_Kind_AEXPR_BETWEEN_SYM, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM:
		for _, op := range []string{"<", ">", "<=", ">="} {
			a.operatorName([]*pg.Node{pg.MakeStrNode(op)}, x.Location)
		}
		v := a.expr(x.Lexpr, s)
		a.condition(v.plus(a.expr(x.Rexpr, s)), "a comparison")
		for _, n := range x.Rexpr.GetList().GetItems() {
			a.hole(n)
		}
		return value{typ: boolOID}
	}
	a.fail("0A000", x.Location, "expressions of kind %s are not supported", x.Kind)
	return value{}
}

func joinNames(f []string) string {
	out := ""
	for i, p := range f {
		if i > 0 {
			out += "."
		}
		out += p
	}
	return out
}

// comparing are functions that tell by a number whether values are the same.
var comparing = map[string]bool{
	"array_position": true, "array_positions": true, "btarraycmp": true, "bttextcmp": true, "bpcharcmp": true, "byteacmp": true,
	"btnamecmp": true, "bttextnamecmp": true, "btnametextcmp": true, "bttext_pattern_cmp": true, "btbpchar_pattern_cmp": true,
	"btint2cmp": true, "btint4cmp": true, "btint8cmp": true, "numeric_cmp": true, "date_cmp": true, "timestamp_cmp": true,
	"timestamptz_cmp": true, "uuid_cmp": true, "jsonb_cmp": true, "btrecordcmp": true, "network_cmp": true, "interval_cmp": true,
}
