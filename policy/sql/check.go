package sql

import (
	"errors"
	"fmt"
	"slices"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/protocol"
)

// A Problem is something in a configuration that a catalog shows to be a mistake.
type Problem struct {
	Pos     policy.Position
	Message string
	// Unmaskable says that a column reads as NULL, because its mask cannot apply to
	// its type. Otherwise a pattern matches nothing.
	Unmaskable bool
}

func (p Problem) String() string {
	if p.Pos.File == "" {
		return p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.Pos.File, p.Pos.Line, p.Pos.Column, p.Message)
}

// Check compares what set says about a Database with what is there: masks that
// cannot apply to the type of a column, and patterns that match nothing. Neither
// lets anything through; both are not what somebody meant.
func Check(c *Catalog, set *policy.Set, database string) []Problem {
	db := set.Database(database)
	if c == nil || db == nil {
		return nil
	}
	k := checker{c: c}
	for _, s := range db.Sensitive {
		for _, p := range s.Columns {
			k.sensitive(p, s)
		}
	}
	for _, p := range db.Clear {
		if len(k.columns(p)) == 0 {
			k.note(p.Pos, "clear: no column matches %s", p)
		}
	}
	for _, pol := range set.Policies() {
		if !slices.Contains(pol.Databases, database) && !slices.Contains(pol.Databases, "*") {
			continue
		}
		for i := range pol.Rules {
			k.rule(pol.Name, &pol.Rules[i])
		}
		for _, p := range pol.Functions {
			if !k.function(p) {
				k.note(p.Pos, "policy %s: no function matches %s", pol.Name, p)
			}
		}
	}
	return k.found
}

type checker struct {
	c     *Catalog
	found []Problem
}

func (k *checker) note(pos policy.Position, format string, args ...any) {
	k.found = append(k.found, Problem{Pos: pos, Message: fmt.Sprintf(format, args...)})
}

// place is a column and its relation.
type place struct {
	rel *Relation
	col *Column
}

// sensitive checks one pattern of a line.
func (k *checker) sensitive(p policy.Pattern, s policy.Sensitive) {
	all := k.columns(p)
	if len(all) == 0 {
		k.note(p.Pos, "sensitive %s: no column matches %s", s.Tag, p)
	}
	k.masks(p.Pos, "sensitive "+s.Tag, s.Mask, all)
}

// masks notes the columns that a mask cannot apply to. A line of wildcards may well
// meet such a column, and is told of it all the same.
func (k *checker) masks(pos policy.Position, where string, m policy.Mask, all []place) {
	a := &analysis{judge: &judge{c: k.c}}
	for _, x := range all {
		t, ok := a.maskType(x.col.Type, x.col.Typmod)
		if !ok {
			continue
		}
		if _, err := mask.SQL(m, "x", t, mask.Key{}); errors.Is(err, mask.ErrCannotApply) {
			k.found = append(k.found, Problem{Pos: pos, Unmaskable: true,
				Message: fmt.Sprintf("%s: %s.%s reads as NULL: %v", where, x.rel.object(), x.col.Name, err)})
		}
	}
}

// rule checks the patterns of a rule. One about what is to be created may name what
// is not there yet.
func (k *checker) rule(name string, r *policy.Rule) {
	about := false
	for _, act := range r.Actions {
		switch act {
		case protocol.Select, protocol.Insert, protocol.Update, protocol.Delete, protocol.Merge, protocol.Truncate, protocol.Lock:
			about = true
		case protocol.Create, protocol.Set, protocol.Listen:
			return
		}
	}
	if !about {
		return
	}
	where := "rule " + name + "/" + r.Name
	for _, p := range append(append([]policy.Pattern(nil), r.On...), r.Except...) {
		if p.Schema == "" || len(k.relations(p)) > 0 && (p.Column == "" || len(k.columns(p)) > 0) || k.function(p) {
			continue
		}
		k.note(p.Pos, "%s: nothing matches %s", where, p)
	}
	for _, name := range r.Columns {
		if !slices.ContainsFunc(r.On, func(p policy.Pattern) bool {
			p.Column = name
			return len(k.columns(p)) > 0
		}) && len(r.On) > 0 {
			k.note(r.Pos, "%s: no column is called %s", where, name)
		}
	}
	if s := r.Match.Scope; s != nil {
		k.scope(where, r, s)
	}
	if r.Effect == protocol.Mask {
		for _, p := range r.On {
			for _, name := range append([]string(nil), r.Columns...) {
				p.Column = name
				k.masks(r.Pos, where, r.Mask, k.columns(p))
			}
		}
	}
}

// scope checks that the rows of what a rule is about can be told apart. Where they
// can't, nothing of it is there.
func (k *checker) scope(where string, r *policy.Rule, s *policy.Scope) {
	for _, p := range r.On {
		for _, rel := range k.relations(p) {
			col := rel.Column(s.Column)
			if slices.ContainsFunc(r.Except, func(x policy.Pattern) bool {
				return x.Column == "" && part(x.Schema, rel.Schema) && part(x.Name, rel.Name)
			}) {
				continue
			}
			if col == nil {
				k.note(p.Pos, "%s: scope: %s has no column %s, so nothing of it can be used", where, rel.object(), s.Column)
			} else if _, ok := rowValues(k.c, col, s.Values); !ok {
				k.note(p.Pos, "%s: scope: column %s of %s has not such values, so nothing of it can be used", where, s.Column, rel.object())
			}
		}
	}
}

func part(pattern, s string) bool { return pattern == "*" || pattern == s }

// relations are those that a pattern matches. Those of the server itself are on a
// closed list that no pattern is about.
func (k *checker) relations(p policy.Pattern) []*Relation {
	if p.Schema != "*" && p.Name != "*" {
		if r := k.c.Relation(p.Schema, p.Name); r != nil {
			return []*Relation{r}
		}
		return nil
	}
	var out []*Relation
	for i := range k.c.Relations {
		r := &k.c.Relations[i]
		if (r.Readable() && r.Kind != Toast) && !r.System() && part(p.Schema, r.Schema) && part(p.Name, r.Name) {
			out = append(out, r)
		}
	}
	return out
}

func (k *checker) columns(p policy.Pattern) []place {
	var out []place
	for _, r := range k.relations(p) {
		for i := range r.Columns {
			if c := &r.Columns[i]; !c.Dropped && part(p.Column, c.Name) {
				out = append(out, place{r, c})
			}
		}
	}
	return out
}

func (k *checker) function(p policy.Pattern) bool {
	if p.Name != "*" {
		return slices.ContainsFunc(k.c.FunctionsNamed(p.Name), func(f *Function) bool { return part(p.Schema, f.Schema) })
	}
	for i := range k.c.Functions {
		if part(p.Schema, k.c.Functions[i].Schema) {
			return true
		}
	}
	return false
}
