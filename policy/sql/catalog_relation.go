package sql

// Schema is one namespace.
type Schema struct {
	OID   uint32 `json:"oid"`
	Name  string `json:"name"`
	Owner string `json:"owner"`
}

// System reports whether the schema is PostgreSQL's own: pg_catalog,
// information_schema, pg_toast. The public schema is not.
func (s *Schema) System() bool {
	return s.Name == "pg_catalog" || s.Name == "information_schema" || s.Name == "pg_toast"
}

// RelationKind is pg_class.relkind, as a string of one character.
type RelationKind string

const (
	Table            RelationKind = "r"
	PartitionedTable RelationKind = "p"
	View             RelationKind = "v"
	MaterializedView RelationKind = "m"
	ForeignTable     RelationKind = "f"
	Sequence         RelationKind = "S"
	CompositeType    RelationKind = "c" // a row type of its own; cannot stand in FROM
	Index            RelationKind = "i"
	PartitionedIndex RelationKind = "I"
	Toast            RelationKind = "t"
)

// Relation is one row of pg_class and what hangs on it.
type Relation struct {
	OID    uint32       `json:"oid"`
	Schema string       `json:"schema"`
	Name   string       `json:"name"`
	Kind   RelationKind `json:"kind"`
	Owner  string       `json:"owner,omitempty"`
	Type   uint32       `json:"type,omitempty"` // its row type
	// Table is the table that an index, a TOAST table or an owned sequence
	// belongs to, 0 otherwise.
	Table uint32 `json:"table,omitempty"`

	Columns []Column `json:"columns,omitempty"` // ascending by Number, dropped ones included; none for indexes and TOAST

	RowSecurity      bool     `json:"rowSecurity,omitempty"`
	ForceRowSecurity bool     `json:"forceRowSecurity,omitempty"`
	Policies         []Policy `json:"policies,omitempty"`

	Parents   []uint32 `json:"parents,omitempty"`  // direct, in order of inhseqno
	Children  []uint32 `json:"children,omitempty"` // direct
	Partition bool     `json:"partition,omitempty"`

	// Definition is the SELECT of a view or materialized view as pg_get_viewdef
	// prints it with an empty search_path: everything outside pg_catalog is
	// qualified. Empty for PostgreSQL's own views.
	Definition      string       `json:"definition,omitempty"`
	Depends         []Dependency `json:"depends,omitempty"` // what all its rules refer to, by pg_depend
	SecurityInvoker bool         `json:"securityInvoker,omitempty"`
	SecurityBarrier bool         `json:"securityBarrier,omitempty"`
	CheckOption     bool         `json:"checkOption,omitempty"`

	Rules       []Rule       `json:"rules,omitempty"` // without a view's _RETURN
	Triggers    []Trigger    `json:"triggers,omitempty"`
	Keys        []Key        `json:"keys,omitempty"`
	ForeignKeys []ForeignKey `json:"foreignKeys,omitempty"`
	Checks      []string     `json:"checks,omitempty"` // expressions of CHECK constraints

	// Calls are the functions outside PostgreSQL itself that reading or writing
	// the relation runs unseen: in rules, defaults, generated columns, CHECKs, index
	// expressions, policies, and operators behind any of these. Triggers have
	// their own list.
	Calls []uint32 `json:"calls,omitempty"`

	byName map[string]int // into Columns; nil for few columns
}

// System reports whether the relation is PostgreSQL's own.
func (r *Relation) System() bool { return r.OID < firstUserOID }

// Readable reports whether the relation can stand in a FROM clause.
func (r *Relation) Readable() bool {
	switch r.Kind {
	case Table, PartitionedTable, View, MaterializedView, ForeignTable, Sequence, Toast:
		return true
	}
	return false
}

// Column is one row of pg_attribute.
type Column struct {
	Number int16  `json:"n"` // from 1; system columns are not listed
	Name   string `json:"name"`
	Type   uint32 `json:"type"`
	Typmod int32  `json:"typmod"` // -1: none
	// TypeName is how SQL names the type with its modifier, outside pg_catalog
	// qualified: "character varying(20)", "app.mood".
	TypeName  string `json:"typeName"`
	Collation string `json:"collation,omitempty"` // quoted and qualified; empty: the type's own
	NotNull   bool   `json:"notNull,omitempty"`
	Dropped   bool   `json:"dropped,omitempty"` // Name and TypeName are then empty
	Identity  string `json:"identity,omitempty"`
	Generated string `json:"generated,omitempty"` // "s" stored, "v" virtual
	// Default is the default or generation expression as SQL, names qualified.
	Default string `json:"default,omitempty"`
	// From are the columns of the same table that a generated column is made of.
	From []int16 `json:"from,omitempty"`
}

// Dependency is one reference that a view or a rule makes, as the server itself
// has noted it. A whole-row reference has no column.
type Dependency struct {
	Relation uint32 `json:"relation"`
	Column   int16  `json:"column,omitempty"`
}

// Rule is a rewrite rule that the text of a statement does not show.
type Rule struct {
	Name       string `json:"name"`
	Event      string `json:"event"` // "select", "update", "insert", "delete"
	Instead    bool   `json:"instead,omitempty"`
	Enabled    string `json:"enabled"` // O, D, R, A: as in pg_rewrite.ev_enabled
	Definition string `json:"definition"`
}

// Trigger runs a function on a relation. Internal ones (foreign keys) are left out.
type Trigger struct {
	Name     string `json:"name"`
	Function uint32 `json:"function"`
	Enabled  string `json:"enabled"` // O, D, R, A: as in pg_trigger.tgenabled
	Insert   bool   `json:"insert,omitempty"`
	Update   bool   `json:"update,omitempty"`
	Delete   bool   `json:"delete,omitempty"`
	Truncate bool   `json:"truncate,omitempty"`
	// Columns of UPDATE OF; none: every column.
	Columns []int16 `json:"columns,omitempty"`
}

// Key is a primary key or unique constraint.
type Key struct {
	Name       string  `json:"name"`
	Primary    bool    `json:"primary,omitempty"`
	Deferrable bool    `json:"deferrable,omitempty"` // then no functional dependency
	Columns    []int16 `json:"columns"`
}

// ForeignKey is a reference from the relation that has it. Actions are those of
// pg_constraint: a no action, r restrict, c cascade, n set null, d set default.
type ForeignKey struct {
	Name       string  `json:"name"`
	References uint32  `json:"references"`
	Columns    []int16 `json:"columns"`
	Referenced []int16 `json:"referenced"`
	OnUpdate   string  `json:"onUpdate"`
	OnDelete   string  `json:"onDelete"`
}

// Reference is a foreign key seen from what it references.
type Reference struct {
	From *Relation
	Key  *ForeignKey
}

// Policy is a row security policy.
type Policy struct {
	Name    string `json:"name"`
	Command string `json:"command"` // r, a, w, d or *: as in pg_policy.polcmd
}

// fewColumns is up to where a scan beats a map.
const fewColumns = 8

// index prepares Column for wide relations.
func (r *Relation) index() {
	if len(r.Columns) <= fewColumns {
		return
	}
	r.byName = make(map[string]int, len(r.Columns))
	for i := range r.Columns {
		if !r.Columns[i].Dropped {
			r.byName[r.Columns[i].Name] = i
		}
	}
}

// Column returns the live column of that name, nil if there is none. System
// columns are not among them: see SystemColumn.
func (r *Relation) Column(column string) *Column {
	if r.byName != nil {
		if i, ok := r.byName[column]; ok {
			return &r.Columns[i]
		}
		return nil
	}
	for i := range r.Columns {
		if c := &r.Columns[i]; c.Name == column && !c.Dropped {
			return c
		}
	}
	return nil
}

// ColumnByNumber returns the column with that number, dropped or not, nil if
// there is none.
func (r *Relation) ColumnByNumber(n int16) *Column {
	// Numbers are dense from 1, unless a snapshot was made by hand.
	if i := int(n) - 1; i >= 0 && i < len(r.Columns) && r.Columns[i].Number == n {
		return &r.Columns[i]
	}
	for i := range r.Columns {
		if r.Columns[i].Number == n {
			return &r.Columns[i]
		}
	}
	return nil
}

// PrimaryKey returns the primary key's columns, nil if there is none.
func (r *Relation) PrimaryKey() []int16 {
	for i := range r.Keys {
		if r.Keys[i].Primary {
			return r.Keys[i].Columns
		}
	}
	return nil
}

// SystemColumn reports whether column is one that every table has: ctid,
// tableoid, xmin and so on. A user's column cannot have such a name.
func SystemColumn(column string) bool {
	switch column {
	case "ctid", "tableoid", "xmin", "xmax", "cmin", "cmax":
		return true
	}
	return false
}
