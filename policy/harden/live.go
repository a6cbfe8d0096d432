package harden

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"sluicegate.io/sluice/policy/sql"
)

// Live is what a database has of a Plan, and what it has against it.
type Live struct {
	found  map[string]string // value by key of what a Plan may want
	extra  map[string]Change // by key, what no Plan wants, unless it has that key
	public []publicRight
	others []string // roles that must not lose what PUBLIC loses
	taken  []takenRight
	made   map[string]bool // roles that were made by this package
	inUse  map[string]bool // roles that other databases know
}

// publicRight is something that everybody may do, and the login with them.
type publicRight struct {
	right
	oid      uint32 // of a function
	schema   string
	also     []string // roles that have it for themselves
	ofServer bool     // of an extension's relation
}

// takenRight is what PUBLIC had and lost, or what a role got in its place.
type takenRight struct{ kind, object, priv, grantee string }

// begin keeps names qualified in what the server prints.
const begin = "SET LOCAL search_path = ''"

// Load reads what is there. It must run in a transaction, whose search_path it
// sets, with the rights of an administrator.
func Load(ctx context.Context, q sql.Querier, p *Plan) (*Live, error) {
	l := &loader{ctx: ctx, q: q, p: p, live: &Live{found: map[string]string{}, extra: map[string]Change{}, made: map[string]bool{}, inUse: map[string]bool{}}}
	l.login, l.owner, l.schema = literal(p.Role.Login), literal(p.Role.Owner()), literal(p.Role.Schema)
	l.rows(begin, func([]string) {})
	l.roles()
	l.objects()
	l.grants()
	l.otherRights()
	l.public()
	if l.err != nil {
		return nil, fmt.Errorf("read what is there: %w", l.err)
	}
	return l.live, nil
}

type loader struct {
	ctx                  context.Context
	q                    sql.Querier
	p                    *Plan
	live                 *Live
	login, owner, schema string // as literals
	err                  error
}

func (l *loader) rows(query string, row func(v []string)) {
	if l.err != nil {
		return
	}
	l.err = l.q.Query(l.ctx, query, func(vals [][]byte) error {
		v := make([]string, len(vals))
		for i := range vals {
			v[i] = string(vals[i])
		}
		row(v)
		return nil
	})
}

func (l *loader) drift(key string, ph phase, text string, sql ...string) {
	l.live.extra[key] = Change{Text: text, Drift: true, SQL: sql, phase: ph, key: key}
}

func (l *loader) roles() {
	l.rows(`SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls,
pg_catalog.shobj_description(r.oid, 'pg_authid') FROM pg_catalog.pg_roles r WHERE r.rolname IN (`+l.login+", "+l.owner+")", func(v []string) {
		name, can := v[0], "NOLOGIN"
		if v[1] == "t" {
			can = "LOGIN"
		}
		l.live.found["role "+quote(name)] = can
		l.live.made[name] = v[7] == madeHere
		for i, word := range []string{"SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS"} {
			if v[i+2] == "t" {
				l.drift("attribute "+word+" of "+quote(name), makeRoles, "role "+name+" has "+word, "ALTER ROLE "+quote(name)+" NO"+word)
			}
		}
	})
	// Members of the owner could read what it can.
	l.rows(`SELECT g.rolname, u.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
JOIN pg_catalog.pg_roles u ON u.oid = m.member WHERE u.rolname IN (`+l.login+", "+l.owner+") OR g.rolname = "+l.owner+
		" AND NOT u.rolsuper AND u.rolname <> current_user", func(v []string) {
		l.drift("member "+quote(v[1])+" of "+quote(v[0]), makeRoles, "role "+v[1]+" is a member of "+v[0], "REVOKE "+quote(v[0])+" FROM "+quote(v[1]))
	})
	l.rows(`SELECT r.rolname FROM pg_catalog.pg_roles r WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND r.rolname NOT IN (`+l.login+", "+l.owner+") ORDER BY 1",
		func(v []string) { l.live.others = append(l.live.others, v[0]) })
}

// objects reads the shadow schema and what is in it.
func (l *loader) objects() {
	l.rows("SELECT r.rolname FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE n.nspname = "+l.schema, func(v []string) {
		l.live.found["schema "+quote(l.p.Role.Schema)] = v[0]
	})
	tables := map[string]bool{}
	l.rows(`SELECT c.relname, c.relkind, r.rolname, pg_catalog.obj_description(c.oid, 'pg_class'), CASE WHEN c.relkind = 'v' THEN `+definition+` END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE n.nspname = `+l.schema+" AND c.relkind NOT IN ('i', 't') ORDER BY 1", func(v []string) {
		name := qualified(l.p.Role.Schema, v[0])
		switch {
		case v[1] == "r" && (v[0] == keysTable || v[0] == stateTable):
			tables[v[0]] = true
			l.live.found["table "+name] = ""
		case v[1] == "v":
			from, is, _ := cutLast(v[3])
			if is != v[4] || v[2] != l.p.Role.Owner() {
				from = "altered"
			}
			l.live.found["view "+name] = from
		default:
			l.drift("object "+name, unmake, name+" is in the schema, and not of it")
		}
	})
	if tables[keysTable] {
		l.rows(`SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat(tag, ' ', pg_catalog.encode(outer_pad, 'hex'), ' ', pg_catalog.encode(inner_pad, 'hex'), E'\n'), ''
ORDER BY tag COLLATE pg_catalog."C")) FROM `+qualified(l.p.Role.Schema, keysTable), func(v []string) {
			l.live.found["table "+qualified(l.p.Role.Schema, keysTable)] = v[0]
		})
	}
	if tables[stateTable] {
		l.rows("SELECT class, object, privilege, grantee FROM "+qualified(l.p.Role.Schema, stateTable)+" ORDER BY 1, 2, 3, 4", func(v []string) {
			l.live.taken = append(l.live.taken, takenRight{v[0], v[1], v[2], v[3]})
		})
	}
}

// cutLast splits a text at its last space.
func cutLast(s string) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// acls are all access rights that somebody has: kind, schema, name, column,
// privilege, grantee ("" is PUBLIC), OID of the object, whether it is of an
// extension, whether the grantee owns it.
const acls = `(SELECT x.kind, x.schema, x.name, x.col, e.privilege_type, coalesce(g.rolname, '') AS grantee, x.oid, x.owner = e.grantee AS owns,
  EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = x.class AND d.objid = x.oid AND d.deptype = 'e') AS extension, x.args
FROM (
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, n.nspname AS schema, c.relname AS name, '' AS col, c.oid, c.relowner AS owner,
    c.relacl AS acl, 'pg_class'::pg_catalog.regclass AS class, '' AS args
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relacl IS NOT NULL AND c.relpersistence <> 't'
  UNION ALL
  SELECT 'TABLE', n.nspname, c.relname, a.attname, c.oid, c.relowner, a.attacl, 'pg_class'::pg_catalog.regclass, ''
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.relpersistence <> 't'
  UNION ALL
  SELECT 'ROUTINE', n.nspname, p.proname, '', p.oid, p.proowner, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)), 'pg_proc'::pg_catalog.regclass,
    coalesce((SELECT pg_catalog.string_agg('"' || pg_catalog.replace(tn.nspname, '"', '""') || '"."' || pg_catalog.replace(t.typname, '"', '""') || '"', ',' ORDER BY u.i)
      FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY u(o, i) JOIN pg_catalog.pg_type t ON t.oid = u.o JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace), '')
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.oid >= 16384 AND p.prorettype NOT IN ('trigger'::pg_catalog.regtype, 'event_trigger'::pg_catalog.regtype)
  UNION ALL
  SELECT 'SCHEMA', '', n.nspname, '', n.oid, n.nspowner, n.nspacl, 'pg_namespace'::pg_catalog.regclass, '' FROM pg_catalog.pg_namespace n WHERE n.nspacl IS NOT NULL
  UNION ALL
  SELECT 'DATABASE', '', d.datname, '', d.oid, d.datdba, coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba)), 'pg_database'::pg_catalog.regclass, ''
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
) x CROSS JOIN LATERAL pg_catalog.aclexplode(x.acl) e LEFT JOIN pg_catalog.pg_roles g ON g.oid = e.grantee) r`

// object names what an access right is on.
func object(kind, schema, name, args string) string {
	switch kind {
	case "SCHEMA", "DATABASE":
		return quote(name)
	case "ROUTINE":
		return qualified(schema, name) + "(" + args + ")"
	}
	return qualified(schema, name)
}

// grants reads what the two roles may do, and what others may in the shadow schema.
func (l *loader) grants() {
	l.rows("SELECT kind, schema, name, col, privilege_type, grantee, args FROM "+acls+" WHERE NOT owns AND (grantee IN ("+l.login+", "+l.owner+
		") OR schema = "+l.schema+" OR kind = 'SCHEMA' AND name = "+l.schema+")", func(v []string) {
		on := right{v[4], v[0], object(v[0], v[1], v[2], v[6]), v[3]}.on()
		to, who := quote(v[5]), v[5]
		if v[5] == "" {
			to, who = "PUBLIC", "everybody"
		}
		key := grantKey(on, to)
		l.live.found[key] = ""
		l.drift(key, makeGrants, who+" has "+on, "REVOKE "+on+" FROM "+to)
	})
}

// otherRights reads what the login owns, or may do to things that no policy is about.
func (l *loader) otherRights() {
	l.rows(`SELECT d.deptype, pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_catalog.pg_shdepend d
JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::pg_catalog.regclass
JOIN pg_catalog.pg_database b ON b.datname = pg_catalog.current_database() AND d.dbid IN (0, b.oid)
WHERE r.rolname = `+l.login+` AND (d.deptype = 'o' OR d.deptype = 'a' AND d.classid NOT IN
('pg_class'::pg_catalog.regclass, 'pg_proc'::pg_catalog.regclass, 'pg_namespace'::pg_catalog.regclass, 'pg_database'::pg_catalog.regclass))`, func(v []string) {
		if v[0] == "o" {
			l.drift("owns "+v[1], unmake, "role "+l.p.Role.Login+" owns "+v[1]+": give it to another role")
		} else {
			l.drift("right "+v[1], unmake, "role "+l.p.Role.Login+" has rights on "+v[1]+": revoke them")
		}
	})
	l.rows(`SELECT r.rolname FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::pg_catalog.regclass
WHERE d.dbid <> 0 AND d.dbid <> (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
AND r.rolname IN (`+l.login+", "+l.owner+") GROUP BY 1", func(v []string) { l.live.inUse[v[0]] = true })
}

// public reads what everybody may do.
func (l *loader) public() {
	l.rows(`SELECT r.kind, r.schema, r.name, r.col, r.privilege_type, r.args, r.oid, r.extension, coalesce(r.also, '')
FROM (SELECT r.*, pg_catalog.string_agg(nullif(r.grantee, ''), E'\n') OVER (PARTITION BY r.kind, r.oid, r.col, r.privilege_type) AS also FROM `+acls+`) r
WHERE r.grantee = '' AND (r.kind = 'DATABASE' AND r.privilege_type <> 'CONNECT' OR r.oid >= 16384 AND r.kind <> 'DATABASE' OR r.kind = 'SCHEMA')
AND r.schema NOT IN ('information_schema', `+l.schema+`) AND NOT (r.kind = 'SCHEMA' AND r.name IN ('pg_catalog', 'information_schema', `+l.schema+`))
ORDER BY r.kind, r.schema, r.name, r.args`, func(v []string) {
		x := publicRight{right: right{v[4], v[0], object(v[0], v[1], v[2], v[5]), v[3]}, schema: v[1], ofServer: v[7] == "t"}
		if v[0] == "SCHEMA" {
			x.schema = v[2]
		}
		oid, _ := strconv.ParseUint(v[6], 10, 32)
		x.oid = uint32(oid)
		if v[8] != "" {
			x.also = strings.Split(v[8], "\n")
		}
		l.live.public = append(l.live.public, x)
	})
}
