package sql

import (
	"encoding/json"
	"strings"

	"sluicegate.io/sluice/policy"
)

// firstUserOID is the first OID that PostgreSQL gives to objects made after
// initdb (FirstNormalObjectId in its access/transam.h). An object below it is
// PostgreSQL's own, whatever schema it sits in; one above it is not, even in
// pg_catalog.
const firstUserOID = 16384

// Snapshot is what LoadCatalog reads of one database, and the JSON form of a
// [Catalog]. Objects of PostgreSQL itself are included; temporary ones are not.
type Snapshot struct {
	Epoch         string `json:"epoch"`   // what EpochQuery returned before the load
	ServerVersion int    `json:"version"` // server_version_num
	Database      string `json:"database"`
	User          string `json:"user"` // the login that loaded it
	Superuser     bool   `json:"superuser,omitempty"`
	BypassRLS     bool   `json:"bypassRLS,omitempty"`

	Schemas    []Schema    `json:"schemas"`
	Relations  []Relation  `json:"relations"`
	Types      []Type      `json:"types"`
	Functions  []Function  `json:"functions"`
	Operators  []Operator  `json:"operators"`
	Casts      []Cast      `json:"casts"`
	Extensions []Extension `json:"extensions,omitempty"`
}

// Catalog is an immutable picture of one database, indexed for the analysis. It
// is safe for concurrent use; nothing that it returns may be modified. Lookups
// by OID and by name are map accesses.
type Catalog struct {
	Snapshot

	schemas     map[string]*Schema
	relations   map[name]*Relation
	relationOID map[uint32]*Relation
	types       map[name]*Type
	typeOID     map[uint32]*Type
	functions   map[string][]*Function // by bare name
	functionOID map[uint32]*Function
	operators   map[string][]*Operator // by bare name
	casts       map[[2]uint32]*Cast    // source, target
	referenced  map[uint32][]Reference // by referenced relation
	userTypes   map[string]bool        // names of types outside PostgreSQL's own
	userCasts   []*Cast
	pieces      *pieceStore
}

// name is a schema-qualified name.
type name struct{ schema, name string }

// NewCatalog indexes s, which it then owns.
func NewCatalog(s Snapshot) *Catalog {
	c := &Catalog{
		Snapshot:    s,
		schemas:     make(map[string]*Schema, len(s.Schemas)),
		relations:   make(map[name]*Relation, len(s.Relations)),
		relationOID: make(map[uint32]*Relation, len(s.Relations)),
		types:       make(map[name]*Type, len(s.Types)),
		typeOID:     make(map[uint32]*Type, len(s.Types)),
		functions:   make(map[string][]*Function),
		functionOID: make(map[uint32]*Function, len(s.Functions)),
		operators:   make(map[string][]*Operator),
		casts:       make(map[[2]uint32]*Cast, len(s.Casts)),
		referenced:  make(map[uint32][]Reference),
		userTypes:   make(map[string]bool),
		pieces:      &pieceStore{views: make(map[*policy.View]*pieces)},
	}
	for i := range c.Schemas {
		c.schemas[c.Schemas[i].Name] = &c.Schemas[i]
	}
	for i := range c.Relations {
		r := &c.Relations[i]
		r.index()
		c.relations[name{r.Schema, r.Name}] = r
		c.relationOID[r.OID] = r
		for j := range r.ForeignKeys {
			f := &r.ForeignKeys[j]
			c.referenced[f.References] = append(c.referenced[f.References], Reference{From: r, Key: f})
		}
	}
	for i := range c.Types {
		t := &c.Types[i]
		c.types[name{t.Schema, t.Name}] = t
		c.typeOID[t.OID] = t
		if !t.System() {
			c.userTypes[t.Name] = true
		}
	}
	for i := range c.Functions {
		f := &c.Functions[i]
		c.functions[f.Name] = append(c.functions[f.Name], f)
		c.functionOID[f.OID] = f
	}
	for i := range c.Operators {
		o := &c.Operators[i]
		c.operators[o.Name] = append(c.operators[o.Name], o)
	}
	for i := range c.Casts {
		k := &c.Casts[i]
		c.casts[[2]uint32{k.Source, k.Target}] = k
		if !k.System() && k.Function != 0 {
			c.userCasts = append(c.userCasts, k)
		}
	}
	return c
}

// UnmarshalJSON reads a snapshot and indexes it.
func (c *Catalog) UnmarshalJSON(b []byte) error {
	var s Snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*c = *NewCatalog(s)
	return nil
}

// MarshalJSON writes the snapshot only.
func (c *Catalog) MarshalJSON() ([]byte, error) { return json.Marshal(&c.Snapshot) }

// Schema returns the named schema, nil if there is none.
func (c *Catalog) Schema(schema string) *Schema { return c.schemas[schema] }

// Relation returns the relation schema.relation, nil if there is none. Names are
// exact: folded and truncated as the server does it (see TruncateName).
func (c *Catalog) Relation(schema, relation string) *Relation {
	return c.relations[name{schema, relation}]
}

// RelationByOID returns the relation with that OID, nil if there is none.
func (c *Catalog) RelationByOID(oid uint32) *Relation { return c.relationOID[oid] }

// ResolveRelation finds an unqualified name along path, which is what
// current_schemas(true) tells: with pg_catalog where it is really searched.
// Temporary schemas are not in the catalog and are passed over: ask HasTemp.
func (c *Catalog) ResolveRelation(path []string, relation string) *Relation {
	for _, s := range path {
		if r := c.relations[name{s, relation}]; r != nil {
			return r
		}
	}
	return nil
}

// HasTemp reports whether path names a temporary schema, whose contents this
// package cannot know: any unqualified relation or type may then be another one.
func HasTemp(path []string) bool {
	for _, s := range path {
		if IsTemp(s) {
			return true
		}
	}
	return false
}

// IsTemp reports whether schema is a session's temporary schema, or the alias of it.
func IsTemp(schema string) bool {
	return schema == "pg_temp" || strings.HasPrefix(schema, "pg_temp_") || strings.HasPrefix(schema, "pg_toast_temp_")
}

// TruncateName cuts an identifier to 63 bytes as the server does, on a character
// boundary of UTF-8.
func TruncateName(s string) string {
	const max = 63
	if len(s) <= max {
		return s
	}
	n := max
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// ReferencedBy returns the foreign keys that point at relation oid: what a
// DELETE or UPDATE there may cascade to.
func (c *Catalog) ReferencedBy(oid uint32) []Reference { return c.referenced[oid] }

// Type returns the type schema.typ, nil if there is none.
func (c *Catalog) Type(schema, typ string) *Type { return c.types[name{schema, typ}] }

// TypeByOID returns the type with that OID, nil if there is none.
func (c *Catalog) TypeByOID(oid uint32) *Type { return c.typeOID[oid] }

// ResolveType finds an unqualified type name along path.
func (c *Catalog) ResolveType(path []string, typ string) *Type {
	for _, s := range path {
		if t := c.types[name{s, typ}]; t != nil {
			return t
		}
	}
	return nil
}

// BaseType follows domains down to what they are made of. It returns nil for an
// unknown type.
func (c *Catalog) BaseType(oid uint32) *Type {
	t := c.typeOID[oid]
	for n := 0; t != nil && t.Kind == DomainType && n < 64; n++ {
		t = c.typeOID[t.Base]
	}
	return t
}

// FunctionsNamed returns all functions of that bare name in whatever schema.
func (c *Catalog) FunctionsNamed(function string) []*Function { return c.functions[function] }

// FunctionByOID returns the function with that OID, nil if there is none.
func (c *Catalog) FunctionByOID(oid uint32) *Function { return c.functionOID[oid] }

// FunctionsIn returns the functions of that name in one schema.
func (c *Catalog) FunctionsIn(schema, function string) []*Function {
	return filter(c.functions[function], func(f *Function) bool { return f.Schema == schema })
}

// ResolveFunction returns every function that an unqualified call along path may
// reach. The server picks one of them by its argument types, not by the order of
// the path alone, so a caller must treat all of them as called. Functions are
// never looked for in temporary schemas.
func (c *Catalog) ResolveFunction(path []string, function string) []*Function {
	return filter(c.functions[function], func(f *Function) bool { return contains(path, f.Schema) })
}

// OperatorsNamed returns all operators of that bare name in whatever schema.
func (c *Catalog) OperatorsNamed(operator string) []*Operator { return c.operators[operator] }

// ResolveOperator returns every operator that an unqualified use along path may
// mean. As with functions, the argument types decide.
func (c *Catalog) ResolveOperator(path []string, operator string) []*Operator {
	return filter(c.operators[operator], func(o *Operator) bool { return contains(path, o.Schema) })
}

// Cast returns the cast between two types, nil if pg_cast has none: conversions
// by input and output functions, to and from arrays and rows are not in there.
func (c *Catalog) Cast(source, target uint32) *Cast { return c.casts[[2]uint32{source, target}] }

// filter returns all itself if every element passes, which is the common case.
func filter[T any](all []*T, keep func(*T) bool) []*T {
	for i, x := range all {
		if keep(x) {
			continue
		}
		out := append([]*T(nil), all[:i]...)
		for _, x := range all[i+1:] {
			if keep(x) {
				out = append(out, x)
			}
		}
		return out
	}
	return all
}

func contains(path []string, schema string) bool {
	for _, s := range path {
		if s == schema {
			return true
		}
	}
	return false
}
