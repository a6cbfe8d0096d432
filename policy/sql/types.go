package sql

import (
	"strings"

	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

const regclassOID = 2205

// typeName resolves a type in the text, and checks what its values run.
func (a *analysis) typeName(t *pg.TypeName) uint32 {
	if t == nil {
		a.fail("0A000", -1, "a type is missing")
	}
	if t.PctType {
		a.fail("0A000", t.Location, "%%TYPE is not supported here")
	}
	for _, m := range t.Typmods {
		if m.GetAConst() == nil && m.GetColumnRef() == nil {
			a.unknown(m)
		}
	}
	f := names(t.Names)
	typ := a.typeByName(f)
	if typ == nil {
		// int[] is written so, but also as _int4.
		a.missing("42704", t.Location, "type %q does not exist", joinNames(f))
	}
	a.usedType(typ, t.Location)
	if len(t.ArrayBounds) > 0 {
		return typ.Array
	}
	return typ.OID
}

func (a *analysis) typeByName(f []string) *Type {
	if len(f) == 3 && f[0] == a.c.Database {
		f = f[1:]
	}
	switch len(f) {
	case 1:
		t := a.c.ResolveType(a.path, f[0])
		// A type of the same name may come before one of PostgreSQL's.
		if t == nil || a.c.userTypes[f[0]] || HasTemp(a.path) {
			a.byPath = true
			a.needPath(-1)
		}
		if t == nil {
			if oldName := typeAliases[f[0]]; oldName != "" {
				t = a.c.Type("pg_catalog", oldName)
			}
		}
		return t
	case 2:
		return a.c.Type(f[0], f[1])
	}
	return nil
}

// typeAliases are names that only a cast in functional notation may have.
var typeAliases = map[string]string{}

// usedType checks what runs when a value of a type is made.
func (a *analysis) usedType(t *Type, at int32) {
	if t.System() {
		return
	}
	for _, oid := range t.Calls {
		a.allowedCode(a.c.FunctionByOID(oid), "type "+t.Schema+"."+t.Name)
	}
	for _, k := range a.c.userCasts {
		if k.Target == t.OID {
			a.allowedCode(a.c.FunctionByOID(k.Function), "a cast to "+t.Schema+"."+t.Name)
		}
	}
}

// parameter checks a type that the workload gives to a parameter: its values pass
// through what such a type runs.
func (a *analysis) parameter(oid uint32) {
	if oid == 0 || oid < firstUserOID {
		return
	}
	t := a.c.TypeByOID(oid)
	if t == nil {
		a.missing("42704", -1, "type %d of a parameter does not exist", oid)
	}
	a.usedType(t, -1)
}

// cast analyses a cast.
func (a *analysis) cast(x *pg.TypeCast, s *scope) value {
	oid := a.typeName(x.TypeName)
	t := a.c.TypeByOID(oid)
	if t == nil {
		a.missing("42704", x.Location, "a type does not exist")
	}
	if oid == regclassOID {
		if c := x.Arg.GetAConst(); c != nil {
			if sv := c.GetSval(); sv != nil {
				a.namesRelation(sv.Sval, c.Location)
			}
			return value{typ: oid}
		}
	}
	if c := x.Arg.GetAConst(); c != nil && c.Isnull {
		v := value{typ: oid}
		v.row = a.compositeColumns(v)
		return v
	}
	return a.castTo(a.expr(x.Arg, s), t, x.Location)
}

// castTo is v cast to t.
func (a *analysis) castTo(v value, t *Type, at int32) value {
	for _, k := range a.c.userCasts {
		if k.Target == t.OID && (k.Source == v.typ || v.typ == 0) {
			a.allowedCode(a.c.FunctionByOID(k.Function), "a cast to "+t.Schema+"."+t.Name)
		}
	}
	out := value{mask: v.mask, raw: v.raw, typ: t.OID}
	if v.mask != nil && text(v.typ) && !text(t.OID) && t.Category != "S" {
		base := t
		if t.Category == "A" && t.Element != 0 && text(t.Element) {
			return out
		}
		a.castRefused(v, base.Name)
	}
	out.row = a.compositeColumns(out)
	return out
}

// castRefused tells that text that is masked does not become anything else: the
// error that a mask is no number would only confuse.
func (a *analysis) castRefused(v value, to string) {
	if a.refused == nil && !a.quiet {
		a.refused = &protocol.Refusal{Code: "42501",
			Message: v.mask.column + " of " + v.mask.object.String() + " is masked for you and cannot be cast to " + to,
			Detail:  "What would be cast is the mask (tag " + v.mask.rule.Tag + ")."}
	}
}

// namesRelation treats text that names a relation as a use of it.
func (a *analysis) namesRelation(text string, at int32) {
	rel := a.textRelation(text, at)
	if rel == nil || a.closedRelation(rel) {
		return
	}
	if owner := a.c.RelationByOID(rel.Table); rel.Table != 0 && owner != nil {
		rel = owner
	}
	a.access(protocol.Access{Action: protocol.Select, Object: rel.object()})
}

// textRelation finds the relation that text names, nil if it is an OID.
func (a *analysis) textRelation(text string, at int32) *Relation {
	parts, ok := splitName(text)
	if !ok {
		a.fail("42602", at, "the name of a relation is not understood")
	}
	if len(parts) == 1 {
		if len(parts[0]) > 0 && parts[0][0] >= '0' && parts[0][0] <= '9' || parts[0] == "-" {
			return nil // an OID
		}
	}
	rv := &pg.RangeVar{Relname: parts[len(parts)-1], Location: -1}
	switch len(parts) {
	case 3:
		rv.Catalogname = parts[0]
		fallthrough
	case 2:
		rv.Schemaname = parts[len(parts)-2]
	}
	return a.relation(rv)
}

// splitName splits a qualified name as the server does where text names an
// object (stringToQualifiedNameList).
func splitName(s string) ([]string, bool) {
	var parts []string
	for {
		s = strings.TrimLeft(s, " \t\n\r\f")
		var p string
		if strings.HasPrefix(s, `"`) {
			s = s[1:]
			for {
				i := strings.IndexByte(s, '"')
				if i < 0 {
					return nil, false
				}
				p += s[:i]
				s = s[i+1:]
				if !strings.HasPrefix(s, `"`) {
					break
				}
				p += `"`
				s = s[1:]
			}
		} else {
			i := strings.IndexAny(s, ". \t\n\r\f")
			if i < 0 {
				i = len(s)
			}
			p, s = lower(s[:i]), s[i:]
		}
		if p == "" {
			return nil, false
		}
		parts = append(parts, TruncateName(p))
		s = strings.TrimLeft(s, " \t\n\r\f")
		if s == "" {
			return parts, len(parts) <= 3
		}
		if s[0] != '.' {
			return nil, false
		}
		s = s[1:]
	}
}

// lower folds ASCII only, as the server does for UTF-8.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// traits tells what the list says of the built-in functions among all.
func traits(all []*Function) Trait {
	var t Trait
	for _, f := range all {
		if f.System() {
			t |= BuiltinFunction(f.Name, len(f.Args)).Traits
		}
	}
	return t
}

// arguments checks what functions do with names in their arguments.
func (a *analysis) arguments(all []*Function, x *pg.FuncCall, args []value) {
	for i, n := range x.Args {
		c := n.GetAConst()
		if c == nil || c.GetSval() == nil {
			continue
		}
		for _, f := range all {
			if i < len(f.Args) && f.Args[i] == regclassOID {
				a.namesRelation(c.GetSval().Sval, c.Location)
				break
			}
		}
	}
	t := traits(all)
	if t&TraitCatalog != 0 && t&TraitErrors != 0 {
		for _, v := range args {
			if v.mask != nil {
				a.castRefused(v, "the name of an object")
			}
		}
	}
	if t&TraitSetting != 0 {
		a.settingCall(all[0], x)
	}
}

// settingCall is SHOW or SET as a function.
func (a *analysis) settingCall(f *Function, x *pg.FuncCall) {
	literal := func(i int) (string, bool) {
		if i >= len(x.Args) {
			return "", false
		}
		n := x.Args[i]
		if c := n.GetTypeCast(); c != nil {
			n = c.Arg
		}
		s := n.GetAConst().GetSval()
		return s.GetSval(), s != nil
	}
	setting, ok := literal(0)
	rule := BuiltinSetting(setting)
	if f.Name == "current_setting" {
		if !ok || !rule.Show {
			a.fail("42501", x.Location, "current_setting is allowed for listed parameters, named by a literal, only")
		}
		return
	}
	to, ok2 := literal(1)
	if f.Name != "set_config" || !ok || !ok2 || !rule.Allows(to) || audits(a.v, setting) {
		a.denyFunction(f, x.Location)
	}
	if rule.Path {
		// When it is evaluated is the server's choice.
		a.changesPath, a.lost = true, true
	}
}

// relationCall checks a function that is not safe, but about one relation: what
// may be read may also be described, and what may be inserted to be numbered.
func (a *analysis) relationCall(f *Function, x *pg.FuncCall) bool {
	if BuiltinFunction(f.Name, len(f.Args)).Traits&TraitRelation == 0 || x == nil || len(x.Args) == 0 {
		return false
	}
	n := x.Args[0]
	if c := n.GetTypeCast(); c != nil {
		if t := names(c.TypeName.GetNames()); t[len(t)-1] != "regclass" && t[len(t)-1] != "text" {
			return false
		}
		n = c.Arg
	}
	serial := false
	if c := n.GetFuncCall(); c != nil {
		// A sequence by the column that draws from it, as ORMs ask for it.
		name := names(c.Funcname)
		if len(c.Args) != 2 || name[len(name)-1] != "pg_get_serial_sequence" {
			return false
		}
		for _, g := range a.functions(name, c.Location) {
			if !g.System() {
				return false
			}
		}
		n, serial = c.Args[0], true
	}
	s := n.GetAConst().GetSval()
	if s == nil {
		return false
	}
	rel := a.textRelation(s.Sval, n.GetAConst().Location)
	if serial && f.Name != "nextval" && f.Name != "currval" && f.Name != "setval" {
		return false
	}
	switch f.Name {
	case "nextval", "setval", "currval":
		action := protocol.Update
		if serial && f.Name != "setval" {
			action = protocol.Insert
		}
		if serial && f.Name == "setval" {
			for i := range a.c.Relations {
				if q := &a.c.Relations[i]; q.Kind == Sequence && q.Table == rel.OID {
					a.access(protocol.Access{Action: action, Object: q.object()})
				}
			}
		}
		if owner := a.c.RelationByOID(rel.Table); rel.Kind == Sequence && rel.Table != 0 && owner != nil && f.Name != "setval" {
			rel, action = owner, protocol.Insert
		}
		a.access(protocol.Access{Action: action, Object: rel.object()})
		return true
	case "pg_relation_size", "pg_table_size", "pg_total_relation_size", "pg_indexes_size":
		a.access(protocol.Access{Action: protocol.Select, Object: rel.object()})
		if owner := a.c.RelationByOID(rel.Table); rel.Table != 0 && owner != nil {
			rel = owner
		}
		a.outside(rel, f.Name)
		return true
	}
	return false
}

// closedRelation reports whether a relation is PostgreSQL's own, and so readable
// by the closed list alone.
func (a *analysis) closedRelation(r *Relation) bool { return r.System() }

// closedColumns refuses what the closed list does not hold.
func (a *analysis) closedColumns(r *reference) {
	if a.quiet {
		return
	}
	if r.target || !BuiltinRelation(r.rel.Schema, r.rel.Name) {
		a.refuse(&protocol.Refusal{Code: "42501",
			Message: "reading " + r.rel.object().String() + " is not allowed",
			Detail:  "It is not on the closed list of catalog relations."})
	}
	for _, c := range r.columns() {
		if r.shown && c == "setting" {
			continue
		}
		if !BuiltinColumn(r.rel.Schema, r.rel.Name, c) {
			a.refuse(&protocol.Refusal{Code: "42501",
				Message: "reading column " + c + " of " + r.rel.object().String() + " is not allowed",
				Detail:  "It is not on the closed list of catalog columns.",
				Hint:    "Name the columns that you need instead of using *."})
		}
	}
}

// namedSettings notes a query of pg_settings alone, whose WHERE clause names the
// settings, all of which SHOW would tell: JDBC asks so for max_index_keys.
func (a *analysis) namedSettings(x *pg.SelectStmt, from []*reference) {
	if len(x.FromClause) != 1 || len(from) != 1 || x.FromClause[0].GetRangeVar() != from[0].rv ||
		from[0].rel.Schema != "pg_catalog" || from[0].rel.Name != "pg_settings" || len(from[0].rv.Alias.GetColnames()) > 0 {
		return
	}
	e := x.WhereClause.GetAExpr()
	if op := names(e.GetName()); len(op) != 1 || op[0] != "=" {
		return
	}
	for _, o := range a.c.OperatorsNamed("=") {
		if !o.System() && o.Left != 0 && a.c.BaseType(o.Left) == a.c.BaseType(textOID) {
			return
		}
	}
	if f := fieldNames(e.Lexpr.GetColumnRef()); len(f) == 0 || f[len(f)-1] != "name" {
		return
	}
	var list []*pg.Node
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_OP:
		list = []*pg.Node{e.Rexpr}
	case pg.A_Expr_Kind_AEXPR_IN:
		list = e.Rexpr.GetList().GetItems()
	}
	for _, n := range list {
		s := n.GetAConst().GetSval()
		if s == nil || !BuiltinSetting(s.Sval).Show {
			return
		}
	}
	from[0].shown, a.exact = len(list) > 0, true
}

// sampleMethod allows the built-in methods only.
func (a *analysis) sampleMethod(t *pg.RangeTableSample) {
	f := names(t.Method)
	if m := f[len(f)-1]; m != "system" && m != "bernoulli" || len(f) == 2 && f[0] != "pg_catalog" || len(f) > 2 {
		a.fail("42501", t.Location, "sampling method %s is not allowed", joinNames(f))
	}
}
