package sql

import (
	"strings"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Unread is the judgement of a text that is not looked into: it passes where v
// observes or is open, and is refused everywhere else.
func Unread(v *policy.View, text string) *protocol.Judgement {
	_, open := v.Open()
	if !open && (v == nil || !v.Observe()) {
		return &protocol.Judgement{Refusal: &protocol.Refusal{Code: "42501", Message: "the statement cannot be read safely"}}
	}
	p := protocol.Plan{Returns: true, Observed: !open, Effect: protocol.Effect{Kind: protocol.AnyEffect}}
	pass(v, &p)
	return &protocol.Judgement{Text: text, Named: !open, Plans: []protocol.Plan{p}}
}

// pass makes a plan one that nothing is held to.
func pass(v *policy.View, p *protocol.Plan) {
	if rule, open := v.Open(); open {
		p.Verdict, p.Rule, p.Observed = protocol.Allow, rule, false
	}
	p.Free, p.Limits = true, protocol.Limits{}
	if p.Effect.Inner != nil {
		pass(v, p.Effect.Inner)
	}
}

// loosely describes a statement that the analysis has refused and that passes all
// the same: what it does to its session is in its parse tree alone.
func (a *analysis) loosely(p *protocol.Plan, raw *pg.RawStmt) {
	*p = protocol.Plan{Returns: true, Observed: true}
	from, to := int(raw.StmtLocation), len(a.text)
	if raw.StmtLen > 0 {
		to = from + int(raw.StmtLen)
	}
	p.Statement.Tag, p.Effect = a.session(raw.Stmt, from, to)
	if p.Statement.Tag == "" {
		p.Statement.Tag = a.tag
	}
}

// session tells what a statement does to its session.
func (a *analysis) session(n *pg.Node, from, to int) (tag string, e protocol.Effect) {
	switch x := n.GetNode().(type) {
	case *pg.Node_TransactionStmt:
		switch x.TransactionStmt.Kind {
		case pg.TransactionStmtKind_TRANS_STMT_PREPARE:
			return "PREPARE TRANSACTION", protocol.Effect{Kind: protocol.End}
		case pg.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED, pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
			return "COMMIT PREPARED", e
		}
		o := a.transaction(x.TransactionStmt)
		return o.tag, o.effect
	case *pg.Node_VariableSetStmt:
		switch s := x.VariableSetStmt; {
		case s.Kind == pg.VariableSetKind_VAR_RESET_ALL, BuiltinSetting(s.Name).Path,
			s.Name == "role", s.Name == "session_authorization":
			a.lost = true
			return "SET", protocol.Effect{Kind: protocol.ChangesPath}
		}
		return "SET", e
	case *pg.Node_DiscardStmt:
		return "DISCARD", discards(x.DiscardStmt)
	case *pg.Node_PrepareStmt:
		return "PREPARE", protocol.Effect{Kind: protocol.Prepares, Name: x.PrepareStmt.Name,
			Inner: a.looseInner(), Text: a.behind(from, to, pg.Token_AS)}
	case *pg.Node_DeclareCursorStmt:
		return "DECLARE CURSOR", protocol.Effect{Kind: protocol.Declares, Name: x.DeclareCursorStmt.Portalname,
			Inner: a.looseInner(), Text: a.behind(from, to, pg.Token_FOR)}
	case *pg.Node_ExecuteStmt:
		return "EXECUTE", protocol.Effect{Kind: protocol.Executes, Name: x.ExecuteStmt.Name}
	case *pg.Node_CreateTableAsStmt:
		if ex := x.CreateTableAsStmt.Query.GetExecuteStmt(); ex != nil {
			return "CREATE TABLE AS", protocol.Effect{Kind: protocol.Executes, Name: ex.Name}
		}
		return "CREATE TABLE AS", e
	case *pg.Node_CopyStmt:
		switch c := x.CopyStmt; {
		case c.IsProgram || c.Filename != "":
		case c.IsFrom:
			e.Kind = protocol.CopiesIn
		default:
			e.Kind = protocol.CopiesOut
		}
		return "COPY", e
	case *pg.Node_SelectStmt:
		return "SELECT", e
	case *pg.Node_DropdbStmt, *pg.Node_CreatedbStmt, *pg.Node_AlterDatabaseStmt:
		return protocol.TagDatabase, e
	case *pg.Node_RenameStmt:
		if x.RenameStmt.RenameType == pg.ObjectType_OBJECT_DATABASE {
			return protocol.TagDatabase, e
		}
	}
	return "", e
}

// looseInner is the plan of a statement that is kept for later.
func (a *analysis) looseInner() *protocol.Plan {
	return &protocol.Plan{Returns: true, Observed: true, Statement: protocol.Statement{Tag: a.tag}}
}

// behind is the text behind a keyword of a statement, all of it if there is none.
func (a *analysis) behind(from, to int, k pg.Token) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = a.text[from:to]
		}
	}()
	i := a.tokenIn(from, to, k)
	return strings.TrimSpace(a.text[int(a.scan()[i].End):to])
}

// audits reports whether a setting names the subject in the server's own audit.
func audits(v *policy.View, setting string) bool {
	db := v.Database()
	return db != nil && db.AuditAs != "" && strings.EqualFold(db.AuditAs, setting)
}

// discards is the effect of DISCARD. The sequences' values and the plans are
// nobody's names; temporary tables are part of how names resolve.
func discards(x *pg.DiscardStmt) protocol.Effect {
	switch x.Target {
	case pg.DiscardMode_DISCARD_PLANS, pg.DiscardMode_DISCARD_SEQUENCES:
		return protocol.Effect{}
	case pg.DiscardMode_DISCARD_TEMP:
		return protocol.Effect{Kind: protocol.ChangesPath}
	}
	return protocol.Effect{Kind: protocol.Discards}
}
