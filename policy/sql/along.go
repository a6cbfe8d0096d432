package sql

import (
	"slices"
	"strings"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// A statement touches more than it names: what a view selects from, the parts of a
// partitioned table, the table that a part belongs to. These need no rule of their
// own, as PostgreSQL asks for no right on them; a rule that denies one of them or
// asks holds all the same, whatever the name by which it is reached.

// Along returns what is touched together with an access and denied by a rule, or asked
// about: that decides about the access as well.
func Along(c *Catalog, v *policy.View, x protocol.Access, filtered bool) (also []protocol.Access) {
	defer func() {
		if r := recover(); r != nil {
			also = []protocol.Access{{}} // nothing allows that
		}
	}()
	budget := workBudget
	a := &analysis{judge: &judge{c: c, v: v, budget: &budget}, filtered: filtered}
	a.along(x)
	return a.accesses
}

// along notes what is touched together with an access, if a rule denies it or asks.
func (a *analysis) along(x protocol.Access) {
	if x.Object.Kind != protocol.Relation {
		return
	}
	switch x.Action {
	case protocol.Select, protocol.Insert, protocol.Update, protocol.Delete, protocol.Merge, protocol.Truncate:
	default:
		return
	}
	if rel := a.c.Relation(x.Object.Schema, x.Object.Name); rel != nil {
		a.alongWith(x, rel, map[*Relation]bool{})
	}
}

func (a *analysis) alongWith(x protocol.Access, rel *Relation, seen map[*Relation]bool) {
	if rel.System() || seen[rel] {
		return
	}
	a.step()
	seen[rel] = true
	if len(rel.Parents) > 0 || len(rel.Children) > 0 {
		for _, kin := range a.family(rel)[1:] {
			if x.Action == protocol.Insert && rel.Kind != PartitionedTable && a.inherits(kin, rel) {
				continue // a descendant gets no rows that its parent is given
			}
			y := protocol.Access{Action: x.Action, Object: kin.object(), Implied: rel.object().String()}
			for _, c := range x.Columns {
				if kin.Column(c) != nil {
					y.Columns = append(y.Columns, c)
				}
			}
			if len(y.Columns) == len(x.Columns) || len(y.Columns) > 0 {
				a.alongIf(y)
			}
		}
	}
	if x.Action != protocol.Select || rel.Kind != View && rel.Kind != MaterializedView {
		return
	}
	below := make(map[uint32][]string)
	var order []*Relation
	for _, d := range rel.Depends {
		r := a.c.RelationByOID(d.Relation)
		if r == nil || r == rel || r.System() {
			continue
		}
		if _, ok := below[d.Relation]; !ok {
			order = append(order, r)
			below[d.Relation] = nil
		}
		if c := r.ColumnByNumber(d.Column); c != nil {
			below[d.Relation] = append(below[d.Relation], c.Name)
		}
	}
	for _, r := range order {
		y := protocol.Access{Action: protocol.Select, Object: r.object(), Columns: below[r.OID], Implied: "view " + rel.object().String()}
		a.alongIf(y)
		a.alongWith(y, r, seen)
	}
}

// alongIf notes an access that a rule denies or asks about.
func (a *analysis) alongIf(y protocol.Access) {
	if v := a.says(y); v.Rule != "" && v.Verdict < protocol.Mask && !strings.HasPrefix(v.Rule, "database:") {
		a.access(y)
	}
}

// decided is what rules say of one access by itself.
type decided struct {
	Verdict protocol.Verdict
	Rule    string
}

func (a *analysis) says(x protocol.Access) decided {
	d := a.v.Decide(&protocol.Statement{Understood: true, Filtered: a.filtered, Accesses: []protocol.Access{x}})
	return decided{d.Verdict, d.Rule}
}

// inherits reports whether r descends from rel.
func (a *analysis) inherits(r, rel *Relation) bool {
	queue, seen := slices.Clone(r.Parents), map[uint32]bool{}
	for len(queue) > 0 {
		oid := queue[0]
		queue = queue[1:]
		if oid == rel.OID {
			return true
		}
		if p := a.c.RelationByOID(oid); p != nil && !seen[oid] {
			seen[oid] = true
			queue = append(queue, p.Parents...)
		}
	}
	return false
}

// changed notes a relation whose rows, as they are, an error about a change may
// quote: also the columns that may not be read.
func (a *analysis) changed(rel *Relation) {
	a.touched(rel)
	if a.sensitive || rel.System() {
		return
	}
	x := protocol.Access{Action: protocol.Select, Object: rel.object()}
	for i := range rel.Columns {
		if c := &rel.Columns[i]; !c.Dropped {
			x.Columns = append(x.Columns, c.Name)
		}
	}
	a.sensitive = a.says(x).Verdict < protocol.Mask
}

// renamed refuses a new name that gives a right which the old one does not.
func (a *analysis) renamed(rel *Relation, column, to string) {
	for _, r := range a.family(rel) {
		was, is := r.object(), r.object()
		if column == "" {
			if r != rel {
				continue
			}
			is.Name = to
		}
		for _, action := range []protocol.Action{protocol.Select, protocol.Insert, protocol.Update, protocol.Delete,
			protocol.Merge, protocol.Truncate, protocol.Alter, protocol.Drop, protocol.Grant} {
			cols := []string{""}
			switch action {
			case protocol.Select, protocol.Insert, protocol.Update, protocol.Merge:
				for i := range r.Columns {
					if c := &r.Columns[i]; !c.Dropped && (column == "" || c.Name == column) {
						cols = append(cols, c.Name)
					}
				}
			}
			for _, c := range cols {
				before, after := protocol.Access{Action: action, Object: was}, protocol.Access{Action: action, Object: is}
				if c != "" {
					before.Columns, after.Columns = []string{c}, []string{c}
					if column != "" {
						after.Columns = []string{to}
					}
				}
				if a.says(before).Verdict < a.says(after).Verdict && a.refused == nil {
					what := was.String()
					if c != "" {
						what = c + " of " + what
					}
					a.refused = &protocol.Refusal{Code: "42501",
						Message: "renaming " + what + " would allow " + action.String() + ", which its present name does not",
						Hint:    "Let somebody rename it who may do that already."}
				}
			}
		}
	}
}
