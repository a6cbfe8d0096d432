package sql

// TypeKind is pg_type.typtype.
type TypeKind string

const (
	BaseTypeKind   TypeKind = "b"
	CompositeKind  TypeKind = "c"
	DomainType     TypeKind = "d"
	EnumType       TypeKind = "e"
	PseudoType     TypeKind = "p"
	RangeType      TypeKind = "r"
	MultirangeType TypeKind = "m"
)

// Type is one row of pg_type.
type Type struct {
	OID      uint32   `json:"oid"`
	Schema   string   `json:"schema"`
	Name     string   `json:"name"`
	Kind     TypeKind `json:"kind"`
	Category string   `json:"category,omitempty"` // typcategory: S string, N numeric, D date/time, ...
	Element  uint32   `json:"element,omitempty"`  // of a true array
	Array    uint32   `json:"array,omitempty"`
	Base     uint32   `json:"base,omitempty"` // of a domain
	Typmod   int32    `json:"typmod,omitempty"`
	NotNull  bool     `json:"notNull,omitempty"` // of a domain
	Relation uint32   `json:"relation,omitempty"`
	// Calls are functions outside PostgreSQL itself that a value of this type
	// goes through unseen: input, output, subscripting, and a domain's CHECKs.
	Calls  []uint32 `json:"calls,omitempty"`
	Labels []string `json:"labels,omitempty"` // of an enum, in order
}

// System reports whether the type is PostgreSQL's own.
func (t *Type) System() bool { return t.OID < firstUserOID }

// FunctionKind is pg_proc.prokind.
type FunctionKind string

const (
	PlainFunction     FunctionKind = "f"
	Procedure         FunctionKind = "p"
	AggregateFunction FunctionKind = "a"
	WindowFunction    FunctionKind = "w"
)

// Function is one row of pg_proc: one overload.
type Function struct {
	OID             uint32       `json:"oid"`
	Schema          string       `json:"schema"`
	Name            string       `json:"name"`
	Kind            FunctionKind `json:"kind"`
	Args            []uint32     `json:"args,omitempty"`     // types of input arguments
	Defaults        int          `json:"defaults,omitempty"` // how many of the last may be left out
	Variadic        bool         `json:"variadic,omitempty"`
	Result          uint32       `json:"result"`
	Set             bool         `json:"set,omitempty"`
	Volatility      string       `json:"volatility"` // i, s, v
	SecurityDefiner bool         `json:"securityDefiner,omitempty"`
	Outputs         []Output     `json:"outputs,omitempty"` // OUT, INOUT and TABLE arguments
	Language        string       `json:"language"`
	// Calls are support functions outside PostgreSQL itself that an aggregate runs.
	Calls []uint32 `json:"calls,omitempty"`
}

// Output is an argument through which a function returns a column.
type Output struct {
	Name string `json:"name"`
	Type uint32 `json:"type"`
}

// System reports whether the function is PostgreSQL's own. One that an extension
// or a superuser put into pg_catalog is not.
func (f *Function) System() bool { return f.OID < firstUserOID }

// Operator is one row of pg_operator.
type Operator struct {
	OID      uint32 `json:"oid"`
	Schema   string `json:"schema"`
	Name     string `json:"name"`
	Left     uint32 `json:"left,omitempty"` // 0: prefix
	Right    uint32 `json:"right"`
	Result   uint32 `json:"result"`
	Function uint32 `json:"function"`
}

// System reports whether the operator is PostgreSQL's own.
func (o *Operator) System() bool { return o.OID < firstUserOID }

// Cast is one row of pg_cast.
type Cast struct {
	OID      uint32 `json:"oid"`
	Source   uint32 `json:"source"`
	Target   uint32 `json:"target"`
	Function uint32 `json:"function,omitempty"` // 0: binary coercible, or by input and output
	Context  string `json:"context"`            // e explicit, a assignment, i implicit
}

// System reports whether the cast is PostgreSQL's own.
func (k *Cast) System() bool { return k.OID < firstUserOID }

// Extension is an installed extension.
type Extension struct {
	Name    string `json:"name"`
	Schema  string `json:"schema"`
	Version string `json:"version"`
}
