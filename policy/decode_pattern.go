package policy

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A shape says which parts a pattern has where it stands.
type shape uint8

const (
	shapeObject   shape = iota // schema.name, or schema.name.column; "*" and "name" too
	shapeColumn                // schema.table.column
	shapeFunction              // schema.name
)

// patterns returns a decoder of a list of patterns.
func (d *decoder) patterns(to *[]Pattern, what string, is shape) func(ast.Node) {
	return func(n ast.Node) {
		*to = []Pattern{}
		seen := map[Pattern]bool{}
		d.each(n, what, func(e ast.Node) {
			s, ok := d.text(e, "an element of "+what)
			if !ok {
				return
			}
			p, problem := parsePattern(s, is)
			if problem != "" {
				d.errorf(e, "%q in %s: %s", clip(s), what, problem)
				return
			}
			if seen[p] {
				d.errorf(e, "%q is listed twice in %s", clip(s), what)
				return
			}
			seen[p] = true
			p.Pos = d.where(e)
			*to = append(*to, p)
		})
	}
}

// parsePattern reads a pattern, or says what is wrong with it.
func parsePattern(s string, is shape) (Pattern, string) {
	parts, problem := splitPattern(s)
	if problem != "" {
		return Pattern{}, problem
	}
	switch is {
	case shapeColumn:
		if len(parts) != 3 {
			return Pattern{}, `write "schema.table.column"; each part may be *`
		}
	case shapeFunction:
		if len(parts) != 2 || parts[0] == "*" {
			return Pattern{}, `write "schema.function", or "schema.*" for all of a schema`
		}
	case shapeObject:
		if len(parts) > 3 {
			return Pattern{}, `write "schema.table" or "schema.table.column"`
		}
	}
	switch len(parts) {
	case 1:
		return Pattern{Name: parts[0]}, ""
	case 2:
		return Pattern{Schema: parts[0], Name: parts[1]}, ""
	}
	p := Pattern{Schema: parts[0], Name: parts[1], Column: parts[2]}
	if is == shapeObject && p.Column == "*" {
		return Pattern{}, `leave ".*" out: a table stands for all its columns`
	}
	return p, ""
}

// splitPattern cuts at dots. A part in double quotes is taken as it is, with ""
// for a quote. An unquoted part is in lower case: who copies Customers from a query
// would else write a rule that matches nothing.
func splitPattern(s string) ([]string, string) {
	var parts []string
	rest := s
	for {
		var part string
		if strings.HasPrefix(rest, `"`) {
			end := 1
			for {
				i := strings.IndexByte(rest[end:], '"')
				if i < 0 {
					return nil, "a quote is not closed"
				}
				end += i + 1
				if end >= len(rest) || rest[end] != '"' {
					break
				}
				end++
			}
			part = strings.ReplaceAll(rest[1:end-1], `""`, `"`)
			rest = rest[end:]
			if part == "*" {
				return nil, "an object whose name is * cannot be named"
			}
		} else {
			end := strings.IndexByte(rest, '.')
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
			if part != "*" && strings.ContainsAny(part, "*?[]{}()\"'`,;:/\\ \t\r\n") {
				return nil, `a part is a whole name or *; put a name with special characters in double quotes, as in 'app."odd name"'`
			}
			if lower := strings.ToLower(part); lower != part {
				return nil, fmt.Sprintf(`PostgreSQL folds names to lower case: write %s, or '"%s"' in double quotes if it is really spelled so`, lower, part)
			}
		}
		if part == "" {
			return nil, "a part is empty"
		}
		if len(part) > 63 {
			return nil, "a name is longer than the 63 bytes that PostgreSQL keeps"
		}
		parts = append(parts, part)
		if rest == "" {
			return parts, ""
		}
		if rest[0] != '.' {
			return nil, "expected a dot between names"
		}
		rest = rest[1:]
	}
}
