package sql

// notTemp keeps out what belongs to one session only.
const notTemp = ` NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')`

func (l *loader) identity() {
	l.rows(EpochQuery, 1, func(v *values) { l.s.Epoch = v.text() })
	l.rows(`SELECT current_setting('server_version_num'), current_database(), current_user, r.rolsuper, r.rolbypassrls
FROM (SELECT) one LEFT JOIN pg_roles r ON r.rolname = current_user`, 5, func(v *values) {
		l.s.ServerVersion = int(v.int(32))
		l.s.Database, l.s.User = v.text(), v.text()
		l.s.Superuser, l.s.BypassRLS = v.bool(), v.bool()
	})
	l.rows(`SELECT e.extname, n.nspname, e.extversion
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1`, 3, func(v *values) {
		l.s.Extensions = append(l.s.Extensions, Extension{Name: v.text(), Schema: v.name(), Version: v.text()})
	})
}

func (l *loader) schemas() {
	l.rows(`SELECT oid, nspname, pg_get_userbyid(nspowner) FROM pg_namespace
WHERE nspname !~ '^pg_(toast_)?temp_' ORDER BY oid`, 3, func(v *values) {
		l.s.Schemas = append(l.s.Schemas, Schema{OID: v.oid(), Name: v.name(), Owner: v.name()})
	})
}

// types leaves out the row types of indexes and TOAST tables, which have none,
// and of nothing else. Element is set for true arrays only: name and point can
// be subscripted too, and are no arrays.
func (l *loader) types() {
	l.typ = make(map[uint32]int)
	l.rows(`SELECT t.oid, n.nspname, t.typname, t.typtype, t.typcategory,
CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END, t.typarray, t.typbasetype, t.typtypmod, t.typnotnull, t.typrelid
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typnamespace`+notTemp+` ORDER BY t.oid`, 11, func(v *values) {
		t := Type{OID: v.oid(), Schema: v.name(), Name: v.text(), Kind: TypeKind(v.name()), Category: v.name(),
			Element: v.oid(), Array: v.oid(), Base: v.oid(), Typmod: v.int4(), NotNull: v.bool(), Relation: v.oid()}
		l.typ[t.OID] = len(l.s.Types)
		l.s.Types = append(l.s.Types, t)
	})
	l.rows(`SELECT enumtypid, enumlabel FROM pg_enum ORDER BY enumtypid, enumsortorder`, 2, func(v *values) {
		t, label := v.oid(), v.text()
		if i, ok := l.typ[t]; ok {
			l.s.Types[i].Labels = append(l.s.Types[i].Labels, label)
		}
	})
	l.rows(`SELECT d.objid, coalesce(o.oprcode::oid, d.refobjid) FROM pg_depend d
LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
WHERE d.classid = 'pg_type'::regclass AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
UNION SELECT k.contypid, coalesce(o.oprcode::oid, d.refobjid) FROM pg_depend d
JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid AND k.contypid <> 0
LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) ORDER BY 1, 2`, 2, func(v *values) {
		t, f := v.oid(), v.oid()
		if i, ok := l.typ[t]; ok && f >= firstUserOID {
			l.s.Types[i].Calls = append(l.s.Types[i].Calls, f)
		}
	})
}

func (l *loader) functions() {
	l.function = make(map[uint32]int)
	l.rows(`SELECT p.oid, n.nspname, p.proname, p.prokind, p.proargtypes, p.pronargdefaults, p.provariadic <> 0,
p.prorettype, p.proretset, p.provolatile, p.prosecdef, g.lanname
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language g ON g.oid = p.prolang
WHERE p.pronamespace`+notTemp+` ORDER BY p.oid`, 12, func(v *values) {
		f := Function{OID: v.oid(), Schema: v.name(), Name: v.name(), Kind: FunctionKind(v.name()), Args: v.oids(),
			Defaults: int(v.int2()), Variadic: v.bool(), Result: v.oid(), Set: v.bool(), Volatility: v.name(),
			SecurityDefiner: v.bool(), Language: v.name()}
		l.function[f.OID] = len(l.s.Functions)
		l.s.Functions = append(l.s.Functions, f)
	})
	l.rows(`SELECT p.oid, coalesce(a.name, ''), a.typ FROM pg_proc p
CROSS JOIN unnest(p.proallargtypes, p.proargmodes, p.proargnames) WITH ORDINALITY a(typ, mode, name, n)
WHERE p.proallargtypes IS NOT NULL AND a.mode IN ('o', 'b', 't') AND p.pronamespace`+notTemp+` ORDER BY p.oid, a.n`, 3, func(v *values) {
		oid, out := v.oid(), Output{Name: v.text(), Type: v.oid()}
		if i, ok := l.function[oid]; ok {
			l.s.Functions[i].Outputs = append(l.s.Functions[i].Outputs, out)
		}
	})
	l.rows(`SELECT objid, refobjid FROM pg_depend
WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_proc'::regclass ORDER BY 1, 2`, 2, func(v *values) {
		caller, called := v.oid(), v.oid()
		if i, ok := l.function[caller]; ok && called >= firstUserOID {
			l.s.Functions[i].Calls = append(l.s.Functions[i].Calls, called)
		}
	})
}

func (l *loader) operators() {
	l.rows(`SELECT o.oid, n.nspname, o.oprname, o.oprleft, o.oprright, o.oprresult, o.oprcode::oid
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE o.oprcode <> 0 AND o.oprnamespace`+notTemp+` ORDER BY o.oid`, 7, func(v *values) {
		l.s.Operators = append(l.s.Operators, Operator{OID: v.oid(), Schema: v.name(), Name: v.name(),
			Left: v.oid(), Right: v.oid(), Result: v.oid(), Function: v.oid()})
	})
	l.rows(`SELECT oid, castsource, casttarget, castfunc, castcontext FROM pg_cast ORDER BY oid`, 5, func(v *values) {
		l.s.Casts = append(l.s.Casts, Cast{OID: v.oid(), Source: v.oid(), Target: v.oid(), Function: v.oid(), Context: v.name()})
	})
}
