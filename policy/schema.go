package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A Schema says what a value may be, in the words of OpenAPI v3 as Kubernetes
// knows it. It is not written down anywhere: the decoder itself tells it, so that
// what an API server admits and what [Parse] reads have the same fields.
//
// A Schema admits more than Parse does: what a text means, and whether the parts
// fit each other, only Parse knows.
type Schema struct {
	Description string             `json:"description,omitempty"`
	Type        string             `json:"type,omitempty"`
	Format      string             `json:"format,omitempty"`
	Nullable    bool               `json:"nullable,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	MinLength   int64              `json:"minLength,omitempty"`
	MaxLength   int64              `json:"maxLength,omitempty"`
	MinItems    int64              `json:"minItems,omitempty"`
	MaxItems    int64              `json:"maxItems,omitempty"`
	Minimum     *int64             `json:"minimum,omitempty"`
	Maximum     *int64             `json:"maximum,omitempty"`
	Items       *Schema            `json:"items,omitempty"`
	Properties  map[string]*Schema `json:"properties,omitempty"`
	Values      *Schema            `json:"additionalProperties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	// IntOrString is set for sizes: 4096, or "2MiB".
	IntOrString bool `json:"x-kubernetes-int-or-string,omitempty"`
	// Open is set where a value is either a word or a mapping, which no structural
	// schema can say. Parse alone judges it.
	Open        bool         `json:"x-kubernetes-preserve-unknown-fields,omitempty"`
	ListType    string       `json:"x-kubernetes-list-type,omitempty"`
	Validations []Validation `json:"x-kubernetes-validations,omitempty"`
}

// A Validation is a condition in CEL on a value and its parts.
type Validation struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

// SchemaOf returns the schema of spec of a kind, nil for a kind that there is not.
func SchemaOf(kind string) *Schema {
	d := &decoder{problems: &problems{}}
	o := newOutline()
	decode, ok := d.kinds(&Document{})[kind]
	if !ok {
		return nil
	}
	decode(o)
	o.annotate(kind, "spec")
	return o.schema
}

// An outline stands in the place of a node. Given to a decoder, it learns what the
// decoder would take.
type outline struct {
	*ast.NullNode
	schema *Schema
}

func newOutline() *outline {
	return &outline{&ast.NullNode{BaseNode: &ast.BaseNode{}}, &Schema{}}
}

// outlined returns the schema to fill in, if n is an outline.
func outlined(n ast.Node) (*Schema, bool) {
	if o, ok := n.(*outline); ok {
		return o.schema, true
	}
	return nil, false
}

// outlineOf returns what decode would take.
func outlineOf(decode func(ast.Node)) *Schema {
	o := newOutline()
	decode(o)
	return o.schema
}

func (s *Schema) mapping(need required, fields []field) {
	s.Type, s.Properties = "object", map[string]*Schema{}
	for _, f := range fields {
		s.Properties[f.name] = outlineOf(f.decode)
	}
	s.Required = slices.Sorted(slices.Values(need))
}

func (s *Schema) bounds(low, high int64) {
	s.Type, s.Format, s.Minimum = "integer", "int64", &low
	if high < 1<<62 {
		s.Maximum = &high
	}
}

// annotate adds descriptions and conditions, which are no business of a decoder.
func (o *outline) annotate(kind, path string) { o.schema.annotate(kind, path) }

func (s *Schema) annotate(kind, path string) {
	s.Description, _ = describeField(kind, path)
	s.Validations = conditions[path]
	if own, ok := conditions[kind+"."+path]; ok {
		s.Validations = own
	}
	for name, p := range s.Properties {
		p.annotate(kind, path+"."+name)
	}
	if s.Items != nil {
		s.Items.annotate(kind, path+"[]")
	}
}

// describeField returns what is said of a field, and the key that says it: the
// longest end of kind.path, since many fields mean the same wherever they stand.
func describeField(kind, path string) (text, key string) {
	for rest := kind + "." + path; ; {
		if text, ok := descriptions[rest]; ok {
			return text, rest
		}
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return "", ""
		}
		rest = rest[i+1:]
	}
}

// Fields lists the paths of all fields, sorted, as spec.rules[].effect.
func (s *Schema) Fields(path string) []string {
	all := []string{path}
	for name, p := range s.Properties {
		all = append(all, p.Fields(path+"."+name)...)
	}
	if s.Items != nil {
		all = append(all, s.Items.Fields(path+"[]")...)
	}
	slices.Sort(all)
	return all
}

// At returns the schema at a path that Fields lists.
func (s *Schema) At(path string) (*Schema, error) {
	_, rest, _ := strings.Cut(path, ".")
	at := s
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, ".")
		bare := strings.TrimRight(name, "[]")
		at = at.Properties[bare]
		for range strings.Count(name, "[]") {
			if at != nil {
				at = at.Items
			}
		}
		if at == nil {
			return nil, fmt.Errorf("no field %s", path)
		}
	}
	return at, nil
}
