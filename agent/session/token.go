package session

import (
	"context"
	"errors"
	"time"

	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// tokenState is what a Gate knows of its workload's token.
type tokenState struct {
	changed bool   // since the view was made
	version uint64 // counts the tokens that were believed
	tried   time.Time
	why     *protocol.Refusal // of the last try
}

// retryToken is how long a refused token is not asked for again.
const retryToken = 2 * time.Second

// readToken asks for the workload's token and believes it or says why not.
func (g *Gate) readToken(ctx context.Context, rules *Rules) *protocol.Refusal {
	raw, _, err := g.s.o.Redirector.Token(ctx, g.conn.ID)
	if err != nil {
		g.s.o.Log.Warn("token not readable", "pid", g.conn.Process.PID, "error", err)
		return badToken("the workload's token can't be read")
	}
	return g.believe(ctx, rules, string(raw))
}

// believe verifies a token and makes it part of the subject.
func (g *Gate) believe(ctx context.Context, rules *Rules, raw string) *protocol.Refusal {
	if rules == nil || rules.Verify == nil {
		return badToken("no issuer of tokens is configured")
	}
	w := rules.Set.Enrolled(g.subject.Workload)
	token, err := rules.Verify(ctx, raw, &w)
	if err != nil {
		g.s.o.Log.Warn("token refused", "pid", g.conn.Process.PID, "error", err)
		if errors.Is(err, identity.ErrIssuer) {
			// How it is reached is nothing for a workload.
			return &protocol.Refusal{Code: "57P03", Message: "the issuer of the workload's token can't be asked now, so nobody is believed", Fatal: true,
				Hint: "Try again in some seconds; if it stays, the operator finds the reason in Sluice's log."}
		}
		return badToken("the workload's token was refused: " + err.Error())
	}
	g.subject.Token = token
	g.tokens.changed = true
	g.tokens.version++
	return nil
}

// freshToken refuses statements while the token has expired and no fresh one is there.
func (g *Gate) freshToken(ctx context.Context, rules *Rules, now time.Time) *protocol.Refusal {
	if t := g.subject.Token; t != nil && now.Before(t.Expires) {
		return nil
	}
	if now.Sub(g.tokens.tried) < retryToken && g.tokens.why != nil {
		return g.tokens.why
	}
	if g.subject.Token != nil {
		g.forgetToken()
	}
	g.tokens.tried = now
	g.tokens.why = g.readToken(ctx, rules)
	if g.tokens.why != nil {
		g.tokens.why.Fatal = false
	}
	return g.tokens.why
}

func (g *Gate) forgetToken() {
	g.subject.Token = nil
	g.tokens.changed = true
	g.tokens.version++
}

// lapsed ends a session that a token opened, once that one has expired or is no longer
// believed. The client has no way to send another.
func (g *Gate) lapsed(now time.Time) *protocol.Refusal {
	if t := g.subject.Token; !g.byToken || t != nil && now.Before(t.Expires) {
		return nil
	}
	return errLapsed
}

var errLapsed = badToken("the token that this session was opened with has expired, or is no longer believed")

// endWith ends the session at the end of its token, also if it only listens. What runs
// then may end first.
func (g *Gate) endWith(t *policy.Token) {
	g.expiry = time.AfterFunc(time.Hour, func() {
		switch {
		case g.closed.Load():
		case g.running.Load() > 0:
			g.expiry.Reset(time.Second)
		default:
			g.stop(errLapsed)
		}
	})
	g.expiry.Reset(time.Until(t.Expires))
}

func badToken(message string) *protocol.Refusal {
	return &protocol.Refusal{Code: "28000", Message: message, Fatal: true,
		Hint: "A fresh token of a configured issuer is needed."}
}

// tokenAuth returns how a client proves itself by a JWT in place of a password.
func (g *Gate) tokenAuth(rules *Rules) func(context.Context, string) *protocol.Refusal {
	return func(ctx context.Context, password string) *protocol.Refusal {
		if !identity.Shaped(password) {
			g.foreign("token", "a password that is no token")
		}
		why := g.believe(ctx, rules, password)
		if why == nil {
			g.byToken = true
			g.endWith(g.subject.Token)
			why = g.adopt(rules, time.Now())
			g.name = g.subject.String()
		}
		return why
	}
}
