package sql

import (
	"cmp"
	"strings"

	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// outcome is what a statement comes to besides its accesses.
type outcome struct {
	tag     string
	columns []column
	returns bool
	effect  protocol.Effect
	copies  []column // of COPY TO, with the format
	copy    *protocol.Copy
}

// statement analyses one statement of the text. from and to are its extent.
func (a *analysis) statement(n *pg.Node, from, to int) outcome {
	if o, ok := a.queryStmt(n); ok {
		return o
	}
	if o, ok := a.sessionStmt(n, from, to); ok {
		return o
	}
	if o, ok := a.copyOrExplain(n, from, to); ok {
		return o
	}
	if o, ok := a.maintenance(n); ok {
		return o
	}
	o := a.definition(n)
	if a.changesPath {
		// It would run whenever what is defined is used.
		a.fail("42501", -1, "set_config of search_path cannot be part of a definition")
	}
	return o
}

// queryStmt analyses SELECT, INSERT, UPDATE, DELETE and MERGE.
func (a *analysis) queryStmt(n *pg.Node) (outcome, bool) {
	switch x := n.Node.(type) {
	case *pg.Node_SelectStmt:
		if into := intoClause(x.SelectStmt); into != nil {
			a.tag = "SELECT INTO"
			a.into = true
			a.createAs(into, a.selectStmt(x.SelectStmt, nil))
			return outcome{tag: "SELECT"}, true
		}
		a.tag = "SELECT"
		cols := a.selectStmt(x.SelectStmt, nil)
		return outcome{tag: "SELECT", columns: cols, returns: true}, true
	case *pg.Node_InsertStmt:
		a.tag = "INSERT"
		cols := a.insertStmt(x.InsertStmt, nil)
		return outcome{tag: "INSERT", columns: cols, returns: cols != nil}, true
	case *pg.Node_UpdateStmt:
		a.tag = "UPDATE"
		cols := a.updateStmt(x.UpdateStmt, nil)
		return outcome{tag: "UPDATE", columns: cols, returns: cols != nil}, true
	case *pg.Node_DeleteStmt:
		a.tag = "DELETE"
		cols := a.deleteStmt(x.DeleteStmt, nil)
		return outcome{tag: "DELETE", columns: cols, returns: cols != nil}, true
	case *pg.Node_MergeStmt:
		a.tag = "MERGE"
		cols := a.mergeStmt(x.MergeStmt, nil)
		return outcome{tag: "MERGE", columns: cols, returns: cols != nil}, true
	}
	return outcome{}, false
}

// intoClause finds INTO, which stands in the first of several united queries.
func intoClause(x *pg.SelectStmt) *pg.IntoClause {
	for x != nil {
		if x.IntoClause != nil {
			return x.IntoClause
		}
		x = x.Larg
	}
	return nil
}

// createAs is what CREATE TABLE AS and SELECT INTO do with their query's result.
func (a *analysis) createAs(into *pg.IntoClause, cols []column) {
	o := a.newObject(into.Rel)
	a.access(protocol.Access{Action: protocol.Create, Object: o})
	for i := range cols {
		a.copied(cols[i].value, o.String())
	}
}

// tempHint is what to do in place of a temporary table.
const tempHint = "Put the rows into a WITH query of the statement that needs them, or into a VALUES list."

// newObject names a relation that a statement creates.
func (a *analysis) newObject(rv *pg.RangeVar) protocol.Object {
	if rv == nil {
		a.fail("0A000", -1, "a relation is missing")
	}
	o := protocol.Object{Kind: protocol.Relation, Schema: rv.Schemaname, Name: rv.Relname}
	if (rv.Relpersistence == "t" || IsTemp(o.Schema)) && a.refused == nil {
		// Temporary relations come before all others where a name is looked up.
		a.refused = &protocol.Refusal{Code: "0A000", Message: "temporary relations are not available here",
			Detail: "They would hide others of the same name, and who reads them is not told by the database.",
			Hint:   tempHint}
	}
	switch {
	case rv.Relpersistence == "t":
		o.Schema = "pg_temp"
	case o.Schema == "":
		a.byPath = true
		a.needPath(rv.Location)
		for _, s := range a.path {
			if s != "pg_catalog" && !IsTemp(s) {
				o.Schema = s
				break
			}
		}
	case IsTemp(o.Schema):
		o.Schema = "pg_temp"
	}
	return o
}

// sessionStmt analyses what concerns the session only.
func (a *analysis) sessionStmt(n *pg.Node, from, to int) (outcome, bool) {
	switch x := n.Node.(type) {
	case *pg.Node_TransactionStmt:
		return a.transaction(x.TransactionStmt), true
	case *pg.Node_VariableSetStmt:
		return a.setting(x.VariableSetStmt), true
	case *pg.Node_VariableShowStmt:
		name := x.VariableShowStmt.Name
		a.tag = "SHOW"
		if r := BuiltinSetting(name); !r.Show {
			a.settingRefused(protocol.Set, name, "shown")
		}
		return outcome{tag: "SHOW", returns: true, columns: []column{{name: name, value: value{typ: textOID}}}}, true
	case *pg.Node_ConstraintsSetStmt:
		return outcome{tag: "SET CONSTRAINTS"}, true
	case *pg.Node_DiscardStmt:
		if x.DiscardStmt.Target == pg.DiscardMode_DISCARD_ALL {
			a.lost = true
		}
		return outcome{tag: "DISCARD", effect: discards(x.DiscardStmt)}, true
	case *pg.Node_PrepareStmt:
		return a.prepare(x.PrepareStmt, from, to), true
	case *pg.Node_ExecuteStmt:
		s := &scope{q: &query{}}
		for _, p := range x.ExecuteStmt.Params {
			a.expr(p, s)
		}
		return outcome{tag: "EXECUTE", returns: true, effect: protocol.Effect{Kind: protocol.Executes, Name: x.ExecuteStmt.Name}}, true
	case *pg.Node_DeallocateStmt:
		return outcome{tag: "DEALLOCATE", effect: protocol.Effect{Kind: protocol.Deallocates, Name: x.DeallocateStmt.Name}}, true
	case *pg.Node_DeclareCursorStmt:
		d := x.DeclareCursorStmt
		o, ok := a.queryStmt(d.Query)
		if !ok || d.Query.GetSelectStmt() == nil {
			a.unknown(d.Query)
		}
		i := a.tokenIn(from, to, pg.Token_FOR)
		return outcome{tag: "DECLARE CURSOR", effect: protocol.Effect{Kind: protocol.Declares, Name: d.Portalname,
			Inner: a.inner(o), Text: strings.TrimSpace(a.text[int(a.scan()[i].End):to])}}, true
	case *pg.Node_FetchStmt:
		f := x.FetchStmt
		tag := "FETCH"
		if f.Ismove {
			tag = "MOVE"
		}
		return outcome{tag: tag, returns: !f.Ismove, effect: protocol.Effect{Kind: protocol.Fetches, Name: f.Portalname}}, true
	case *pg.Node_ClosePortalStmt:
		return outcome{tag: "CLOSE CURSOR", effect: protocol.Effect{Kind: protocol.Closes, Name: x.ClosePortalStmt.Portalname}}, true
	case *pg.Node_ListenStmt:
		a.channel(x.ListenStmt.Conditionname)
		return outcome{tag: "LISTEN"}, true
	case *pg.Node_NotifyStmt:
		a.channel(x.NotifyStmt.Conditionname)
		return outcome{tag: "NOTIFY"}, true
	case *pg.Node_UnlistenStmt:
		return outcome{tag: "UNLISTEN"}, true
	}
	return outcome{}, false
}

func (a *analysis) channel(name string) {
	a.access(protocol.Access{Action: protocol.Listen, Object: protocol.Object{Kind: protocol.Channel, Name: name}})
}

// inner is the plan of a statement that another one keeps for later.
func (a *analysis) inner(o outcome) *protocol.Plan {
	p := &protocol.Plan{}
	a.describe(p, o)
	return p
}

// tokenIn returns the index of the first such token of a statement that stands in
// no parentheses.
func (a *analysis) tokenIn(from, to int, k pg.Token) int {
	depth := 0
	for i, t := range a.scan() {
		if int(t.Start) < from || int(t.End) > to {
			continue
		}
		switch t.Token {
		case pg.Token_ASCII_40:
			depth++
		case pg.Token_ASCII_41:
			depth--
		case k:
			if depth == 0 {
				return i
			}
		}
	}
	a.fail("0A000", -1, "a keyword of the statement cannot be found in its text")
	return 0
}

func (a *analysis) prepare(x *pg.PrepareStmt, from, to int) outcome {
	for _, t := range x.Argtypes {
		a.typeName(t.GetTypeName())
	}
	o, ok := a.queryStmt(x.Query)
	if !ok {
		a.unknown(x.Query)
	}
	i := a.tokenIn(from, to, pg.Token_AS)
	return outcome{tag: "PREPARE", effect: protocol.Effect{Kind: protocol.Prepares, Name: x.Name,
		Inner: a.inner(o), Text: strings.TrimSpace(a.text[int(a.scan()[i].End):to])}}
}

// block is what is known of the transaction block that a text is in.
type block struct {
	open    bool     // begun in this text
	changed bool     // the path was set since
	local   bool     // ... and only until the block ends
	path    []string // before it
	session []string // what a COMMIT leaves
	lost    bool
}

func (a *analysis) transaction(x *pg.TransactionStmt) outcome {
	b := &a.block
	switch x.Kind {
	case pg.TransactionStmtKind_TRANS_STMT_BEGIN, pg.TransactionStmtKind_TRANS_STMT_START:
		if !b.open {
			*b = block{open: true, path: a.path, session: a.path, lost: a.lost}
		}
		tag := "BEGIN"
		if x.Kind == pg.TransactionStmtKind_TRANS_STMT_START {
			tag = "START TRANSACTION"
		}
		return outcome{tag: tag, effect: protocol.Effect{Kind: protocol.Begin}}
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT:
		a.commit()
		return outcome{tag: "COMMIT", effect: protocol.Effect{Kind: protocol.End}}
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		switch {
		case b.open && !x.Chain:
			a.path, a.lost = b.path, b.lost
		default:
			a.lost = true
		}
		*b = block{}
		return outcome{tag: "ROLLBACK", effect: protocol.Effect{Kind: protocol.End}}
	case pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT:
		return outcome{tag: "SAVEPOINT", effect: protocol.Effect{Kind: protocol.Savepoint, Name: x.SavepointName}}
	case pg.TransactionStmtKind_TRANS_STMT_RELEASE:
		return outcome{tag: "RELEASE", effect: protocol.Effect{Kind: protocol.Savepoint, Name: x.SavepointName}}
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		if !b.open || b.changed {
			a.lost = true
		}
		return outcome{tag: "ROLLBACK", effect: protocol.Effect{Kind: protocol.Savepoint, Name: x.SavepointName}}
	}
	// Two-phase transactions outlive their session.
	a.fail("42501", x.Location, "two-phase transactions are not allowed")
	return outcome{}
}

func (a *analysis) commit() {
	b := &a.block
	switch {
	case b.open && b.local:
		a.path = b.session
	case !b.open:
		// What an earlier text set until here is not known.
		a.lost = true
	}
	*b = block{}
}

func (a *analysis) settingRefused(action protocol.Action, name, what string) {
	o := protocol.Object{Kind: protocol.Setting, Name: strings.ToLower(name)}
	r := &protocol.Refusal{Code: "42501", Message: "setting " + o.Name + " may not be " + what,
		Detail: "It is not on the closed list of settings."}
	if rule := BuiltinSetting(name); rule.Set {
		r.Detail = "It may be set to: " + rule.Values() + "."
	}
	a.refuse(r)
}

// setting is SET and RESET.
func (a *analysis) setting(x *pg.VariableSetStmt) outcome {
	a.tag = "SET"
	o := outcome{tag: "SET"}
	rule := BuiltinSetting(x.Name)
	if audits(a.v, x.Name) {
		a.settingRefused(protocol.Set, x.Name, "set: it names who is connected")
	}
	switch x.Kind {
	case pg.VariableSetKind_VAR_SET_VALUE:
		words := make([]string, 0, len(x.Args))
		for _, n := range x.Args {
			w, ok := settingValue(n)
			if !ok {
				a.settingRefused(protocol.Set, x.Name, "set to such a value")
			}
			words = append(words, w)
		}
		if rule.Path {
			a.setPath(words, x.IsLocal)
			o.effect.Kind = protocol.ChangesPath
			return o
		}
		if !rule.Allows(strings.Join(words, ", ")) {
			a.settingRefused(protocol.Set, x.Name, "set to this value")
		}
	case pg.VariableSetKind_VAR_SET_DEFAULT, pg.VariableSetKind_VAR_RESET:
		if x.Kind == pg.VariableSetKind_VAR_RESET {
			o.tag = "RESET"
		}
		if !rule.Set {
			a.settingRefused(protocol.Set, x.Name, "reset")
		}
		if rule.Path {
			a.lost, a.block.changed = true, true
			o.effect.Kind = protocol.ChangesPath
		}
	case pg.VariableSetKind_VAR_RESET_ALL:
		a.lost, a.block.changed = true, true
		o.tag, o.effect.Kind = "RESET", protocol.ChangesPath
	case pg.VariableSetKind_VAR_SET_MULTI:
		if x.Name != "TRANSACTION" && x.Name != "SESSION CHARACTERISTICS" {
			a.settingRefused(protocol.Set, x.Name, "set")
		}
	default:
		a.settingRefused(protocol.Set, x.Name, "set so")
	}
	return o
}

// settingValue is one value of a SET as the server makes it text.
func settingValue(n *pg.Node) (string, bool) {
	if t := n.GetTypeCast(); t != nil {
		n = t.Arg // SET TIME ZONE INTERVAL '...'
	}
	c := n.GetAConst()
	switch v := c.GetVal().(type) {
	case *pg.A_Const_Sval:
		return v.Sval.Sval, true
	case *pg.A_Const_Ival:
		return itoa(int(v.Ival.Ival)), true
	case *pg.A_Const_Fval:
		return v.Fval.Fval, true
	case *pg.A_Const_Boolval:
		if v.Boolval.Boolval {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

// setPath simulates SET search_path for the statements after it.
func (a *analysis) setPath(words []string, local bool) {
	path := make([]string, 0, len(words)+1)
	catalog := false
	for _, w := range words {
		// One string may hold what SET would take as a list only in a set_config
		// or an option; in SET each is one name.
		if w == "$user" {
			w = cmp.Or(a.user, a.c.User)
		}
		if IsTemp(w) || a.c.Schema(w) == nil && w != "pg_catalog" {
			continue
		}
		catalog = catalog || w == "pg_catalog"
		path = append(path, w)
	}
	if !catalog {
		path = append([]string{"pg_catalog"}, path...)
	}
	if !a.block.open || !local {
		a.block.session = path
	}
	a.path, a.lost = path, false
	a.block.changed = true
	a.block.local = a.block.local || local
}

// copyOrExplain analyses COPY and EXPLAIN.
func (a *analysis) copyOrExplain(n *pg.Node, from, to int) (outcome, bool) {
	switch x := n.Node.(type) {
	case *pg.Node_CopyStmt:
		a.tag = "COPY"
		return a.copyStmt(x.CopyStmt), true
	case *pg.Node_ExplainStmt:
		a.tag = "EXPLAIN"
		for _, o := range x.ExplainStmt.Options {
			a.uncounted = a.uncounted || o.GetDefElem().GetDefname() == "analyze"
		}
		if _, ok := a.queryStmt(x.ExplainStmt.Query); !ok {
			a.unknown(x.ExplainStmt.Query)
		}
		a.tag = "EXPLAIN"
		for _, r := range a.order {
			if r.rows != nil {
				a.outside(r.rel, "EXPLAIN") // it counts and estimates all rows
			}
			for _, m := range r.masks {
				if m != nil && m.rule.Mask.Kind == hashMask {
					a.fail("42501", -1, "EXPLAIN is not allowed over %s, whose mask holds a key", r.rel.object())
				}
			}
		}
		return outcome{tag: "EXPLAIN", returns: true, columns: []column{{name: "QUERY PLAN", value: value{typ: textOID}}}}, true
	}
	return outcome{}, false
}

func (a *analysis) copyStmt(x *pg.CopyStmt) outcome {
	if x.IsProgram || x.Filename != "" {
		a.fail("42501", -1, "COPY reads and writes the server's files and programs, which is not allowed: use STDIN or STDOUT")
	}
	f := &protocol.Copy{}
	for _, n := range x.Options {
		a.copyOption(n.GetDefElem())
		a.copyFormat(f, n.GetDefElem())
	}
	completeCopy(f)
	if x.Query != nil {
		o, ok := a.queryStmt(x.Query)
		if !ok || x.IsFrom {
			a.unknown(x.Query)
		}
		return outcome{tag: "COPY", copies: o.columns, copy: f, effect: protocol.Effect{Kind: protocol.CopiesOut}}
	}
	if x.IsFrom {
		ref := a.target(x.Relation, protocol.Insert, "insert")
		a.unwritable(ref, "COPY FROM", "Use INSERT with several rows.")
		a.outside(ref.rel, "COPY FROM")
		var cols []string
		for _, n := range x.Attlist {
			cols = append(cols, a.copyColumn(ref.rel, n))
		}
		if len(x.Attlist) == 0 {
			cols = a.written(ref.rel, nil, nil)
		}
		a.access(protocol.Access{Action: protocol.Insert, Object: ref.rel.object(), Columns: cols})
		a.runs(ref.rel, protocol.Insert, nil)
		a.base(ref.rel, protocol.Insert, cols, 0)
		if x.WhereClause != nil {
			// It sees what the workload sends, before it is a row.
			it := &item{alias: ref.rel.Name, rels: true, names: true}
			for i := range ref.rel.Columns {
				if c := &ref.rel.Columns[i]; !c.Dropped {
					it.cols = append(it.cols, column{name: c.Name, value: value{typ: c.Type}})
				}
			}
			a.expr(x.WhereClause, &scope{items: []*item{it}, q: &query{}})
		}
		return outcome{tag: "COPY", effect: protocol.Effect{Kind: protocol.CopiesIn}}
	}
	return a.copyOut(x, f)
}

func (a *analysis) copyColumn(rel *Relation, n *pg.Node) string {
	name := n.GetString_().GetSval()
	if rel.Column(name) == nil {
		a.missing("42703", -1, "column %q of relation %s does not exist", name, rel.object())
	}
	return name
}

// copyOut is COPY of a relation, which with masks becomes COPY of a query.
func (a *analysis) copyOut(x *pg.CopyStmt, f *protocol.Copy) outcome {
	rel := a.relation(x.Relation)
	if !rel.Readable() || rel.Kind == Toast {
		a.fail("42809", x.Relation.Location, "%s is not a table", rel.object())
	}
	ref := a.reference(rel, x.Relation)
	it := a.relationItem(ref, nil)
	want := make([]string, 0, len(x.Attlist))
	for _, n := range x.Attlist {
		want = append(want, a.copyColumn(rel, n))
	}
	var cols []column
	if len(want) == 0 {
		for i := range it.cols {
			if rel.Columns[it.cols[i].index].Generated == "" {
				want = append(want, it.cols[i].name)
			}
		}
	}
	for _, name := range want {
		for i := range it.cols {
			if it.cols[i].name == name {
				a.use(&it.cols[i])
				cols = append(cols, it.cols[i])
			}
		}
	}
	if ref.spliced() {
		// Its place in the text is replaced here, not as a FROM item's would be.
		a.copyText(x, ref, cols)
		ref.target, ref.confined = true, false
	}
	return outcome{tag: "COPY", copies: cols, copy: f, effect: protocol.Effect{Kind: protocol.CopiesOut}}
}

func (a *analysis) copyText(x *pg.CopyStmt, ref *reference, cols []column) {
	t := a.scan()
	first := a.tokenAt(x.Relation.Location)
	n := 1
	if x.Relation.Schemaname != "" {
		n++
	}
	if x.Relation.Catalogname != "" {
		n++
	}
	end, _ := a.qualified(first, n)
	if len(x.Attlist) > 0 {
		end = a.closing(end) + 1
	}
	list := make([]string, 0, len(cols))
	for _, c := range cols {
		name := quote(c.name)
		if c.mask != nil && !ref.confined {
			name = a.maskSQL(c.mask, c.col, name) + " AS " + name
		}
		list = append(list, name)
	}
	delete(a.pins, x.Relation)
	from := " FROM ONLY " + quote(ref.rel.Schema) + "." + quote(ref.rel.Name)
	if ref.confined {
		a.shadowSource(ref, true, "") // refuses columns that the view does not have
		from = a.shadowFrom(ref, true, "")
	} else if ref.rows != nil {
		from += " WHERE " + ref.rows.on("")
	}
	at := int(t[first].Start)
	a.edits = append(a.edits, edit{at: at, length: int(t[end-1].End) - at, text: "(SELECT " + strings.Join(list, ", ") + from + ")", reads: true})
}

// copyOption allows the options that say how values are written.
func (a *analysis) copyOption(d *pg.DefElem) {
	switch d.GetDefname() {
	case "format", "freeze", "delimiter", "null", "header", "quote", "escape", "force_quote", "force_not_null",
		"force_null", "default", "on_error", "log_verbosity":
		return
	case "encoding":
		if utf8Name(lower(d.Arg.GetString_().GetSval())) {
			return
		}
	}
	a.fail("42501", d.GetLocation(), "COPY option %q is not allowed so", d.GetDefname())
}

// copyFormat notes an option that says how values are written. The server refuses
// what contradicts itself.
func (a *analysis) copyFormat(f *protocol.Copy, d *pg.DefElem) {
	one := func(to *byte) {
		s := d.GetArg().GetString_().GetSval()
		if len(s) != 1 {
			a.fail("0A000", d.GetLocation(), "COPY option %q must be a single one-byte character", d.GetDefname())
		}
		*to = s[0]
	}
	switch d.GetDefname() {
	case "format":
		switch s := d.GetArg().GetString_().GetSval(); s {
		case "text":
		case "csv":
			f.CSV = true
		case "binary":
			f.Binary = true
		default:
			a.fail("22023", d.GetLocation(), "COPY format %q not recognized", s)
		}
	case "null":
		if s := d.GetArg().GetString_().GetSval(); strings.Contains(s, "\\") && s != "\\N" {
			a.fail("0A000", d.GetLocation(), "COPY option \"null\" must be \\N or without a backslash")
		}
	case "delimiter":
		one(&f.Delimiter)
	case "quote":
		one(&f.Quote)
	case "escape":
		one(&f.Escape)
	}
}

// completeCopy fills in what COPY takes where nothing is said.
func completeCopy(f *protocol.Copy) {
	if f.Delimiter == 0 {
		f.Delimiter = '\t'
		if f.CSV {
			f.Delimiter = ','
		}
	}
	if f.Quote == 0 {
		f.Quote = '"'
	}
	if f.Escape == 0 {
		f.Escape = f.Quote
	}
}
