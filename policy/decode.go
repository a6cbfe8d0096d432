package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A decoder turns the tree of one YAML document into a resource. What is wrong
// goes to problems, and decoding goes on, so that all of it is told at once.
type decoder struct {
	file     string
	object   bool // fields are told, not lines
	offset   int  // lines before the document
	problems *problems
}

func (d *decoder) at(line, column int) Position {
	return Position{File: d.file, Line: line + d.offset, Column: column}
}

func (d *decoder) pos(t *token.Token) Position {
	if t == nil || t.Position == nil {
		return d.at(1, 1)
	}
	return d.at(t.Position.Line, t.Position.Column)
}

// where returns the place that a reader of the file would point at.
func (d *decoder) where(n ast.Node) Position {
	if d.object {
		at := Position{File: d.file}
		if kv, ok := n.(*ast.MappingValueNode); ok {
			n = kv.Key
		}
		if n != nil {
			at.Field = n.GetPath()
		}
		return at
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return d.pos(n.Values[0].Key.GetToken())
		}
		return d.pos(n.Start)
	case *ast.MappingValueNode:
		return d.pos(n.Key.GetToken())
	case nil:
		return d.at(1, 1)
	}
	return d.pos(n.GetToken())
}

func (d *decoder) errorf(n ast.Node, format string, args ...any) {
	d.problems.add(d.where(n), format, args...)
}

// A field is a key that a mapping may have.
type field struct {
	name   string
	decode func(ast.Node)
}

// required marks the fields of a mapping that must be there.
type required []string

// mapping decodes n, a mapping of the given fields; what names it in errors.
// It reports whether n is a mapping at all.
func (d *decoder) mapping(n ast.Node, what string, need required, fields ...field) bool {
	if s, ok := outlined(n); ok {
		s.mapping(need, fields)
		return false
	}
	pairs, ok := d.pairs(n, what)
	if !ok {
		return false
	}
	var seen []string
	for _, kv := range pairs {
		name, ok := d.key(kv)
		if !ok {
			continue
		}
		if slices.Contains(seen, name) {
			d.errorf(kv, "%q is given twice", name)
			continue
		}
		seen = append(seen, name)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			d.errorf(kv, "unknown field %q in %s%s", clip(name), what, known(name, fields))
			continue
		}
		if empty(kv.Value) && !slices.Contains(nullable, name) {
			d.errorf(kv, "%s has no value", name)
			continue
		}
		fields[i].decode(kv.Value)
	}
	for _, name := range need {
		if !slices.Contains(seen, name) {
			d.errorf(n, "%s needs %q", what, name)
		}
	}
	return true
}

// nullable are the fields in which null has a meaning: a mask of that name, and what
// kubectl writes of an object that was not created yet.
var nullable = []string{"mask", "creationTimestamp"}

// known says what could have been meant.
func known(name string, fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return oneOf(name, names)
}

// oneOf suggests the nearest of words, or lists them all.
func oneOf(got string, words []string) string {
	best, distance := "", 3
	for _, w := range words {
		if n := edits(strings.ToLower(got), strings.ToLower(w)); n < distance {
			best, distance = w, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	words = slices.Clone(words)
	slices.Sort(words)
	return "; known: " + strings.Join(words, ", ")
}

// edits is the number of letters to change to turn a into b; long words are far apart.
func edits(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func empty(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// pairs returns the key: value pairs of a mapping.
func (d *decoder) pairs(n ast.Node, what string) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	d.errorf(n, "%s must be a mapping (key: value), not %s", what, describe(n))
	return nil, false
}

// key returns the name of a pair.
func (d *decoder) key(kv *ast.MappingValueNode) (string, bool) {
	if s, ok := ast.Node(kv.Key).(*ast.StringNode); ok {
		return s.Value, true
	}
	d.errorf(kv, "a key must be a plain word, not %s", describe(kv.Key))
	return "", false
}

// describe names a node's type as its writer would.
func describe(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "a string"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.AliasNode:
		return "an alias (quote a text that starts with *)"
	case *ast.AnchorNode:
		return "an anchor (quote a text that starts with &)"
	case *ast.TagNode:
		return "a tag (quote a text that starts with !)"
	case *ast.MergeKeyNode:
		return "a merge key (<<), which is not supported"
	}
	return "something else"
}

// each calls decode for the elements of a list.
func (d *decoder) each(n ast.Node, what string, decode func(ast.Node)) {
	if s, ok := outlined(n); ok {
		s.Type, s.ListType, s.Items = "array", "atomic", outlineOf(decode)
		return
	}
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.errorf(n, "%s must be a list, not %s", what, describe(n))
		return
	}
	for _, v := range list.Values {
		if empty(v) {
			d.errorf(n, "%s has an empty element", what)
			continue
		}
		decode(v)
	}
}

// text returns a string. Numbers and booleans must be quoted to be one.
func (d *decoder) text(n ast.Node, what string) (string, bool) {
	if s, ok := outlined(n); ok {
		s.Type, s.MinLength = "string", 1
		return "", false
	}
	var s string
	switch n := n.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.LiteralNode:
		s = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.errorf(n, "%s must be a string, not %s: put it in quotes", what, describe(n))
		return "", false
	default:
		d.errorf(n, "%s must be a string, not %s", what, describe(n))
		return "", false
	}
	if strings.IndexByte(s, 0) >= 0 {
		d.errorf(n, "%s holds a NUL byte", what)
		return "", false
	}
	if s == "" {
		d.errorf(n, "%s must not be empty", what)
		return "", false
	}
	return s, true
}

// clip shortens a text from a file for use in a message.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:57], "") + "..."
	}
	return s
}

// into returns a decoder of a string field.
func (d *decoder) into(to *string, what string) func(ast.Node) {
	return func(n ast.Node) { *to, _ = d.text(n, what) }
}

// texts returns a decoder of a list of strings.
func (d *decoder) texts(to *[]string, what string) func(ast.Node) {
	return func(n ast.Node) {
		*to = []string{}
		d.each(n, what, func(e ast.Node) {
			s, ok := d.text(e, "an element of "+what)
			if !ok {
				return
			}
			if slices.Contains(*to, s) {
				d.errorf(e, "%q is listed twice in %s", clip(s), what)
				return
			}
			*to = append(*to, s)
		})
	}
}

// noting returns a decoder that also keeps the places of a list's elements.
func (d *decoder) noting(places map[string]Position, decode func(ast.Node)) func(ast.Node) {
	return func(n ast.Node) {
		decode(n)
		list, _ := n.(*ast.SequenceNode)
		if list == nil {
			return
		}
		for _, e := range list.Values {
			if s, ok := e.(*ast.StringNode); ok {
				places[s.Value] = d.where(e)
			}
		}
	}
}

// flag returns a decoder of true or false.
func (d *decoder) flag(to *bool, what string) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := outlined(n); ok {
			s.Type = "boolean"
			return
		}
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.errorf(n, "%s must be true or false, not %s", what, describe(n))
			return
		}
		*to = b.Value
	}
}

// word is one of a closed list and what it means.
type word[T any] struct {
	text  string
	value T
}

// choice returns a decoder of one of words.
func choice[T any](d *decoder, to *T, what string, words ...word[T]) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, what)
		if o, outline := outlined(n); outline {
			for _, w := range words {
				o.Enum = append(o.Enum, w.text)
			}
			o.MinLength = 0
		}
		if !ok {
			return
		}
		names := make([]string, len(words))
		for i, w := range words {
			if w.text == s {
				*to = w.value
				return
			}
			names[i] = w.text
		}
		d.errorf(n, "unknown %s %q%s", what, clip(s), oneOf(s, names))
	}
}

// labels returns a decoder of a mapping of strings to strings.
func (d *decoder) labels(to *map[string]string, what string) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := outlined(n); ok {
			s.Type, s.Values = "object", &Schema{Type: "string", MinLength: 1}
			return
		}
		pairs, ok := d.pairs(n, what)
		if !ok {
			return
		}
		*to = make(map[string]string, len(pairs))
		for _, kv := range pairs {
			k, ok := d.key(kv)
			if !ok {
				continue
			}
			if v, ok := d.text(kv.Value, what+"."+clip(k)); ok {
				(*to)[k] = v
			}
		}
	}
}
