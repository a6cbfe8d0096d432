package sql

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// xml analyses the XML expressions that have nodes of their own.
func (a *analysis) xml(n *pg.Node, s *scope) (value, bool) {
	switch x := n.Node.(type) {
	case *pg.Node_XmlExpr:
		v := a.all(x.XmlExpr.Args, s)
		for _, t := range x.XmlExpr.NamedArgs {
			r := t.GetResTarget()
			if r == nil {
				a.unknown(t)
			}
			v = v.plus(a.expr(r.Val, s))
		}
		v.typ = 0
		return v, true
	case *pg.Node_XmlSerialize:
		v := a.expr(x.XmlSerialize.Expr, s)
		return value{mask: v.mask, raw: v.raw, typ: a.typeName(x.XmlSerialize.TypeName)}, true
	}
	return value{}, false
}

// json analyses the SQL/JSON expressions.
func (a *analysis) json(n *pg.Node, s *scope) (value, bool) {
	var v value
	a.sinceVersion(n)
	switch x := n.Node.(type) {
	case *pg.Node_JsonObjectConstructor:
		for _, e := range x.JsonObjectConstructor.Exprs {
			v = v.plus(a.jsonPair(e.GetJsonKeyValue(), s))
		}
		a.jsonOutput(x.JsonObjectConstructor.Output)
	case *pg.Node_JsonArrayConstructor:
		for _, e := range x.JsonArrayConstructor.Exprs {
			v = v.plus(a.jsonValue(e.GetJsonValueExpr(), s))
		}
		a.jsonOutput(x.JsonArrayConstructor.Output)
	case *pg.Node_JsonArrayQueryConstructor:
		sel := x.JsonArrayQueryConstructor.Query.GetSelectStmt()
		for _, c := range a.selectStmt(sel, s) {
			v = v.plus(c.value)
		}
		a.jsonOutput(x.JsonArrayQueryConstructor.Output)
	case *pg.Node_JsonObjectAgg:
		v = a.jsonPair(x.JsonObjectAgg.Arg, s)
		a.jsonAggregate(x.JsonObjectAgg.Constructor, s)
	case *pg.Node_JsonArrayAgg:
		v = a.jsonValue(x.JsonArrayAgg.Arg, s)
		a.jsonAggregate(x.JsonArrayAgg.Constructor, s)
	case *pg.Node_JsonParseExpr:
		v = a.jsonValue(x.JsonParseExpr.Expr, s)
		if v.mask != nil {
			a.castRefused(v, "json")
		}
		a.jsonOutput(x.JsonParseExpr.Output)
	case *pg.Node_JsonScalarExpr:
		v = a.expr(x.JsonScalarExpr.Expr, s)
		a.jsonOutput(x.JsonScalarExpr.Output)
	case *pg.Node_JsonSerializeExpr:
		v = a.jsonValue(x.JsonSerializeExpr.Expr, s)
		a.jsonOutput(x.JsonSerializeExpr.Output)
	case *pg.Node_JsonFuncExpr:
		j := x.JsonFuncExpr
		v = a.jsonValue(j.ContextItem, s)
		if j.Pathspec != nil {
			v = v.plus(a.expr(j.Pathspec, s))
		}
		for _, e := range j.Passing {
			if e.GetJsonArgument() == nil {
				a.unknown(e)
			}
			v = v.plus(a.jsonValue(e.GetJsonArgument().Val, s))
		}
		v = v.plus(a.jsonBehavior(j.OnEmpty, s)).plus(a.jsonBehavior(j.OnError, s))
		a.jsonOutput(j.Output)
		if j.Op == pg.JsonExprOp_JSON_EXISTS_OP {
			a.condition(v, "JSON_EXISTS")
			return value{typ: boolOID}, true
		}
	case *pg.Node_JsonIsPredicate:
		a.condition(a.expr(x.JsonIsPredicate.Expr, s), "IS JSON")
		return value{typ: boolOID}, true
	default:
		return value{}, false
	}
	return value{mask: v.mask, raw: v.raw}, true
}

func (a *analysis) jsonPair(p *pg.JsonKeyValue, s *scope) value {
	if p == nil {
		a.fail("0A000", -1, "a JSON constructor is not understood")
	}
	return a.expr(p.Key, s).plus(a.jsonValue(p.Value, s))
}

func (a *analysis) jsonValue(v *pg.JsonValueExpr, s *scope) value {
	if v == nil {
		a.fail("0A000", -1, "a JSON value is not understood")
	}
	w := a.expr(v.RawExpr, s)
	if v.FormattedExpr != nil {
		w = w.plus(a.expr(v.FormattedExpr, s))
	}
	return w
}

func (a *analysis) jsonOutput(o *pg.JsonOutput) {
	if o != nil && o.TypeName != nil {
		a.typeName(o.TypeName)
	}
}

func (a *analysis) jsonBehavior(b *pg.JsonBehavior, s *scope) value {
	if b == nil || b.Expr == nil {
		return value{}
	}
	return a.expr(b.Expr, s)
}

func (a *analysis) jsonAggregate(c *pg.JsonAggConstructor, s *scope) {
	if c == nil {
		return
	}
	a.jsonOutput(c.Output)
	if c.AggFilter != nil {
		a.condition(a.expr(c.AggFilter, s), "FILTER")
	}
	for _, n := range c.AggOrder {
		a.condition(a.expr(n.GetSortBy().GetNode(), s), "ORDER BY in an aggregate")
		a.sortOperator(n.GetSortBy())
	}
	if c.Over != nil {
		a.window(c.Over, s)
	}
}

// sinceVersion refuses what an older server would read as a call of a function,
// which may be anybody's.
func (a *analysis) sinceVersion(n *pg.Node) {
	since := 0
	switch n.Node.(type) {
	case *pg.Node_JsonFuncExpr, *pg.Node_JsonParseExpr, *pg.Node_JsonScalarExpr, *pg.Node_JsonSerializeExpr, *pg.Node_JsonTable,
		*pg.Node_MergeSupportFunc:
		since = 170000
	case *pg.Node_JsonObjectConstructor, *pg.Node_JsonArrayConstructor, *pg.Node_JsonArrayQueryConstructor,
		*pg.Node_JsonObjectAgg, *pg.Node_JsonArrayAgg, *pg.Node_JsonIsPredicate:
		since = 160000
	}
	if a.c.ServerVersion < since {
		a.fail("0A000", -1, "%s is not known to servers before %d", nodeName(n), since/10000)
	}
}
