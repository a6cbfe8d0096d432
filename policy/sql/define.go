package sql

import (
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

const hashMask = policy.MaskHash

// whole is the object of what concerns no single relation.
func (a *analysis) whole() protocol.Object {
	return protocol.Object{Kind: protocol.DatabaseItself, Name: a.c.Database}
}

// maintenance analyses LOCK, TRUNCATE, VACUUM and their kind.
func (a *analysis) maintenance(n *pg.Node) (outcome, bool) {
	keep := func(rv *pg.RangeVar) {
		if rv == nil {
			a.access(protocol.Access{Action: protocol.Maintenance, Object: a.whole()})
			return
		}
		rel := a.relationFor(rv, protocol.Maintenance)
		if owner := a.c.RelationByOID(rel.Table); rel.Table != 0 && owner != nil {
			rel = owner
		}
		a.access(protocol.Access{Action: protocol.Maintenance, Object: rel.object()})
		a.changed(rel)
	}
	switch x := n.Node.(type) {
	case *pg.Node_LockStmt:
		a.tag = "LOCK TABLE"
		for _, r := range x.LockStmt.Relations {
			rel := a.relationFor(r.GetRangeVar(), protocol.Lock)
			a.lock(rel)
			a.touched(rel)
		}
		return outcome{tag: "LOCK TABLE"}, true
	case *pg.Node_TruncateStmt:
		a.tag = "TRUNCATE TABLE"
		for _, r := range x.TruncateStmt.Relations {
			rel := a.relationFor(r.GetRangeVar(), protocol.Truncate)
			a.access(protocol.Access{Action: protocol.Truncate, Object: rel.object()})
			a.outside(rel, "TRUNCATE")
			a.touched(rel)
			a.runs(rel, protocol.Truncate, nil)
			if x.TruncateStmt.Behavior == pg.DropBehavior_DROP_CASCADE {
				a.truncateCascade(rel, 0)
			}
		}
		return outcome{tag: "TRUNCATE TABLE"}, true
	case *pg.Node_VacuumStmt:
		a.tag = "VACUUM"
		if !x.VacuumStmt.IsVacuumcmd {
			a.tag = "ANALYZE"
		}
		if len(x.VacuumStmt.Rels) == 0 {
			keep(nil)
		}
		for _, r := range x.VacuumStmt.Rels {
			keep(r.GetVacuumRelation().GetRelation())
		}
		return outcome{tag: a.tag}, true
	case *pg.Node_ReindexStmt:
		a.tag = "REINDEX"
		keep(x.ReindexStmt.Relation)
		return outcome{tag: "REINDEX"}, true
	case *pg.Node_ClusterStmt:
		a.tag = "CLUSTER"
		keep(x.ClusterStmt.Relation)
		return outcome{tag: "CLUSTER"}, true
	case *pg.Node_RefreshMatViewStmt:
		a.tag = "REFRESH MATERIALIZED VIEW"
		keep(x.RefreshMatViewStmt.Relation)
		return outcome{tag: a.tag}, true
	case *pg.Node_CheckPointStmt:
		a.tag = "CHECKPOINT"
		keep(nil)
		return outcome{tag: "CHECKPOINT"}, true
	case *pg.Node_CallStmt:
		return a.callStmt(x.CallStmt), true
	}
	return outcome{}, false
}

// touched notes a relation whose values an error may quote: those of its rows, and
// of a view those of the rows below it.
func (a *analysis) touched(rel *Relation) {
	if !a.sensitive {
		a.sensitive = !rel.System() && (a.masksOf(rel) != nil || len(rel.Depends) > 0 && a.covers(rel, make(map[*Relation]bool)))
	}
}

// covers reports whether anything is masked of a relation or of what is below it.
func (a *analysis) covers(rel *Relation, seen map[*Relation]bool) bool {
	if rel.System() || seen[rel] {
		return false
	}
	seen[rel] = true
	if a.masksOf(rel) != nil {
		return true
	}
	for _, d := range rel.Depends {
		if r := a.c.RelationByOID(d.Relation); r != nil && r != rel && a.covers(r, seen) {
			return true
		}
	}
	return false
}

func (a *analysis) truncateCascade(rel *Relation, depth int) {
	if depth > maxViews {
		return
	}
	for _, r := range a.c.ReferencedBy(rel.OID) {
		before := len(a.accesses)
		a.access(protocol.Access{Action: protocol.Truncate, Object: r.From.object(), Implied: "foreign key " + r.Key.Name + " of " + r.From.object().String()})
		if len(a.accesses) > before {
			a.touched(r.From)
			a.outside(r.From, "TRUNCATE")
			a.runs(r.From, protocol.Truncate, nil)
			a.truncateCascade(r.From, depth+1)
		}
	}
}

func (a *analysis) callStmt(x *pg.CallStmt) outcome {
	a.tag = "CALL"
	if x.Funccall == nil {
		a.fail("0A000", -1, "CALL is not understood")
	}
	a.procedures = true
	f := names(x.Funccall.Funcname)
	all := a.functions(f, x.Funccall.Location)
	v := a.call(x.Funccall, &scope{q: &query{}})
	o := outcome{tag: "CALL", columns: v.row}
	if len(all) > 0 && len(all[0].Outputs) > 0 {
		o.returns = true
		for _, c := range all[0].Outputs {
			o.columns = append(o.columns, column{name: c.Name, value: value{typ: c.Type}})
		}
	}
	return o
}

// definition analyses DDL. What rights say comes first, so that a refusal names
// the rule; what the analysis cannot follow is refused after that.
func (a *analysis) definition(n *pg.Node) outcome {
	switch x := n.Node.(type) {
	case *pg.Node_CreateTableAsStmt:
		c := x.CreateTableAsStmt
		a.tag = "CREATE TABLE AS"
		sel := c.Query.GetSelectStmt()
		if sel == nil {
			a.unknown(c.Query)
		}
		cols := a.selectStmt(sel, nil)
		a.createAs(c.Into, cols)
		a.unmaskedOnly("a stored query")
		return outcome{tag: "SELECT"}
	case *pg.Node_CreateStmt:
		return a.createTable(x.CreateStmt)
	case *pg.Node_IndexStmt:
		i := x.IndexStmt
		a.tag = "CREATE INDEX"
		rel := a.alters(i.Relation)
		s := a.over(rel)
		for _, e := range append(append([]*pg.Node(nil), i.IndexParams...), i.IndexIncludingParams...) {
			if e.GetIndexElem().GetExpr() != nil {
				a.expr(e.GetIndexElem().Expr, s)
			}
		}
		if i.WhereClause != nil {
			a.expr(i.WhereClause, s)
		}
		return outcome{tag: a.tag}
	case *pg.Node_AlterTableStmt:
		return a.alterTable(x.AlterTableStmt)
	case *pg.Node_RenameStmt:
		a.tag = "ALTER TABLE"
		if x.RenameStmt.Relation == nil {
			a.ddl(protocol.Alter, n)
		}
		rel := a.alters(x.RenameStmt.Relation)
		switch x.RenameStmt.RenameType {
		case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_ATTRIBUTE:
			a.renamed(rel, x.RenameStmt.Subname, x.RenameStmt.Newname)
		case pg.ObjectType_OBJECT_TABCONSTRAINT, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_POLICY:
		default:
			// The server takes the word for any kind of relation: ALTER INDEX renames tables.
			if named := a.relationFor(x.RenameStmt.Relation, protocol.Alter); named == rel {
				a.renamed(rel, "", x.RenameStmt.Newname)
			}
		}
		return outcome{tag: a.tag}
	case *pg.Node_DropStmt:
		return a.drop(x.DropStmt)
	case *pg.Node_CreateSchemaStmt:
		c := x.CreateSchemaStmt
		a.tag = "CREATE SCHEMA"
		a.access(protocol.Access{Action: protocol.Create, Object: protocol.Object{Kind: protocol.Schema, Name: c.Schemaname}})
		if len(c.SchemaElts) > 0 || c.Authrole != nil {
			a.ddl(protocol.Create, n)
		}
		return outcome{tag: a.tag}
	case *pg.Node_CreateSeqStmt:
		a.tag = "CREATE SEQUENCE"
		a.access(protocol.Access{Action: protocol.Create, Object: a.newObject(x.CreateSeqStmt.Sequence)})
		return outcome{tag: a.tag}
	case *pg.Node_AlterSeqStmt:
		a.tag = "ALTER SEQUENCE"
		a.alters(x.AlterSeqStmt.Sequence)
		return outcome{tag: a.tag}
	case *pg.Node_ViewStmt:
		return a.createView(x.ViewStmt)
	case *pg.Node_CommentStmt:
		a.tag = "COMMENT"
		o := a.whole()
		if l := x.CommentStmt.Object.GetList(); l != nil && len(l.Items) > 0 {
			parts := names(l.Items)
			if x.CommentStmt.Objtype == pg.ObjectType_OBJECT_COLUMN && len(parts) > 1 {
				parts = parts[:len(parts)-1]
			}
			o = a.objectNamed(parts)
		}
		a.access(protocol.Access{Action: protocol.Alter, Object: o})
		return outcome{tag: a.tag}
	case *pg.Node_GrantStmt:
		return a.grant(x.GrantStmt, n)
	}
	a.ddl(ddlAction(n), n)
	return outcome{}
}

// ddl refuses a kind of statement that is not followed, with the rule that
// forbids it where one does.
func (a *analysis) ddl(action protocol.Action, n *pg.Node) {
	a.tag = nodeName(n)
	st := protocol.Statement{Understood: true, Tag: a.tag, Accesses: []protocol.Access{{Action: action, Object: a.whole()}}}
	r := &protocol.Refusal{Code: "42501", Message: nodeName(n) + " is not allowed",
		Detail: "What such a statement does cannot be told from its text, or reaches past the tables that policies are about."}
	switch n.Node.(type) {
	case *pg.Node_DoStmt:
		r.Hint = "Send the statements of the block one by one, without DO."
	case *pg.Node_CreateFunctionStmt:
		r.Hint = "Write what it would compute into the statement itself."
	}
	if d := a.v.Decide(&st); d.Verdict == protocol.Deny && d.Rule != "" {
		says := a.denial(d)
		r.Rule, r.Detail = d.Rule, says.Detail
		if r.Hint == "" {
			r.Hint = says.Hint
		}
	}
	a.accesses, a.order = nil, nil
	a.refuse(r)
}

// ddlAction is the action of a kind of statement.
func ddlAction(n *pg.Node) protocol.Action {
	switch name := nodeName(n); {
	case hasPrefix(name, "Create"), hasPrefix(name, "Define"), hasPrefix(name, "Composite"), hasPrefix(name, "Rule"), hasPrefix(name, "Import"):
		return protocol.Create
	case hasPrefix(name, "Alter"), hasPrefix(name, "SecLabel"), hasPrefix(name, "Replica"):
		return protocol.Alter
	case hasPrefix(name, "Drop"):
		return protocol.Drop
	case hasPrefix(name, "Grant"), hasPrefix(name, "Reassign"):
		return protocol.Grant
	case hasPrefix(name, "Do"), hasPrefix(name, "Load"), hasPrefix(name, "Call"):
		return protocol.Call
	}
	return protocol.ActionUnknown
}

func hasPrefix(s, p string) bool { return len(s) >= len(p) && s[:len(p)] == p }

// alters notes a change to a relation. One with masked columns keeps its shape:
// a column that is renamed, moved or copied would leave its label behind.
func (a *analysis) alters(rv *pg.RangeVar) *Relation {
	rel := a.relationFor(rv, protocol.Alter)
	if owner := a.c.RelationByOID(rel.Table); rel.Table != 0 && owner != nil {
		rel = owner
	}
	a.access(protocol.Access{Action: protocol.Alter, Object: rel.object()})
	a.keepsShape(rel)
	a.changed(rel)
	return rel
}

func (a *analysis) keepsShape(rel *Relation) {
	if rel.System() {
		a.fail("42501", -1, "changing %s is not allowed", rel.object())
	}
	a.outside(rel, "changing or dropping it")
	if a.masksOf(rel) != nil && a.refused == nil {
		a.sensitive = true
		a.refused = &protocol.Refusal{Code: "42501", Message: rel.object().String() + " has columns that are masked for you, and cannot be changed",
			Hint: "Let somebody change it who may see them."}
	}
}

// unmaskedOnly refuses to keep a query that reads relations with masks: what it
// would store is either the mask, or past every mask later.
func (a *analysis) unmaskedOnly(what string) {
	for _, r := range a.order {
		if r.rows != nil {
			a.outside(r.rel, what)
		}
		if r.masks != nil && a.refused == nil {
			a.refused = &protocol.Refusal{Code: "42501",
				Message: r.rel.object().String() + " has columns that are masked for you, and cannot be read by " + what}
		}
	}
}

// over is a scope of one relation's columns. What an expression of a definition
// computes with is read.
func (a *analysis) over(rel *Relation) *scope {
	ref := &reference{rel: rel, target: true}
	a.order = append(a.order, ref)
	it := &item{alias: rel.Name, ref: ref, rels: true, names: true}
	for i := range rel.Columns {
		if c := &rel.Columns[i]; !c.Dropped {
			it.cols = append(it.cols, column{name: c.Name, value: value{typ: c.Type}, ref: ref, index: i})
		}
	}
	return &scope{items: []*item{it}, q: &query{}}
}

func (a *analysis) createTable(x *pg.CreateStmt) outcome {
	a.tag = "CREATE TABLE"
	o := a.newObject(x.Relation)
	a.access(protocol.Access{Action: protocol.Create, Object: o})
	if len(x.InhRelations) > 0 || x.Partbound != nil || x.Partspec != nil || x.OfTypename != nil {
		a.fail("0A000", x.Relation.Location, "CREATE TABLE with parents or partitions is not supported")
	}
	it := &item{alias: x.Relation.Relname, rels: true, names: true}
	for _, n := range x.TableElts {
		if d := n.GetColumnDef(); d != nil {
			a.columnType(d)
			it.cols = append(it.cols, column{name: d.Colname})
		}
	}
	s := &scope{items: []*item{it}, q: &query{}}
	for _, n := range append(append([]*pg.Node(nil), x.TableElts...), x.Constraints...) {
		a.tableElement(n, s)
	}
	return outcome{tag: a.tag}
}

func (a *analysis) columnType(d *pg.ColumnDef) {
	if f := names(d.TypeName.GetNames()); len(f) == 1 {
		switch f[0] {
		case "serial", "bigserial", "smallserial", "serial2", "serial4", "serial8":
			return
		}
	}
	a.typeName(d.TypeName)
}

func (a *analysis) tableElement(n *pg.Node, s *scope) {
	switch x := n.Node.(type) {
	case *pg.Node_ColumnDef:
		if x.ColumnDef.RawDefault != nil {
			a.expr(x.ColumnDef.RawDefault, s)
		}
		for _, c := range x.ColumnDef.Constraints {
			a.tableElement(c, s)
		}
	case *pg.Node_Constraint:
		c := x.Constraint
		if c.RawExpr != nil {
			a.expr(c.RawExpr, s)
		}
		if c.WhereClause != nil {
			a.expr(c.WhereClause, s)
		}
		if len(c.Exclusions) > 0 {
			a.fail("0A000", c.Location, "EXCLUDE constraints are not supported")
		}
		if c.Pktable != nil {
			rel := a.relation(c.Pktable)
			a.outside(rel, "a foreign key")
			// Whether a row may have a key tells whether that is there.
			keys := names(c.PkAttrs)
			for i := range rel.Keys {
				if k := &rel.Keys[i]; len(keys) == 0 && k.Primary {
					for _, n := range k.Columns {
						if col := rel.ColumnByNumber(n); col != nil {
							keys = append(keys, col.Name)
						}
					}
				}
			}
			a.access(protocol.Access{Action: protocol.Select, Object: rel.object(), Columns: keys})
			for i, m := range a.masksOf(rel) {
				if m != nil && contains(keys, rel.Columns[i].Name) {
					a.condition(value{mask: m, raw: true}, "a foreign key")
				}
			}
		}
	default:
		a.unknown(n)
	}
}

func (a *analysis) alterTable(x *pg.AlterTableStmt) outcome {
	a.tag = "ALTER TABLE"
	rel := a.alters(x.Relation)
	s := a.over(rel)
	for _, n := range x.Cmds {
		c := n.GetAlterTableCmd()
		if c == nil {
			a.unknown(n)
		}
		switch c.Subtype {
		case pg.AlterTableType_AT_AddColumn:
			a.columnType(c.Def.GetColumnDef())
			a.tableElement(c.Def, s)
		case pg.AlterTableType_AT_ColumnDefault:
			if c.Def != nil {
				a.expr(c.Def, s)
			}
		case pg.AlterTableType_AT_AddConstraint:
			a.tableElement(c.Def, s)
		case pg.AlterTableType_AT_AlterColumnType:
			d := c.Def.GetColumnDef()
			a.columnType(d)
			if d.GetRawDefault() != nil {
				a.expr(d.RawDefault, s)
			}
		case pg.AlterTableType_AT_DropNotNull, pg.AlterTableType_AT_SetNotNull, pg.AlterTableType_AT_DropColumn,
			pg.AlterTableType_AT_ValidateConstraint, pg.AlterTableType_AT_DropConstraint,
			pg.AlterTableType_AT_DropExpression, pg.AlterTableType_AT_SetStatistics, pg.AlterTableType_AT_SetStorage:
		default:
			a.fail("0A000", x.Relation.Location, "ALTER TABLE %s is not supported", c.Subtype)
		}
	}
	return outcome{tag: a.tag}
}

func (a *analysis) createView(x *pg.ViewStmt) outcome {
	a.tag = "CREATE VIEW"
	a.access(protocol.Access{Action: protocol.Create, Object: a.newObject(x.View)})
	sel := x.Query.GetSelectStmt()
	if sel == nil {
		a.unknown(x.Query)
	}
	a.selectStmt(sel, nil)
	a.unmaskedOnly("a view")
	return outcome{tag: a.tag}
}

func (a *analysis) objectNamed(parts []string) protocol.Object {
	rv := &pg.RangeVar{Relname: parts[len(parts)-1], Location: -1}
	if len(parts) > 1 {
		rv.Schemaname = parts[len(parts)-2]
	}
	return a.relationFor(rv, protocol.Alter).object()
}

func (a *analysis) drop(x *pg.DropStmt) outcome {
	a.tag = "DROP"
	for _, n := range x.Objects {
		switch x.RemoveType {
		case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW,
			pg.ObjectType_OBJECT_SEQUENCE, pg.ObjectType_OBJECT_INDEX, pg.ObjectType_OBJECT_FOREIGN_TABLE:
			a.tag = "DROP TABLE"
			parts := names(n.GetList().GetItems())
			if len(parts) == 0 {
				a.unknown(n)
			}
			rv := &pg.RangeVar{Relname: parts[len(parts)-1], Location: -1}
			if len(parts) > 1 {
				rv.Schemaname = parts[len(parts)-2]
			}
			var rel *Relation
			if x.MissingOk && a.peek(rv) == nil {
				o := protocol.Object{Kind: protocol.Relation, Schema: rv.Schemaname, Name: rv.Relname}
				if o.Schema == "" {
					o = a.newObject(rv)
				}
				a.access(protocol.Access{Action: protocol.Drop, Object: o})
				continue
			}
			rel = a.relationFor(rv, protocol.Drop)
			if owner := a.c.RelationByOID(rel.Table); rel.Table != 0 && owner != nil {
				a.access(protocol.Access{Action: protocol.Alter, Object: owner.object()})
				continue
			}
			a.access(protocol.Access{Action: protocol.Drop, Object: rel.object()})
			a.keepsShape(rel)
			if x.Behavior == pg.DropBehavior_DROP_CASCADE {
				a.access(protocol.Access{Action: protocol.Drop, Object: a.whole(), Implied: "CASCADE"})
			}
		case pg.ObjectType_OBJECT_SCHEMA:
			a.access(protocol.Access{Action: protocol.Drop, Object: protocol.Object{Kind: protocol.Schema, Name: n.GetString_().GetSval()}})
			if x.Behavior == pg.DropBehavior_DROP_CASCADE {
				a.access(protocol.Access{Action: protocol.Drop, Object: a.whole(), Implied: "CASCADE"})
			}
		default:
			a.ddl(protocol.Drop, &pg.Node{Node: &pg.Node_DropStmt{DropStmt: x}})
		}
	}
	return outcome{tag: a.tag}
}

// peek finds a relation without refusing.
func (a *analysis) peek(rv *pg.RangeVar) *Relation {
	if rv.Schemaname != "" {
		return a.c.Relation(rv.Schemaname, rv.Relname)
	}
	a.byPath = true
	return a.c.ResolveRelation(a.path, rv.Relname)
}

func (a *analysis) grant(x *pg.GrantStmt, n *pg.Node) outcome {
	a.tag = "GRANT"
	if !x.IsGrant {
		a.tag = "REVOKE"
	}
	tag := a.tag
	for _, o := range x.Objects {
		rv := o.GetRangeVar()
		if rv == nil || x.Objtype != pg.ObjectType_OBJECT_TABLE {
			a.ddl(protocol.Grant, n)
		}
		rel := a.relationFor(rv, protocol.Grant)
		a.access(protocol.Access{Action: protocol.Grant, Object: rel.object()})
	}
	if len(x.Objects) == 0 {
		a.ddl(protocol.Grant, n)
	}
	return outcome{tag: tag}
}
