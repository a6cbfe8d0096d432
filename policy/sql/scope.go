package sql

import (
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// masked is a sensitive column: where a masked value comes from.
type masked struct {
	rule   policy.ColumnRule
	object protocol.Object
	column string
}

func (m *masked) String() string { return m.object.String() + "." + m.column }

// value is what the analysis knows of an expression.
type value struct {
	mask *masked // nil: nothing of it derives from a masked column
	raw  bool    // mask is set, and the server would compute with the true value
	typ  uint32  // 0: not known
	// rel and col are set if the value is that column as it is.
	rel *Relation
	col *Column
	row []column // of a row whose columns are known
	out string   // of a call in FROM: the name of its only output argument
	// open says that the value is a row, or may be, of columns that are not known.
	open bool
}

// plus adds what w derives from to v. Nothing else of v stays.
func (v value) plus(w value) value {
	out := value{mask: v.mask, raw: v.raw || w.raw}
	if out.mask == nil {
		out.mask = w.mask
	}
	return out
}

// column is a column that a name may resolve to.
type column struct {
	name string
	value
	ref    *reference // of a relation named in the text
	index  int        // into ref.rel.Columns
	inline bool       // a reference in the text is itself replaced by the mask
	system bool
	from   *item // of a join's column: where it comes from; nil if merged
}

// item is one entry of a FROM clause, as names see it.
type item struct {
	alias  string // "": cannot be named
	schema string // of a relation without alias, that may also be named with its schema
	cols   []column
	ref    *reference
	rels   bool // can be named
	names  bool // its columns can be named without it
	// open is the value of every column that is not in cols: what comes of a
	// function whose columns are not known. nil: there are no others.
	open   *value
	single bool // a function's scalar result: the item's name means the column
}

// scope is one query level. Names that it doesn't know are looked for above.
type scope struct {
	up    *scope
	items []*item
	ctes  []*cte
	q     *query
}

// cte is a WITH query.
type cte struct {
	name string
	cols []column
	// hidden is set while its own query is analysed, if it can't see itself.
	hidden bool
	dml    bool
}

// query is what clauses of one query level share.
type query struct {
	// loose counts the clauses in which a column that is not grouped may stand
	// only if the primary key is: the select list, HAVING, ORDER BY.
	loose int
	// free are the columns that were named there.
	free []freeColumn
}

type freeColumn struct {
	ref   *reference
	index int
	text  string
}

// star is a "*" or "t.*" of a select list.
type star struct {
	x     *pg.ColumnRef
	items []*item
}

func (s *scope) cte(name string) *cte {
	for ; s != nil; s = s.up {
		for i := len(s.ctes) - 1; i >= 0; i-- {
			if s.ctes[i].name == name && !s.ctes[i].hidden {
				return s.ctes[i]
			}
		}
	}
	return nil
}

// unqualified finds a column by its name alone. It returns nil if there is none.
func (a *analysis) unqualified(s *scope, name string, at int32) (*column, *item, *scope) {
	for ; s != nil; s = s.up {
		var found *column
		var in *item
		for _, it := range s.items {
			if !it.names {
				continue
			}
			c := a.inItem(it, name, at)
			if c == nil {
				continue
			}
			if found != nil {
				a.fail("42702", at, "column reference %q is ambiguous", name)
			}
			found, in = c, it
		}
		if found != nil {
			return found, in, s
		}
	}
	return nil, nil, nil
}

// inItem finds a column of one item.
func (a *analysis) inItem(it *item, name string, at int32) *column {
	*a.budget -= len(it.cols) / 16
	a.step()
	var found *column
	for i := range it.cols {
		if it.cols[i].name == name {
			if found != nil {
				a.fail("42702", at, "column reference %q is ambiguous", name)
			}
			found = &it.cols[i]
		}
	}
	if found == nil && it.ref != nil && SystemColumn(name) && it.ref.hasSystem() {
		return &column{name: name, ref: it.ref, index: -1, system: true}
	}
	return found
}

// named finds an item by the name that a reference gives it.
func (a *analysis) named(s *scope, schema, name string, at int32) (*item, *scope) {
	for ; s != nil; s = s.up {
		var found *item
		for _, it := range s.items {
			if !it.rels || it.alias != name || schema != "" && it.schema != schema {
				continue
			}
			if found != nil {
				a.fail("42P09", at, "table reference %q is ambiguous", name)
			}
			found = it
		}
		if found != nil {
			return found, s
		}
	}
	return nil, nil
}

// use notes that a column is read, and returns its value.
func (a *analysis) use(c *column) value {
	if c.ref != nil {
		if c.system {
			c.ref.system(c.name)
			return value{}
		}
		c.ref.read(c.index)
	}
	return c.value
}

// wholeRow is the value of an item as a row.
func (a *analysis) wholeRow(it *item) value {
	v := value{row: it.cols}
	for i := range it.cols {
		c := &it.cols[i]
		w := a.use(c)
		if w.mask != nil && v.mask == nil {
			v.mask = w.mask
		}
		v.raw = v.raw || w.raw
	}
	if it.ref != nil {
		it.ref.rowUsed = true
	}
	return v
}
