package session

import (
	"context"
	"time"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// shapeTimeout bounds the look at a fresh catalog for a relation that is not known.
const shapeTimeout = 10 * time.Second

// Shape implements [protocol.Gate]: a second opinion, by the server itself, about
// where each column comes from. A column that the server calls a sensitive one of
// a table is not a mask, whatever the plan says.
func (g *Gate) Shape(r *protocol.Run, i int, columns []protocol.ResultColumn) *protocol.Refusal {
	if i < 0 || i >= len(r.Judgement.Plans) {
		return mismatch("a result that no statement of the text has")
	}
	plan := &r.Judgement.Plans[i]
	expected := plan.Columns
	if i < len(r.Inner) && r.Inner[i] != nil {
		expected = r.Inner[i].Columns
	}
	x, _ := r.State.(*run)
	if x != nil {
		g.columns(x.number, i, columns, expected)
	}
	if plan.Observed || plan.Free || g.view.Observe() {
		return nil
	}
	if expected != nil && len(expected) != len(columns) {
		return mismatch("another number of columns than was judged")
	}
	for c := range columns {
		if columns[c].TableOID == 0 || columns[c].Attribute <= 0 {
			continue
		}
		if why := g.origin(&columns[c]); why != nil {
			return why
		}
	}
	return nil
}

// origin refuses a column that the server takes right out of a sensitive one.
func (g *Gate) origin(c *protocol.ResultColumn) *protocol.Refusal {
	cat, relation := g.catalog.sure(), (*sql.Relation)(nil)
	if cat != nil {
		relation = cat.RelationByOID(c.TableOID)
	}
	if relation == nil {
		var why *protocol.Refusal
		if cat, relation, why = g.relation(c.TableOID); why != nil {
			return why
		}
	}
	for k := range relation.Columns {
		if relation.Columns[k].Number == c.Attribute {
			if sql.Unmasked(cat, g.view, relation, relation.Columns[k].Name) {
				return mismatch("column " + relation.Columns[k].Name + " of " + relation.Schema + "." + relation.Name + " unmasked")
			}
			return nil
		}
	}
	return mismatch("a column that the catalog does not have")
}

// relation looks at a fresh catalog for a relation that is not known.
func (g *Gate) relation(oid uint32) (*sql.Catalog, *sql.Relation, *protocol.Refusal) {
	ctx, cancel := context.WithTimeout(context.Background(), shapeTimeout)
	defer cancel()
	cat, err := g.catalog.current(ctx)
	if err != nil {
		return nil, nil, mismatch("a table, while the catalog can't be read")
	}
	if r := cat.RelationByOID(oid); r != nil {
		return cat, r, nil
	}
	if cat, err = g.catalog.refresh(ctx, cat); err == nil {
		if r := cat.RelationByOID(oid); r != nil {
			return cat, r, nil
		}
	}
	return nil, nil, mismatch("a table that the catalog does not have")
}

func mismatch(what string) *protocol.Refusal {
	return &protocol.Refusal{
		Code: "42501", Fatal: true, Rule: "built-in:shape",
		Message: "the result is not what was judged, so the session ends before a row leaves",
		Detail:  "The server announced " + what + ".",
	}
}

// columns records the header of a result.
func (g *Gate) columns(number uint64, i int, columns []protocol.ResultColumn, expected []protocol.Column) {
	out := g.header.Columns[:0]
	for c := range columns {
		out = append(out, record.Column{Name: columns[c].Name, Type: columns[c].TypeOID, Format: columns[c].Format})
		if c < len(expected) && expected[c].Sensitive {
			out[c].Tag = expected[c].Tag
		}
	}
	g.header = record.Columns{Number: number, Index: i, Columns: out}
	g.event = record.Event{Columns: &g.header}
	g.log.Buffer(&g.event)
	if clear(out); cap(out) > 64 {
		g.header.Columns = nil
	}
}
