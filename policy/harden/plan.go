package harden

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// Options tune New. The zero value refuses hash masks.
type Options struct {
	// Key gives the key of the hash mask of a tag; it must be the proxy's own, or
	// tokens differ from those of mode inline.
	Key func(tag string) mask.Key
}

// Plan is the desired state of one database. It is immutable.
type Plan struct {
	Resource string // name of the Database resource
	Database string // name of the database that the catalog is of
	Role     policy.Role
	Notes    []string // what an operator should know, in plain sentences
	Views    []View   // in order of name

	wanted map[string]fact // by key
	calls  map[uint32]bool // functions that PUBLIC may keep
}

// View is one view of the shadow schema.
type View struct {
	Name    string
	Of      string // the relation, as schema.name
	Query   string
	Barrier bool
	Writes  bool // it is the one to write to
}

// New computes the desired state. c must be loaded by a login that sees
// everything, such as the one that will run the statements.
func New(c *sql.Catalog, set *policy.Set, database string, o Options) (*Plan, error) {
	db := set.Database(database)
	switch {
	case db == nil:
		return nil, fmt.Errorf("there is no Database %q", database)
	case db.Mode != policy.ModeRole:
		return nil, fmt.Errorf("kind Database %q has mode: inline, which needs nothing in the database; write mode: role to harden it", database)
	}
	profiles, err := set.Profiles(database)
	if err != nil {
		return nil, err
	}
	b := &builder{c: c, db: db, o: o, reach: set.Reach(database), profiles: profiles,
		p: &Plan{Resource: database, Database: c.Database, Role: db.Role, wanted: map[string]fact{}, calls: map[uint32]bool{}}}
	b.roles()
	b.relations()
	b.functions()
	b.revealed(set)
	if b.err != nil {
		return nil, b.err
	}
	sort.Slice(b.p.Views, func(i, j int) bool { return b.p.Views[i].Name < b.p.Views[j].Name })
	return b.p, nil
}

// builder fills a Plan.
type builder struct {
	c        *sql.Catalog
	db       *policy.Database
	o        Options
	p        *Plan
	reach    []*policy.View
	profiles []*policy.View
	tags     map[string]bool
	err      error
}

func (b *builder) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(b.p.Notes, s) {
		b.p.Notes = append(b.p.Notes, s)
	}
}

func (b *builder) roles() {
	r := b.db.Role
	b.want(roleFact(r.Owner(), false))
	b.want(roleFact(r.Login, true))
	b.want(schemaFact(r))
	b.want(stateFact(r))
	b.want(grantFact("CONNECT", "DATABASE", quote(b.c.Database), "", r.Login))
	b.want(grantFact("USAGE", "SCHEMA", quote(r.Schema), "", r.Login))
}

func (b *builder) want(f fact) { b.p.wanted[f.key] = f }

// may reports whether any policy lets anybody do something, at any time.
func (b *builder) may(action protocol.Action, o protocol.Object, column string) bool {
	st := protocol.Statement{Understood: true, Accesses: []protocol.Access{{Action: action, Object: o}}}
	if column != "" {
		st.Accesses[0].Columns = []string{column}
	}
	for _, v := range b.reach {
		for _, filtered := range []bool{true, false} {
			st.Filtered = filtered
			st.Accesses = append(st.Accesses[:1], sql.Along(b.c, v, st.Accesses[0], filtered)...)
			if v.Decide(&st).Verdict != protocol.Deny {
				return true
			}
		}
	}
	return false
}

// rights are what may ever be done to one relation.
type rights struct {
	read, insert, update []string
	remove, lock         bool
}

func (b *builder) rightsOn(r *sql.Relation) rights {
	var out rights
	o := protocol.Object{Kind: protocol.Relation, Schema: r.Schema, Name: r.Name}
	for i := range r.Columns {
		if c := &r.Columns[i]; !c.Dropped {
			if b.may(protocol.Select, o, c.Name) {
				out.read = append(out.read, c.Name)
			}
			if b.may(protocol.Insert, o, c.Name) {
				out.insert = append(out.insert, c.Name)
			}
			if b.may(protocol.Update, o, c.Name) {
				out.update = append(out.update, c.Name)
			}
		}
	}
	out.remove = b.may(protocol.Delete, o, "")
	out.lock = b.may(protocol.Lock, o, "")
	return out
}

// relations makes the views and grants of all relations that may be touched.
func (b *builder) relations() {
	b.tags = map[string]bool{}
	for i := range b.c.Relations {
		r := &b.c.Relations[i]
		if r.System() || !r.Readable() || r.Kind == sql.Toast || r.Schema == b.db.Role.Schema || sql.IsTemp(r.Schema) || strings.HasPrefix(r.Schema, "pg_") {
			continue
		}
		if x := b.rightsOn(r); len(x.read) > 0 || len(x.insert) > 0 || len(x.update) > 0 || x.remove {
			b.relation(r, x)
		}
	}
	if len(b.tags) == 0 {
		return
	}
	if b.o.Key == nil {
		b.err = errors.New("a column is masked by hash: the secret of the masks is needed (--mask-key)")
		return
	}
	b.want(keysFact(b.db.Role, b.tags, b.o.Key))
}

func (b *builder) relation(r *sql.Relation, x rights) {
	role := b.db.Role
	name := qualified(r.Schema, r.Name)
	made := false
	for _, v := range b.profiles {
		s, err := sql.ShadowOf(b.c, v, r, func(c string) bool { return slices.Contains(x.read, c) }, b.storedKey)
		if err != nil {
			b.note("%s has no view, and so can't be used: %v", name, err)
			return
		}
		made = true
		for _, t := range s.Tags {
			b.tags[t] = true
		}
		b.readView(s, x)
		if s.Write != "" && (len(x.insert) > 0 || len(x.update) > 0 || x.remove) {
			b.writeView(s, x)
		}
	}
	if !made {
		return
	}
	b.want(grantFact("USAGE", "SCHEMA", quote(r.Schema), "", role.Owner()))
	kind := "TABLE"
	if r.Kind == sql.Sequence {
		kind = "SEQUENCE"
	}
	b.want(grantFact("SELECT", kind, name, "", role.Owner()))
	for priv, on := range map[string]bool{"INSERT": len(x.insert) > 0, "UPDATE": len(x.update) > 0 || x.lock, "DELETE": x.remove} {
		if on && r.Kind != sql.MaterializedView && r.Kind != sql.Sequence {
			b.want(grantFact(priv, "TABLE", name, "", role.Owner()))
		}
	}
	if len(x.insert) > 0 {
		b.sequences(r)
	}
	// USAGE gives no right to what is inside. Without it the schema drops out of
	// the path that names are looked up by, and its types can't be named.
	b.usage(r.Schema)
	b.types(r)
	if r.RowSecurity {
		b.note("%s has row level security: its policies apply to the role %s, which reads it for the views, and not to %s", name, role.Owner(), role.Login)
	}
}

// storedKey is where views find the key of a tag: in a table that their owner
// alone can read.
func (b *builder) storedKey(tag string) mask.Key {
	from := " FROM " + qualified(b.db.Role.Schema, keysTable) + " WHERE " + keysTable + ".tag OPERATOR(pg_catalog.=) " + literal(tag) + ")"
	return mask.StoredKey("(SELECT outer_pad"+from, "(SELECT inner_pad"+from)
}

func (b *builder) view(v View) {
	if f := viewFact(b.db.Role, v); b.p.wanted[f.key].key == "" {
		b.want(f)
		b.p.Views = append(b.p.Views, v)
	}
}

func (b *builder) readView(s *sql.Shadow, x rights) {
	if len(x.read) == 0 {
		return
	}
	login := b.db.Role.Login
	// The views hide no rows, so that what the planner moves into one computes with
	// its masks like anything outside. A barrier would only keep sorting, joins and
	// most conditions from using indexes.
	b.view(View{Name: s.Read, Of: s.Relation.Schema + "." + s.Relation.Name, Query: s.Query, Barrier: b.db.Role.Barrier && len(s.Masked) > 0})
	name := qualified(b.db.Role.Schema, s.Read)
	b.want(grantFact("SELECT", "TABLE", name, "", login))
	if x.lock && slices.Contains(s.System, "ctid") {
		// SELECT ... FOR UPDATE wants UPDATE on a column. This one can't be updated.
		b.want(grantFact("UPDATE", "TABLE", name, "ctid", login))
	}
}

func (b *builder) writeView(s *sql.Shadow, x rights) {
	login := b.db.Role.Login
	b.view(View{Name: s.Write, Of: s.Relation.Schema + "." + s.Relation.Name, Query: s.Target, Barrier: b.db.Role.Barrier && len(s.Masked) > 0, Writes: true})
	name := qualified(b.db.Role.Schema, s.Write)
	live := 0
	for i := range s.Relation.Columns {
		if !s.Relation.Columns[i].Dropped {
			live++
		}
	}
	readable := slices.Concat(s.Clear, s.Masks, s.System)
	for _, g := range []struct {
		priv    string
		columns []string
		whole   bool // the view has no column that this leaves out
	}{{"INSERT", x.insert, len(x.insert) == live}, {"UPDATE", x.update, len(x.update) == live}, {"SELECT", readable, len(s.Clear) == live}} {
		priv, columns := g.priv, g.columns
		if g.whole {
			columns = []string{""}
		}
		for _, c := range columns {
			b.want(grantFact(priv, "TABLE", name, c, login))
		}
	}
	if x.remove {
		b.want(grantFact("DELETE", "TABLE", name, "", login))
	}
}

// nextval finds the sequences that defaults draw from.
var nextval = regexp.MustCompile(`nextval\('((?:[^']|'')+)'::regclass\)`)

// sequences grants what defaults need, which run with the rights of the login.
func (b *builder) sequences(r *sql.Relation) {
	for i := range r.Columns {
		for _, m := range nextval.FindAllStringSubmatch(r.Columns[i].Default, -1) {
			if parts := split(strings.ReplaceAll(m[1], "''", "'")); len(parts) == 2 {
				b.want(grantFact("USAGE", "SEQUENCE", qualified(parts[0], parts[1]), "", b.db.Role.Login))
			}
		}
	}
}

// types lets the login name the types of columns, for casts.
func (b *builder) types(r *sql.Relation) {
	for i := range r.Columns {
		t := b.c.TypeByOID(r.Columns[i].Type)
		for t != nil && t.Element != 0 && t.Category == "A" {
			t = b.c.TypeByOID(t.Element)
		}
		if t != nil && !t.System() && !r.Columns[i].Dropped {
			b.usage(t.Schema)
		}
	}
}

func (b *builder) usage(schema string) {
	if schema != "pg_catalog" && schema != "information_schema" {
		b.want(grantFact("USAGE", "SCHEMA", quote(schema), "", b.db.Role.Login))
	}
}

// functions grants the functions that a policy allows, and spares those behind
// operators, casts and types of extensions, which statements run unseen.
func (b *builder) functions() {
	c := func(oid uint32) {
		if f := b.c.FunctionByOID(oid); f != nil && !f.System() && (f.Language == "c" || f.Language == "internal") && !f.SecurityDefiner {
			b.p.calls[oid] = true
		}
	}
	for i := range b.c.Operators {
		c(b.c.Operators[i].Function)
	}
	for i := range b.c.Casts {
		c(b.c.Casts[i].Function)
	}
	for i := range b.c.Types {
		for _, oid := range b.c.Types[i].Calls {
			c(oid)
		}
	}
	for i := range b.c.Functions {
		f := &b.c.Functions[i]
		if f.System() || strings.HasPrefix(f.Schema, "pg_") || !slices.ContainsFunc(b.reach, func(v *policy.View) bool { return v.Function(f.Schema, f.Name) }) {
			continue
		}
		b.p.calls[f.OID] = true
		b.want(grantFact("EXECUTE", "ROUTINE", b.signature(f), "", b.db.Role.Login))
		b.usage(f.Schema)
	}
}

// signature names an overload as regprocedure does with an empty search_path.
func (b *builder) signature(f *sql.Function) string {
	args := make([]string, len(f.Args))
	for i, oid := range f.Args {
		args[i] = "unknown"
		if t := b.c.TypeByOID(oid); t != nil {
			args[i] = qualified(t.Schema, t.Name)
		}
	}
	return qualified(f.Schema, f.Name) + "(" + strings.Join(args, ",") + ")"
}

// revealed warns of what the login can read because some policy reveals it.
func (b *builder) revealed(set *policy.Set) {
	for _, p := range set.Policies() {
		if slices.Contains(p.Databases, b.db.Name) || slices.Contains(p.Databases, "*") {
			if len(p.Reveal) > 0 {
				b.note("policy %s reveals %s: all subjects share one login, so for those tags Sluice alone stands between them", p.Name, strings.Join(p.Reveal, ", "))
			}
		}
	}
}
