package sql

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// groupedColumn is one plain column of GROUP BY and where it stands.
type groupedColumn struct {
	ref   *reference
	index int
	at    int32
}

// groupBy analyses GROUP BY, and returns the plain columns in it.
func (a *analysis) groupBy(list []*pg.Node, s *scope, cols []column) []groupedColumn {
	var out []groupedColumn
	for _, n := range list {
		if g := n.GetGroupingSet(); g != nil {
			a.groupingSet(g, s, cols)
			continue
		}
		// (a, b) without ROW is a list of columns.
		if r := n.GetRowExpr(); r != nil && r.RowFormat == pg.CoercionForm_COERCE_IMPLICIT_CAST {
			out = append(out, a.groupBy(r.Args, s, cols)...)
			continue
		}
		a.last = nil
		a.condition(a.outputRef(n, s, cols, true), "GROUP BY")
		at := int32(-1)
		if ref := n.GetColumnRef(); ref != nil {
			at = ref.Location
		} else if c := n.GetAConst(); c != nil {
			at = c.Location
		}
		if c := a.last; at >= 0 && c != nil && c.ref != nil && !c.system {
			out = append(out, groupedColumn{ref: c.ref, index: c.index, at: at})
		}
	}
	return out
}

func (a *analysis) groupingSet(g *pg.GroupingSet, s *scope, cols []column) {
	for _, n := range g.Content {
		if in := n.GetGroupingSet(); in != nil {
			a.groupingSet(in, s, cols)
			continue
		}
		if r := n.GetRowExpr(); r != nil && r.RowFormat == pg.CoercionForm_COERCE_IMPLICIT_CAST {
			for _, e := range r.Args {
				a.condition(a.outputRef(e, s, cols, true), "GROUP BY")
			}
			continue
		}
		a.condition(a.outputRef(n, s, cols, true), "GROUP BY")
	}
}

// dependent adds to GROUP BY what the primary key made legal without: a
// sub-select has no key. The groups stay the same, since a row with that key has
// no other values.
func (a *analysis) dependent(list []*pg.Node, grouped []groupedColumn, s *scope) {
	if len(list) == 0 || len(s.q.free) == 0 {
		return
	}
	done := make(map[string]bool)
	for _, f := range s.q.free {
		at, ok := a.keyGrouped(f.ref, grouped)
		if !ok || done[f.text] {
			continue
		}
		done[f.text] = true
		already := false
		for _, g := range grouped {
			already = already || g.ref == f.ref && g.index == f.index
		}
		if !already {
			a.insert(int(at), f.text+", ")
		}
	}
}

// keyGrouped reports whether all of the primary key is grouped by, and where.
func (a *analysis) keyGrouped(ref *reference, grouped []groupedColumn) (int32, bool) {
	key := []int16(nil)
	for i := range ref.rel.Keys {
		if k := &ref.rel.Keys[i]; k.Primary && !k.Deferrable {
			key = k.Columns
		}
	}
	if len(key) == 0 {
		return 0, false
	}
	at := int32(-1)
	for _, n := range key {
		found := false
		for _, g := range grouped {
			if g.ref == ref && ref.rel.Columns[g.index].Number == n {
				found, at = true, g.at
			}
		}
		if !found {
			return 0, false
		}
	}
	return at, at >= 0
}
