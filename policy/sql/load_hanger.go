package sql

import "slices"

// Bits of pg_trigger.tgtype, from catalog/pg_trigger.h.
const (
	triggerInsert   = 1 << 2
	triggerDelete   = 1 << 3
	triggerUpdate   = 1 << 4
	triggerTruncate = 1 << 5
)

// hangers reads what hangs on relations.
func (l *loader) hangers() {
	l.rules()
	l.triggers()
	l.constraints()
	l.policies()
	l.calls()
}

func (l *loader) rules() {
	events := map[string]string{"1": "select", "2": "update", "3": "insert", "4": "delete"}
	l.rows(`SELECT ev_class, rulename, ev_type, is_instead, ev_enabled, pg_get_ruledef(oid) FROM pg_rewrite
WHERE rulename <> '_RETURN' AND oid >= 16384 ORDER BY ev_class, rulename`, 6, func(v *values) {
		r := l.rel(v.oid())
		rule := Rule{Name: v.text(), Event: events[v.name()], Instead: v.bool(), Enabled: v.name(), Definition: v.text()}
		if r != nil {
			r.Rules = append(r.Rules, rule)
		}
	})
	l.rows(`SELECT DISTINCT w.ev_class, d.refobjid, d.refobjsubid FROM pg_depend d
JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
WHERE d.refclassid = 'pg_class'::regclass AND d.deptype = 'n' AND w.ev_class >= 16384
  AND (d.refobjid <> w.ev_class OR w.rulename <> '_RETURN') ORDER BY 1, 2, 3`, 3, func(v *values) {
		if r := l.rel(v.oid()); r != nil {
			r.Depends = append(r.Depends, Dependency{Relation: v.oid(), Column: v.int2()})
		}
	})
}

func (l *loader) triggers() {
	l.rows(`SELECT tgrelid, tgname, tgfoid, tgenabled, tgtype, tgattr FROM pg_trigger
WHERE NOT tgisinternal ORDER BY tgrelid, tgname`, 6, func(v *values) {
		r := l.rel(v.oid())
		t := Trigger{Name: v.text(), Function: v.oid(), Enabled: v.name()}
		bits := v.int2()
		t.Insert, t.Delete = bits&triggerInsert != 0, bits&triggerDelete != 0
		t.Update, t.Truncate = bits&triggerUpdate != 0, bits&triggerTruncate != 0
		t.Columns = v.int2s()
		if r != nil {
			r.Triggers = append(r.Triggers, t)
		}
	})
}

func (l *loader) constraints() {
	l.rows(`SELECT conrelid, contype, conname, condeferrable, conkey, confrelid, confkey, confupdtype, confdeltype,
CASE WHEN contype = 'c' THEN pg_get_expr(conbin, conrelid) END
FROM pg_constraint WHERE contype IN ('p', 'u', 'f', 'c') AND conrelid >= 16384 ORDER BY conrelid, contype, conname`, 10, func(v *values) {
		r, kind, con := l.rel(v.oid()), v.name(), v.text()
		deferrable, columns := v.bool(), v.int2s()
		f := ForeignKey{Name: con, Columns: columns, References: v.oid(), Referenced: v.int2s(), OnUpdate: v.name(), OnDelete: v.name()}
		check := v.text()
		if r == nil {
			return
		}
		switch kind {
		case "f":
			r.ForeignKeys = append(r.ForeignKeys, f)
		case "c":
			r.Checks = append(r.Checks, check)
		default:
			r.Keys = append(r.Keys, Key{Name: con, Primary: kind == "p", Deferrable: deferrable, Columns: columns})
		}
	})
}

func (l *loader) policies() {
	l.rows(`SELECT polrelid, polname, polcmd FROM pg_policy ORDER BY 1, 2`, 3, func(v *values) {
		r, p := l.rel(v.oid()), Policy{Name: v.text(), Command: v.name()}
		if r != nil {
			r.Policies = append(r.Policies, p)
		}
	})
}

// calls follows pg_depend, in which only functions that are not PostgreSQL's own
// appear. Support functions of operator classes are not followed: only a
// superuser can make one.
func (l *loader) calls() {
	l.rows(`SELECT DISTINCT k.relation, coalesce(o.oprcode::oid, d.refobjid) FROM pg_depend d
JOIN (SELECT 'pg_rewrite'::regclass::oid AS class, oid, ev_class AS relation FROM pg_rewrite
  UNION ALL SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef
  UNION ALL SELECT 'pg_constraint'::regclass, oid, conrelid FROM pg_constraint WHERE conrelid <> 0
  UNION ALL SELECT 'pg_class'::regclass, indexrelid, indrelid FROM pg_index
  UNION ALL SELECT 'pg_class'::regclass, partrelid, partrelid FROM pg_partitioned_table
  UNION ALL SELECT 'pg_trigger'::regclass, oid, tgrelid FROM pg_trigger
  UNION ALL SELECT 'pg_policy'::regclass, oid, polrelid FROM pg_policy) k ON k.class = d.classid AND k.oid = d.objid
LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) ORDER BY 1, 2`, 2, func(v *values) {
		r, f := l.rel(v.oid()), v.oid()
		if r == nil || f < firstUserOID {
			return
		}
		if slices.ContainsFunc(r.Triggers, func(t Trigger) bool { return t.Function == f }) {
			return
		}
		r.Calls = append(r.Calls, f)
	})
}
