package harden

import (
	"cmp"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
)

// fact is one thing that is to be true of the database.
type fact struct {
	key   string
	value string // what it is to be; facts with equal keys and values are the same
	text  string // of a Change that makes it true
	phase phase
	sql   []string
	// secret says that the statements hold a key and must not be shown.
	secret bool
	// right and role are those of a grant.
	right right
	role  string
}

// phase orders statements.
type phase int

const (
	unmake phase = iota
	makeRoles
	makeSchema
	makeTables
	makeViews
	makeGrants
	takeFromPublic
)

// Tables of the shadow schema beside the views. The login has no right to either.
const (
	keysTable  = "hash_keys"
	stateTable = "taken_from_public"
)

const madeHere = "made by sluice database harden"

func roleFact(name string, login bool) fact {
	can := "NOLOGIN"
	if login {
		can = "LOGIN"
	}
	return fact{key: "role " + quote(name), value: can, text: "make role " + name + " (" + can + ")", phase: makeRoles, sql: []string{
		do(fmt.Sprintf("IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s) THEN CREATE ROLE %s %s; COMMENT ON ROLE %s IS %s; END IF;",
			literal(name), quote(name), can, quote(name), literal(madeHere))),
	}}
}

func schemaFact(r policy.Role) fact {
	return fact{key: "schema " + quote(r.Schema), value: r.Owner(), text: "make schema " + r.Schema, phase: makeSchema, sql: []string{
		"CREATE SCHEMA IF NOT EXISTS " + quote(r.Schema) + " AUTHORIZATION " + quote(r.Owner())}}
}

func stateFact(r policy.Role) fact {
	name := qualified(r.Schema, stateTable)
	return fact{key: "table " + name, text: "make table " + name + ", which keeps what PUBLIC had", phase: makeTables, sql: []string{
		"CREATE TABLE IF NOT EXISTS " + name + " (class text, object text, privilege text, grantee text)"}}
}

func keysFact(r policy.Role, tags map[string]bool, key func(string) mask.Key) fact {
	name := qualified(r.Schema, keysTable)
	var sorted []string
	for t := range tags {
		sorted = append(sorted, t)
	}
	slices.Sort(sorted)
	sum := ""
	sql := []string{"CREATE TABLE IF NOT EXISTS " + name + " (tag text PRIMARY KEY, outer_pad bytea NOT NULL, inner_pad bytea NOT NULL)",
		"ALTER TABLE " + name + " OWNER TO " + quote(r.Owner()), "DELETE FROM " + name}
	for _, t := range sorted {
		outer, inner := key(t).Pads()
		o, i := hex.EncodeToString(outer[:]), hex.EncodeToString(inner[:])
		sum += t + " " + o + " " + i + "\n"
		sql = append(sql, fmt.Sprintf("INSERT INTO %s VALUES (%s, pg_catalog.decode('%s', 'hex'), pg_catalog.decode('%s', 'hex'))", name, literal(t), o, i))
	}
	digest := md5.Sum([]byte(sum))
	return fact{key: "table " + name, value: hex.EncodeToString(digest[:]), text: "write the keys of hash masks: " + strings.Join(sorted, ", "),
		phase: makeTables, sql: sql, secret: true}
}

// marker starts the comment of a view: what it was made from, and what the server
// made of that, so that a view that somebody altered is told apart.
const marker = "sluice 1 "

// definition is how the server says what a view is, under an empty search_path.
const definition = `pg_catalog.md5(pg_catalog.concat(pg_catalog.pg_get_viewdef(c.oid), ' ', c.reloptions,
(SELECT pg_catalog.string_agg(pg_catalog.pg_get_triggerdef(g.oid), ' ' ORDER BY g.oid) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid),
(SELECT pg_catalog.string_agg(pg_catalog.pg_get_ruledef(w.oid), ' ' ORDER BY w.oid) FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN')))`

func viewFact(r policy.Role, v View) fact {
	name := qualified(r.Schema, v.Name)
	with := ""
	if v.Barrier {
		with = " WITH (security_barrier)"
	}
	create := "CREATE VIEW " + name + with + " AS\n  " + v.Query
	digest := sha256.Sum256([]byte(create))
	from := marker + hex.EncodeToString(digest[:16])
	what := "read"
	if v.Writes {
		what = "write to"
	}
	return fact{key: "view " + name, value: from, text: "make view " + name + " to " + what + " " + v.Of, phase: makeViews, sql: []string{
		"DROP VIEW IF EXISTS " + name, create, "ALTER VIEW " + name + " OWNER TO " + quote(r.Owner()),
		do(fmt.Sprintf("EXECUTE (SELECT pg_catalog.format('COMMENT ON VIEW %%s IS %%L', %s, %s || %s) FROM pg_catalog.pg_class c WHERE c.oid = %s::pg_catalog.regclass);",
			literal(name), literal(from+" "), definition, literal(name))),
	}}
}

// right is a privilege on something.
type right struct{ priv, kind, object, column string }

func (r right) on() string {
	s := r.priv
	if r.column != "" {
		s += " (" + quote(r.column) + ")"
	}
	return s + " ON " + r.kind + " " + r.object
}

func grantFact(priv, kind, object, column, role string) fact {
	on := right{priv, kind, object, column}.on()
	return fact{key: grantKey(on, quote(role)), text: "grant " + on + " to " + role, phase: makeGrants,
		sql: []string{"GRANT " + on + " TO " + quote(role)}, right: right{priv, kind, object, column}, role: role}
}

func grantKey(on, grantee string) string { return "grant " + on + " TO " + grantee }

// A Change is one difference between a database and a Plan, and what ends it.
type Change struct {
	Text string // one sentence without a full stop
	// Drift says that the database has more than it should: a right that somebody
	// granted, a view that somebody altered.
	Drift bool
	// SQL ends the difference; empty if a person has to.
	SQL []string
	// Secret says that SQL holds keys and must not be shown.
	Secret bool

	phase   phase
	key     string
	right   right    // of a grant of columns
	columns []string // quoted
	role    string
}

// order sorts changes, and joins grants that differ in their column only.
func order(changes []Change) []Change {
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.phase, b.phase), strings.Compare(a.right.kind+a.right.object, b.right.kind+b.right.object),
			strings.Compare(a.right.priv+" "+a.role, b.right.priv+" "+b.role), strings.Compare(a.key, b.key))
	})
	out := changes[:0]
	for _, c := range changes {
		if n := len(out); n > 0 && c.role != "" && c.right == out[n-1].right && c.role == out[n-1].role {
			out[n-1].columns = append(out[n-1].columns, c.columns...)
			continue
		}
		out = append(out, c)
	}
	for i := range out {
		if c := &out[i]; c.role != "" {
			on := c.right.priv + " (" + strings.Join(c.columns, ", ") + ") ON " + c.right.kind + " " + c.right.object
			c.Text, c.SQL = "grant "+on+" to "+c.role, []string{"GRANT " + on + " TO " + quote(c.role)}
		}
	}
	return out
}

// change is what makes a fact true where nothing of it is there.
func (f fact) change() Change {
	c := Change{Text: f.text, SQL: f.sql, Secret: f.secret, phase: f.phase, key: f.key}
	if f.right.column != "" {
		c.columns, c.role, c.right = []string{quote(f.right.column)}, f.role, f.right
		c.right.column = ""
	}
	return c
}
