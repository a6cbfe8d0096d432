package session

import (
	"context"
	"time"

	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
)

// Pass implements [protocol.Passer]: what nobody reads passes where nothing is
// enforced or nothing is to be protected, and only while that is certain.
func (g *Gate) Pass(_ context.Context, text string) *protocol.Judgement {
	now := time.Now()
	rules := g.s.rules.Load()
	if g.conn.Token && (g.subject.Token == nil || !now.Before(g.subject.Token.Expires)) {
		return sql.Unread(nil, text)
	}
	if rules != g.rules || !g.until.IsZero() && !now.Before(g.until) || g.tokens.changed {
		g.tokens.changed = false
		if why := g.adopt(rules, now); why != nil {
			return &protocol.Judgement{Refusal: why}
		}
	}
	if why := g.spentOut(now); why != nil && text != "" {
		return &protocol.Judgement{Refusal: why}
	}
	return sql.Unread(g.view, text)
}

// known is the catalog to judge by. Where everything is allowed, an old one will do.
func (g *Gate) known(ctx context.Context) (*sql.Catalog, error) {
	if _, open := g.view.Open(); open {
		if c := g.catalog.known.Load(); c != nil {
			return c, nil
		}
	}
	return g.catalog.current(ctx)
}

// mayDefine reports whether a statement that was not understood may well have
// changed the catalog.
func mayDefine(p *protocol.Plan) bool {
	switch p.Statement.Tag {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "EXPLAIN", "SET", "SHOW", "RESET",
		"DECLARE CURSOR", "FETCH", "MOVE", "PREPARE":
		return false
	}
	return p.Effect.Kind == protocol.NoEffect || p.Effect.Kind == protocol.AnyEffect || p.Effect.Kind == protocol.Executes
}

// setting judges a parameter of the startup packet: one that SET takes some values of
// only has to have one of those, as with messages of debug levels.
func (g *Gate) setting(name, value string) *protocol.Refusal {
	if _, open := g.view.Open(); open || g.view.Observe() {
		return nil
	}
	if rule := sql.BuiltinSetting(name); postgres.HarmlessSetting(name) && (!rule.Set || rule.Allows(value)) {
		return nil
	}
	return postgres.UnknownSetting(name)
}
