package policy

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"sluicegate.io/sluice/protocol"
)

// A rule is a Rule as decisions use it.
type rule struct {
	*Rule
	id       string // "policy/rule"
	grant    bool
	actions  uint64 // bit per protocol.Action
	function bool   // made of a Policy's functions: objects of kind Function only
}

func compileRules(p *Policy) []*rule {
	out := make([]*rule, 0, len(p.Rules)+1)
	for i := range p.Rules {
		r := &rule{Rule: &p.Rules[i], id: p.Name + "/" + p.Rules[i].Name, grant: p.Grant}
		for _, a := range r.Actions {
			r.actions |= 1 << a
		}
		out = append(out, r)
	}
	if len(p.Functions) > 0 {
		out = append(out, &rule{
			Rule:     &Rule{Name: "functions", Effect: protocol.Allow, Actions: []protocol.Action{protocol.Call}, On: p.Functions, Pos: p.Pos},
			id:       p.Name + "/functions",
			grant:    p.Grant,
			actions:  1 << protocol.Call,
			function: true,
		})
	}
	return out
}

// A reading says how far the wildcards of a pattern reach. What gives rights is
// read narrowly, what takes them away widely.
type reading struct {
	system    bool // "*" includes the server's own schemas
	container bool // "app.*" includes the schema app itself
}

var (
	narrow = reading{}
	wide   = reading{system: true, container: true}
)

// reading returns how the rule's own patterns are read, and those of except.
func (r *rule) reading() (on, except reading) {
	switch {
	case r.gives():
		return narrow, wide
	case r.Effect == protocol.Approve:
		return reading{container: true}, narrow
	}
	return wide, narrow
}

// matches reports whether the pattern names the object, its Column aside.
func (p *Pattern) matches(o protocol.Object, as reading) bool {
	if p.Schema == "" {
		switch {
		case p.Name == "*":
			return as.system || !system(o.Schema)
		case o.Schema != "":
			return false
		case o.Kind == protocol.Setting:
			return strings.EqualFold(p.Name, o.Name)
		}
		return p.Name == o.Name
	}
	if o.Schema == "" {
		return as.container && o.Kind == protocol.Schema && p.Name == "*" && (p.Schema == "*" || p.Schema == o.Name)
	}
	if p.Schema == "*" {
		if system(o.Schema) && !as.system {
			return false
		}
	} else if p.Schema != o.Schema {
		return false
	}
	return p.Name == "*" || p.Name == o.Name
}

// An index finds the rules that may be about an object without looking at others.
type index struct {
	rules    []*rule
	exact    map[[2]string][]int32 // schema, name; folded where there is no schema
	schemas  map[string][]int32    // "app.*"
	names    map[string][]int32    // "*.orders"
	anything []int32
}

func newIndex(rules []*rule) *index {
	x := &index{
		rules: rules, exact: map[[2]string][]int32{},
		schemas: map[string][]int32{}, names: map[string][]int32{},
	}
	for i, r := range rules {
		n := int32(i)
		if len(r.On) == 0 {
			x.anything = append(x.anything, n)
		}
		for _, p := range r.On {
			switch {
			case p.Name == "*" && (p.Schema == "" || p.Schema == "*"):
				x.anything = append(x.anything, n)
			case p.Schema == "":
				key := [2]string{"", strings.ToLower(p.Name)}
				x.exact[key] = append(x.exact[key], n)
			case p.Name == "*":
				x.schemas[p.Schema] = append(x.schemas[p.Schema], n)
			case p.Schema == "*":
				x.names[p.Name] = append(x.names[p.Name], n)
			default:
				key := [2]string{p.Schema, p.Name}
				x.exact[key] = append(x.exact[key], n)
			}
		}
	}
	return x
}

// about returns what all rules say of one object.
func (x *index) about(o protocol.Object) *objectRules {
	var found []int32
	found = append(found, x.anything...)
	if o.Schema == "" {
		found = append(found, x.exact[[2]string{"", strings.ToLower(o.Name)}]...)
		if o.Kind == protocol.Schema {
			found = append(found, x.schemas[o.Name]...)
		}
	} else {
		found = append(found, x.exact[[2]string{o.Schema, o.Name}]...)
		found = append(found, x.schemas[o.Schema]...)
		found = append(found, x.names[o.Name]...)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	out := &objectRules{by: map[protocol.Action][]applied{}}
	for _, n := range found {
		r := x.rules[n]
		cols, ok := r.scope(o)
		if !ok {
			continue
		}
		for _, a := range r.Actions {
			out.by[a] = append(out.by[a], applied{rule: r, columns: cols})
		}
		out.all = append(out.all, applied{rule: r, columns: cols})
	}
	for _, list := range out.by {
		slices.SortStableFunc(list, func(a, b applied) int { return cmp.Compare(a.Effect, b.Effect) })
	}
	return out
}

// objectRules are the rules about one object, by action, the strictest first.
type objectRules struct {
	by  map[protocol.Action][]applied
	all []applied

	told    sync.Once
	allowed string // what they allow, in plain words, once told
}

// applied is a rule and the columns of one object that it is about.
type applied struct {
	*rule
	columns columns
}

// columns is a set of columns. The zero value is all of them.
type columns struct {
	only   []string // sorted; nil: all
	except []string // sorted
}

// whole reports whether the set is all columns.
func (c columns) whole() bool { return c.only == nil && len(c.except) == 0 }

// has reports whether the set has a column.
func (c columns) has(name string) bool {
	if c.only != nil {
		if _, ok := slices.BinarySearch(c.only, name); !ok {
			return false
		}
	}
	_, out := slices.BinarySearch(c.except, name)
	return !out
}

// scope returns the columns of o that the rule is about, and whether it is about o.
func (r *rule) scope(o protocol.Object) (columns, bool) {
	if r.function && o.Kind != protocol.Function {
		return columns{}, false
	}
	on, except := r.reading()
	whole := len(r.On) == 0
	var c columns
	for i := range r.On {
		p := &r.On[i]
		switch {
		case !p.matches(o, on):
		case p.Column == "":
			whole = true
		default:
			c.only = append(c.only, p.Column)
		}
	}
	switch {
	case whole && len(r.Columns) > 0:
		c.only = slices.Clone(r.Columns)
	case whole:
		c.only = nil
	case len(c.only) == 0:
		return columns{}, false
	}
	for i := range r.Except {
		p := &r.Except[i]
		switch {
		case !p.matches(o, except):
		case p.Column == "":
			return columns{}, false
		default:
			c.except = append(c.except, p.Column)
		}
	}
	slices.Sort(c.only)
	slices.Sort(c.except)
	return c, true
}
