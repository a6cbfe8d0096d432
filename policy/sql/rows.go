package sql

import (
	"regexp"
	"strconv"
	"strings"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// A scope leaves rows of a relation out, as if they were not there. What reads it
// gets a sub-select with the condition, that nothing else is computed in: OFFSET 0
// keeps the planner from moving conditions of the text below it, where they would
// meet other rows and could tell of them by an error. A statement that changes the
// relation gets the condition in its WHERE clause, in the same order by CASE.

// fence ends a sub-select that the planner must not look through.
const fence = " OFFSET 0"

// rowScope is the condition of a relation's rows.
type rowScope struct {
	conds []rowCond
}

type rowCond struct {
	column string
	values []string // as SQL
	cast   string   // of the column, "" for none
	raw    []string // as they are written
}

// on says the condition of the relation called so, "" for its only one.
func (s *rowScope) on(alias string) string {
	if alias != "" {
		alias = quote(alias) + "."
	}
	var all []string
	for _, c := range s.conds {
		if len(c.values) == 0 {
			return "false"
		}
		var any []string
		for _, v := range c.values {
			any = append(any, alias+quote(c.column)+c.cast+" OPERATOR(pg_catalog.=) "+v)
		}
		all = append(all, "("+strings.Join(any, " OR ")+")")
	}
	return strings.Join(all, " AND ")
}

// has reports whether every row in which the column is v is in the scope; only is
// false for a column that the scope is not about.
func (s *rowScope) has(column, v string) bool {
	for _, c := range s.conds {
		if c.column == column && !contains(c.raw, v) {
			return false
		}
	}
	return true
}

func (s *rowScope) about(column string) bool {
	for _, c := range s.conds {
		if c.column == column {
			return true
		}
	}
	return false
}

// rowsOf returns the scope of a relation, nil if all of its rows are there: what
// the policy says of it, of what it inherits from and of what inherits from it.
func (a *analysis) rowsOf(rel *Relation) *rowScope {
	if rel.System() {
		return nil
	}
	var out *rowScope
	for _, r := range a.family(rel) {
		for _, s := range a.v.Scope(r.Schema, r.Name) {
			if out == nil {
				out = &rowScope{}
			}
			out.conds = append(out.conds, a.rowCond(rel, s))
		}
	}
	if out == nil && len(rel.Depends) > 0 && a.v.Scoped() && a.depth == 0 {
		a.wholeBelow(rel, rel, map[*Relation]bool{})
	}
	return out
}

// wholeBelow refuses a view that reads rows which are not there for the subject.
func (a *analysis) wholeBelow(view, rel *Relation, seen map[*Relation]bool) {
	seen[rel] = true
	for _, d := range rel.Depends {
		r := a.c.RelationByOID(d.Relation)
		if r == nil || seen[r] || r.System() {
			continue
		}
		for _, f := range a.family(r) {
			if len(a.v.Scope(f.Schema, f.Name)) > 0 {
				a.fail("42501", -1, "%s shows rows of %s, of which only some are there for you", view.object(), r.object())
			}
		}
		a.wholeBelow(view, r, seen)
	}
}

func (a *analysis) rowCond(rel *Relation, s policy.Scope) rowCond {
	col := rel.Column(s.Column)
	if col == nil {
		a.fail("42501", -1, "the rows of %s that are there for you are picked by column %s, which it does not have", rel.object(), s.Column)
	}
	out, ok := rowValues(a.c, col, s.Values)
	if !ok {
		a.fail("42501", -1, "the rows of %s that are there for you are picked by column %s, whose type has not such values", rel.object(), s.Column)
	}
	if a.shadows != "" {
		for i, m := range a.masksOf(rel) {
			if m != nil && &rel.Columns[i] == col {
				a.fail("42501", -1, "the rows of %s that are there for you are picked by column %s, which is masked, and mode role cannot do that", rel.object(), s.Column)
			}
		}
	}
	return out
}

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// rowValues writes values as constants of a column's type. It reports false for a
// type that scopes are not for, and for a value that the type doesn't have.
func rowValues(c *Catalog, col *Column, values []string) (rowCond, bool) {
	out := rowCond{column: col.Name, raw: values}
	t := c.BaseType(col.Type)
	if t == nil {
		return out, false
	}
	for _, v := range values {
		lit := "'" + strings.ReplaceAll(v, "'", "''") + "'"
		if strings.ContainsAny(v, "\\\x00") {
			return out, false // what a backslash means depends on a setting
		}
		switch {
		case t.OID == textOID || t.OID == varcharOID:
			out.cast = "::pg_catalog.text"
			lit += "::pg_catalog.text"
		case t.OID == bpcharOID:
			out.cast = "::pg_catalog.bpchar"
			lit += "::pg_catalog.bpchar"
		case t.OID == int4OID || t.OID == int8OID || t.OID == 21:
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || strconv.FormatInt(n, 10) != v {
				return out, false
			}
			lit += "::pg_catalog.int8"
		case t.OID == 2950:
			if !uuidText.MatchString(v) {
				return out, false
			}
			lit += "::pg_catalog.uuid"
		case t.OID == boolOID:
			if v != "true" && v != "false" {
				return out, false
			}
			lit = v
		case t.Kind == EnumType:
			if !contains(t.Labels, v) {
				return out, false
			}
			lit += "::" + quote(t.Schema) + "." + quote(t.Name)
		default:
			return out, false
		}
		out.values = append(out.values, lit)
	}
	return out, true
}

// outside refuses what would reach rows that are not there for the subject.
func (a *analysis) outside(rel *Relation, what string) {
	if a.refused == nil && a.rowsOf(rel) != nil {
		a.refused = &protocol.Refusal{Code: "42501",
			Message: what + " is not possible on " + rel.object().String() + ", of which only some rows are there for you",
			Hint:    "Read it with SELECT, and change it with UPDATE, DELETE and INSERT ... VALUES."}
	}
}

// changes puts the scope of what a statement writes to into its WHERE clause.
func (a *analysis) changes(ref *reference, where *pg.Node) {
	if ref.rows == nil || a.quiet {
		return
	}
	if where.GetCurrentOfExpr() != nil {
		a.outside(ref.rel, "WHERE CURRENT OF")
		return
	}
	if a.bounds == nil {
		a.bounds = make(map[*reference]bool)
	}
	a.bounds[ref] = where != nil
}

// spliceRows writes the scopes of what the statement changes.
func (a *analysis) spliceRows() {
	for ref, has := range a.bounds {
		t := a.scan()
		first := a.tokenAt(ref.rv.Location)
		where, last := -1, first
		depth := 0
	clauses:
		for i := first; i < len(t); i++ {
			named := i > 0 && t[i-1].Token == pg.Token_ASCII_46 // t.where is a column
			switch k := t[i].Token; {
			case k == pg.Token_ASCII_40:
				depth++
			case k == pg.Token_ASCII_41:
				if depth--; depth < 0 {
					break clauses
				}
			case k == pg.Token_ASCII_59 && depth == 0, k == pg.Token_RETURNING && depth == 0 && !named:
				break clauses
			case k == pg.Token_WHERE && depth == 0 && !named && where < 0:
				where = i
			}
			last = i
		}
		if has != (where >= 0) || where == last {
			a.fail("0A000", ref.rv.Location, "the WHERE clause of the statement cannot be found in its text")
		}
		cond := ref.rows.on(ref.name())
		end := int(t[last].End)
		if !has {
			a.edits = append(a.edits, edit{at: end, text: " WHERE " + cond, rows: true})
			continue
		}
		at := int(t[where].End)
		a.edits = append(a.edits, edit{at: at, text: " " + cond + " AND CASE WHEN " + cond + " THEN (", rows: true},
			edit{at: end, text: ") ELSE false END"})
	}
}

// name is how the statement that has the reference calls it.
func (r *reference) name() string {
	if r.rv.Alias != nil {
		return r.rv.Alias.Aliasname
	}
	return r.rel.Name
}

// inserted checks rows to be inserted into a relation with a scope: they must be
// constants that are in it.
func (a *analysis) inserted(ref *reference, cols []string, sel *pg.SelectStmt) {
	if ref.rows == nil || a.quiet {
		return
	}
	a.exact = true
	ok := sel != nil && len(sel.ValuesLists) > 0
	for _, c := range ref.rows.conds {
		at := -1
		for i, name := range cols {
			if name == c.column {
				at = i
			}
		}
		ok = ok && at >= 0
		for _, row := range sel.GetValuesLists() {
			list := row.GetList().GetItems()
			if !ok || at >= len(list) {
				ok = false
				break
			}
			v, constant := settingValue(list[at])
			ok = constant && list[at].GetTypeCast() == nil && ref.rows.has(c.column, v)
		}
	}
	if !ok && a.refused == nil {
		a.refused = &protocol.Refusal{Code: "42501",
			Message: "rows inserted into " + ref.rel.object().String() + " must be among those that are there for you",
			Hint:    "Use INSERT ... VALUES, with a constant for column " + ref.rows.conds[0].column + "."}
	}
}
