package sql

import (
	"regexp"

	"sluicegate.io/sluice/protocol"
)

// This file tells which statements leave nothing in their session that the server's
// DISCARD ALL does not take back, so that another client may have the session. All
// that is not known to be of that kind is of the other: state in a language's or a
// library's memory, settings that a library or a name with a dot made, the seed of
// random(), the schema of temporary tables.

// traceless are the tags of statements that may be. What they do to relations and
// which functions they run is looked at as well.
var traceless = map[string]bool{
	"SELECT": true, "INSERT": true, "UPDATE": true, "DELETE": true, "MERGE": true, "COPY": true, "EXPLAIN": true,
	"BEGIN": true, "START TRANSACTION": true, "COMMIT": true, "ROLLBACK": true, "SAVEPOINT": true, "RELEASE": true,
	"SET": true, "RESET": true, "SHOW": true, "SET CONSTRAINTS": true, "DISCARD": true, "LOCK TABLE": true,
	"PREPARE": true, "EXECUTE": true, "DEALLOCATE": true, "DECLARE CURSOR": true, "FETCH": true, "MOVE": true,
	"CLOSE CURSOR": true, "TRUNCATE TABLE": true,
}

// resets reports whether a statement is of that kind.
func (a *analysis) resets(st *protocol.Statement) bool {
	if a.leaves || !traceless[st.Tag] {
		return false
	}
	for i := range st.Accesses {
		x := &st.Accesses[i]
		switch x.Action {
		case protocol.Select, protocol.Insert, protocol.Update, protocol.Delete, protocol.Merge,
			protocol.Truncate, protocol.Lock:
		default:
			return false
		}
		rel := a.c.Relation(x.Object.Schema, x.Object.Name)
		if x.Object.Kind != protocol.Relation || rel == nil || !a.c.plain(rel, 0) {
			return false
		}
	}
	return true
}

// runsCode notes that a function runs, which is PostgreSQL's own or may leave anything.
func (a *analysis) runsCode(f *Function) {
	a.leaves = a.leaves || !f.traceless()
}

func (f *Function) traceless() bool {
	return f.System() && (safeFunction(f) && f.Name != "setseed" || f.numbers())
}

// native reports whether f is code of an extension in a library. Behind an operator, a
// cast or a type, such code computes on its arguments, and leaves no more than that its
// library is loaded.
func (f *Function) native() bool {
	return f.Language == "c" || f.Language == "internal"
}

// natives reports whether all of these functions are.
func (c *Catalog) natives(all []uint32) bool {
	for _, oid := range all {
		if f := c.functionOID[oid]; f == nil || !f.native() {
			return false
		}
	}
	return true
}

// numbers reports whether f draws from a sequence, which DISCARD SEQUENCES forgets.
func (f *Function) numbers() bool {
	switch f.Name {
	case "nextval", "currval", "setval", "pg_get_serial_sequence":
		return f.Schema == "pg_catalog"
	}
	return false
}

// sole reports whether no other relation has that name in another schema.
func (c *Catalog) sole(relation string) bool {
	n := 0
	for s := range c.schemas {
		if c.relations[name{s, relation}] != nil {
			n++
		}
	}
	return n == 1
}

// plain reports whether reading and writing a relation runs nothing but PostgreSQL's
// own code, but for triggers, which count where they fire.
func (c *Catalog) plain(r *Relation, depth int) bool {
	if r.System() {
		return true
	}
	switch r.Kind {
	case Table, PartitionedTable, View, MaterializedView, Sequence:
	default:
		return false // a foreign table keeps a connection
	}
	if depth > maxViews || !c.natives(r.Calls) || len(r.Rules) > 0 || r.RowSecurity && len(r.Policies) > 0 ||
		!c.plainText(r.Definition) {
		return false
	}
	for i := range r.Columns {
		if col := &r.Columns[i]; !col.Dropped && (!c.plainText(col.Default) || !c.plainType(col.Type)) {
			return false
		}
	}
	for _, text := range r.Checks {
		if !c.plainText(text) {
			return false
		}
	}
	for _, oid := range r.Children {
		if k := c.relationOID[oid]; k == nil || !c.plain(k, depth+1) {
			return false
		}
	}
	for _, d := range r.Depends {
		if k := c.relationOID[d.Relation]; k != r && (k == nil || !c.plain(k, depth+1)) {
			return false
		}
	}
	return true
}

// plainType reports whether making and showing a value of a type runs PostgreSQL's own
// code alone. A domain may check anything.
func (c *Catalog) plainType(oid uint32) bool {
	t := c.typeOID[oid]
	switch {
	case t == nil:
		return false
	case t.System():
		return true
	case t.Element != 0 && t.Category == "A":
		return c.plainType(t.Element)
	}
	return (t.Kind == EnumType || t.Kind == BaseTypeKind) && c.natives(t.Calls)
}

// calledName matches what may be a call in an expression as the server prints it.
var calledName = regexp.MustCompile(`"?([a-z_][a-z0-9_]*)"?\(`)

// plainText reports whether all that an expression or a view may call by a name of
// PostgreSQL's own leaves nothing. Other functions are in Calls.
func (c *Catalog) plainText(text string) bool {
	for _, m := range calledName.FindAllStringSubmatch(text, -1) {
		for _, f := range c.functions[m[1]] {
			if f.System() && f.Schema == "pg_catalog" && !f.traceless() {
				return false
			}
		}
	}
	return true
}
