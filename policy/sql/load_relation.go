package sql

import "strings"

func (l *loader) relations() {
	l.relation = make(map[uint32]int)
	l.rows(`SELECT c.oid, n.nspname, c.relname, c.relkind, pg_get_userbyid(c.relowner), c.reltype,
coalesce(x.indrelid, t.oid, s.refobjid, 0), c.relrowsecurity, c.relforcerowsecurity, c.relispartition, c.reloptions,
CASE WHEN c.relkind IN ('v', 'm') AND c.oid >= 16384 THEN pg_get_viewdef(c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index x ON x.indexrelid = c.oid
LEFT JOIN pg_class t ON t.reltoastrelid = c.oid AND c.relkind = 't'
LEFT JOIN (SELECT objid, min(refobjid::int8) AS refobjid FROM pg_depend WHERE classid = 'pg_class'::regclass
  AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i') GROUP BY 1) s ON s.objid = c.oid AND c.relkind = 'S'
WHERE c.relpersistence <> 't' AND c.relnamespace`+notTemp+` ORDER BY c.oid`, 12, func(v *values) {
		r := Relation{OID: v.oid(), Schema: v.name(), Name: v.text(), Kind: RelationKind(v.name()), Owner: v.name(), Type: v.oid(),
			Table: v.oid(), RowSecurity: v.bool(), ForceRowSecurity: v.bool(), Partition: v.bool()}
		options := v.text()
		r.SecurityInvoker = option(options, "security_invoker")
		r.SecurityBarrier = option(options, "security_barrier")
		r.CheckOption = strings.Contains(options, "check_option=")
		r.Definition = v.text()
		l.relation[r.OID] = len(l.s.Relations)
		l.s.Relations = append(l.s.Relations, r)
	})
	l.rows(`SELECT inhrelid, inhparent FROM pg_inherits ORDER BY 1, inhseqno, 2`, 2, func(v *values) {
		child, parent := v.oid(), v.oid()
		if r := l.rel(child); r != nil && r.Kind != Index && r.Kind != PartitionedIndex {
			r.Parents = append(r.Parents, parent)
			if p := l.rel(parent); p != nil {
				p.Children = append(p.Children, child)
			}
		}
	})
}

// option reports whether reloptions, an array in text form, turns a boolean
// option on. It errs towards off, and nothing depends on it for safety.
func option(options, key string) bool {
	for _, o := range strings.Split(strings.Trim(options, "{}"), ",") {
		if k, v, ok := strings.Cut(o, "="); ok && k == key {
			switch strings.ToLower(v) {
			case "true", "on", "yes", "1", "t", "y":
				return true
			}
		}
	}
	return false
}

func (l *loader) rel(oid uint32) *Relation {
	if i, ok := l.relation[oid]; ok {
		return &l.s.Relations[i]
	}
	return nil
}

func (l *loader) columns() {
	l.rows(`SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod,
CASE WHEN NOT a.attisdropped THEN format_type(a.atttypid, a.atttypmod) END,
CASE WHEN a.attcollation <> t.typcollation THEN (SELECT concat(quote_ident(n.nspname), '.', quote_ident(k.collname))
  FROM pg_collation k JOIN pg_namespace n ON n.oid = k.collnamespace WHERE k.oid = a.attcollation) END,
a.attnotnull, a.attisdropped, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef
WHERE a.attnum > 0 AND c.relkind NOT IN ('i', 'I', 't') AND c.relpersistence <> 't' ORDER BY 1, 2`, 12, func(v *values) {
		r := l.rel(v.oid())
		c := Column{Number: v.int2(), Name: v.name(), Type: v.oid(), Typmod: v.int4(), TypeName: v.name(), Collation: v.name(),
			NotNull: v.bool(), Dropped: v.bool(), Identity: v.name(), Generated: v.name(), Default: v.name()}
		if r == nil {
			return
		}
		if c.Dropped {
			c.Name = ""
		}
		r.Columns = append(r.Columns, c)
	})
	// Up to 14 the generated column itself depends on the others, later its expression.
	l.rows(`SELECT d.refobjid, d.objsubid, d.refobjsubid FROM pg_depend d
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.objid = d.refobjid AND d.objsubid > 0 AND d.refobjsubid > 0
UNION SELECT k.adrelid, k.adnum, d.refobjsubid FROM pg_depend d
JOIN pg_attrdef k ON d.classid = 'pg_attrdef'::regclass AND d.objid = k.oid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = k.adrelid AND d.refobjsubid > 0 AND d.refobjsubid <> k.adnum
ORDER BY 1, 2, 3`, 3, func(v *values) {
		r, n, from := l.rel(v.oid()), v.int2(), v.int2()
		if r == nil {
			return
		}
		if c := r.ColumnByNumber(n); c != nil && c.Generated != "" {
			c.From = append(c.From, from)
		}
	})
}
