package policy

import (
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"sluicegate.io/sluice/protocol"
)

// Scope says which rows of a relation are there for a subject: those in which
// Column has one of Values, or the one value that the token's claim or the
// workload's label has. It holds for all that reads or changes existing rows,
// whatever other rules allow: several scopes all hold.
type Scope struct {
	Column string
	Values []string // sorted; none, with neither Claim nor Label: no row at all
	Claim  string   // of the subject's token
	Label  string   // of its workload
}

// maxScopeValues bounds what stands in every query of a relation.
const maxScopeValues = 1000

// scoped is a decoder of match.scope.
func (d *decoder) scoped(to **Scope) func(ast.Node) {
	return func(n ast.Node) {
		s := &Scope{}
		sources := 0
		value := func(n ast.Node) {
			var v string
			d.constant(&v)(n)
			s.Values = append(s.Values, v)
		}
		d.mapping(n, "scope", required{"column"},
			field{"column", func(n ast.Node) {
				var list []string
				d.column(&list, n)
				if len(list) == 1 {
					s.Column = list[0]
				}
			}},
			field{"equals", func(n ast.Node) {
				sources++
				if s, ok := outlined(n); ok {
					s.Open = true
					return
				}
				if _, ok := n.(*ast.MappingNode); !ok {
					value(n)
					return
				}
				d.mapping(n, "equals", nil, field{"claim", d.into(&s.Claim, "claim")}, field{"label", d.into(&s.Label, "label")})
				if (s.Claim == "") == (s.Label == "") {
					d.errorf(n, "equals must be a text, a number, {claim: name} or {label: name}")
				}
			}},
			field{"in", func(n ast.Node) {
				sources++
				d.each(n, "in", value)
				if len(s.Values) == 0 || len(s.Values) > maxScopeValues {
					d.errorf(n, "in must list 1 to %d values", maxScopeValues)
				}
			}},
		)
		if sources != 1 {
			d.errorf(n, "scope needs exactly one of equals and in")
		}
		slices.Sort(s.Values)
		s.Values = slices.Compact(s.Values)
		*to = s
	}
}

// column reads the bare name of a column.
func (d *decoder) column(to *[]string, n ast.Node) {
	s, ok := d.text(n, "column")
	if !ok {
		return
	}
	parts, problem := splitPattern(s)
	if problem == "" && (len(parts) != 1 || parts[0] == "*") {
		problem = "write the bare name of a column"
	}
	if problem != "" {
		d.errorf(n, "%q in column: %s", clip(s), problem)
		return
	}
	*to = parts
}

// checkScope refuses a scope where it would not hold, or not say what it means.
func (d *decoder) checkScope(r *Rule, match, actions ast.Node) {
	if r.Match.Scope == nil {
		return
	}
	if !r.gives() {
		d.errorf(match, "scope belongs to rules with effect allow or mask: it says which rows they are about, and others are not there")
	}
	if r.AnyAction {
		d.errorf(actions, "a rule with a scope names its actions: select, insert, update, delete")
		return
	}
	for _, a := range r.Actions {
		switch a {
		case protocol.Select, protocol.Insert, protocol.Update, protocol.Delete:
		default:
			d.errorf(actions, "%s is not about single rows, so a rule with a scope can't allow it", a)
		}
	}
}

// gives reports whether the rule adds rights.
func (r *Rule) gives() bool { return r.Effect == protocol.Allow || r.Effect == protocol.Mask }

// of returns the scope with the values that it has for a subject.
func (s *Scope) of(sub *Subject) Scope {
	out := Scope{Column: s.Column, Values: s.Values}
	switch {
	case s.Label != "":
		if v, ok := sub.Workload.Labels[s.Label]; ok {
			out.Values = []string{v}
		}
	case s.Claim != "" && sub.Token != nil:
		switch v := sub.Token.Claims[s.Claim].(type) {
		case string:
			out.Values = []string{v}
		case float64:
			if n := int64(v); float64(n) == v && n > -1<<53 && n < 1<<53 {
				out.Values = []string{strconv.FormatInt(n, 10)}
			}
		}
	}
	return out
}

// ofSubject reports whether the values depend on who it is.
func (s *Scope) ofSubject() bool { return s.Claim != "" || s.Label != "" }

// words says a scope in a sentence.
func (s *Scope) words() string {
	switch {
	case s.Claim != "":
		return "where " + s.Column + " is the token's " + s.Claim
	case s.Label != "":
		return "where " + s.Column + " is the workload's label " + s.Label
	case len(s.Values) == 1:
		return "where " + s.Column + " is " + clip(s.Values[0])
	}
	text := "where " + s.Column + " is one of"
	for i, v := range s.Values {
		if i == 10 {
			return text + " and " + itoa(len(s.Values)-i) + " more"
		}
		text += " " + clip(v)
	}
	return text
}

// Scoped reports whether some relation has a scope for the subject.
func (v *View) Scoped() bool { return v.scopes != nil && !v.observe }

// Scope returns what must be true of the rows of a relation that are there for the
// subject, all of it. Nothing: all rows are.
func (v *View) Scope(schema, table string) []Scope {
	if v.scopes == nil || v.observe {
		return nil
	}
	var out []Scope
	rules := v.about(protocol.Object{Kind: protocol.Relation, Schema: schema, Name: table}).all
	for i := range rules {
		s, ok := v.scopes[rules[i].rule]
		if ok && !slices.ContainsFunc(out, func(x Scope) bool { return x.Column == s.Column && slices.Equal(x.Values, s.Values) }) {
			out = append(out, s)
		}
	}
	return out
}
