package session

import (
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
)

// login chooses the credential that the policies in force name, or says why there is
// none to choose.
func (g *Gate) login() *protocol.Refusal {
	name, _, why := g.view.Login()
	if why != "" {
		g.s.o.Log.Warn("no credential for a session", "database", g.conn.Database, "reason", why)
		return &protocol.Refusal{Code: "42501", Fatal: true, Message: "this session has no credential to log in with: " + why,
			Hint: "Ask whoever runs Sluice to have them name the same."}
	}
	g.credential = name
	return nil
}

// use makes the session log in with the credential that login chose.
func (g *Gate) use(out *postgres.SessionConfig, db *policy.Database) {
	c := db.Named(g.credential)
	if c == nil {
		return // login has refused
	}
	g.user = c.Username
	out.User, out.Auth = c.Username, g.s.o.Redirector.Prove(g.conn.ID, g.credential)
	out.Weakest = methods[db.Weakest(c, g.conn.Unix != "")]
}

// relogin ends a session that is logged in with another credential than the policies
// in force name.
func (g *Gate) relogin() *protocol.Refusal {
	if name, _, why := g.view.Login(); why == "" && name == g.credential {
		return nil
	}
	return &protocol.Refusal{Code: "57P01", Fatal: true,
		Message: "terminating connection: the policy names another credential for it now", Hint: "Connect again."}
}
