package sql

import (
	"slices"

	"sluicegate.io/sluice/protocol"
)

// runs notes the functions that a write to rel runs unseen: those of triggers, also
// of partitions and descendants, and of expressions that the table holds. cols are
// the columns that an UPDATE sets.
func (a *analysis) runs(rel *Relation, action protocol.Action, cols []string) {
	a.runsOn(rel, action, cols, 0)
}

func (a *analysis) runsOn(rel *Relation, action protocol.Action, cols []string, depth int) {
	a.step()
	if depth > maxViews {
		a.fail("54001", -1, "relations are nested too deep")
	}
	for i := range rel.Triggers {
		if t := &rel.Triggers[i]; t.fires(rel, action, cols) {
			a.implied(t.Function, "trigger "+t.Name+" on "+rel.object().String())
		}
	}
	if action == protocol.Insert || action == protocol.Update {
		for _, oid := range rel.Calls {
			a.implied(oid, "an expression of "+rel.object().String())
		}
	}
	for _, oid := range rel.Children {
		if r := a.c.RelationByOID(oid); r != nil {
			a.runsOn(r, action, cols, depth+1)
		}
	}
}

// implied notes a call that the text does not name.
func (a *analysis) implied(oid uint32, why string) {
	f := a.c.FunctionByOID(oid)
	if f == nil {
		a.missing("42883", -1, "%s runs a function that is not known", why)
	}
	a.access(protocol.Access{Action: protocol.Call, Object: f.object(), Implied: why})
}

// fires reports whether a trigger may run for an action. One that is enabled for
// replicas only runs in sessions that replay changes, which no workload's does.
func (t *Trigger) fires(rel *Relation, action protocol.Action, cols []string) bool {
	switch {
	case t.Enabled == "D" || t.Enabled == "R":
		return false
	case action == protocol.Insert:
		return t.Insert
	case action == protocol.Delete:
		return t.Delete
	case action == protocol.Truncate:
		return t.Truncate
	case action == protocol.Update && len(t.Columns) == 0:
		return t.Update
	case action == protocol.Update:
		return t.Update && slices.ContainsFunc(t.Columns, func(n int16) bool {
			c := rel.ColumnByNumber(n)
			return c == nil || contains(cols, c.Name) || c.Generated != ""
		})
	}
	return false
}
