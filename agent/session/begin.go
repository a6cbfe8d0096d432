package session

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
)

// begin decides whether there is a session for st, and records its start.
func (s *Server) begin(ctx context.Context, c *Conn, st *postgres.Startup) (*Gate, *postgres.SessionConfig, *protocol.Refusal) {
	if c.Refused != "" {
		return nil, nil, &protocol.Refusal{Code: "08004", Message: c.Refused, Fatal: true}
	}
	rules := s.rules.Load()
	if rules == nil {
		return nil, nil, unavailable("Sluice is starting and has no policy yet", errNoRules, s)
	}
	db := rules.Set.Database(c.Database)
	if db == nil {
		return nil, nil, &protocol.Refusal{Code: "08004", Fatal: true,
			Message: "the destination belongs to no configured database any more"}
	}
	if !db.AllowsName(st.Database) {
		return nil, nil, &protocol.Refusal{Code: "42501", Fatal: true, Rule: "database:" + db.Name + "/names",
			Message: "this database name is not open to workloads", Detail: "It is not among the names of database " + db.Name + "."}
	}
	if db.Credential.Passthrough && db.Mode == policy.ModeRole && st.User != db.Role.Login {
		return nil, nil, &protocol.Refusal{Code: "28000", Fatal: true, Rule: "database:" + db.Name + "/role",
			Message: "this login is not open to workloads", Hint: "Log in as " + db.Role.Login + "."}
	}
	if why := s.enter(c, rules.Set.Agent()); why != nil {
		return nil, nil, why
	}
	g, config, why := s.admit(ctx, c, st, rules, db)
	if why != nil {
		s.leave(c)
	}
	return g, config, why
}

// admit makes the Gate of a session that there is room for.
func (s *Server) admit(ctx context.Context, c *Conn, st *postgres.Startup, rules *Rules, db *policy.Database) (*Gate, *postgres.SessionConfig, *protocol.Refusal) {
	g := &Gate{s: s, conn: *c, began: time.Now(), claimed: st.User}
	g.conn.Net = nil
	g.subject = policy.Subject{Process: c.Process, Workload: c.Workload}
	if c.Token {
		if why := g.readToken(ctx, rules); why != nil {
			return nil, nil, why
		}
	}
	config, err := rules.upstream(db, c)
	if err != nil {
		return nil, nil, unavailable("the connection to the database can't be protected as configured", err, s)
	}
	clientAuth, why := g.clientAuth(rules, db)
	if why != nil {
		return nil, nil, why
	}
	dial := func(ctx context.Context) (net.Conn, error) { return s.o.Redirector.Dial(ctx, c.ID) }
	if why := g.adopt(rules, time.Now()); why != nil {
		return nil, nil, why
	}
	if clientAuth.Token == nil { // else the token decides
		if why := g.login(); why != nil {
			return nil, nil, why
		}
	}
	g.name = g.subject.String()
	g.log, err = s.o.Store.Begin(g.start(st))
	if err != nil {
		return nil, nil, unavailable("the session can't be recorded, so it is refused", err, s)
	}
	if g.view.Observe() {
		s.o.Log.Warn("OBSERVE: this session is only watched, nothing in it is refused or masked",
			"session", g.log.ID(), "subject", g.name, "database", db.Name)
	}
	auth := s.o.Redirector.Prove(c.ID, "")
	weakest := Weakest(db, c.Unix != "")
	g.catalog = s.catalogs.attach(catalogKey{db.Name, st.Database, c.server(db.TLS.Mode)}, source{
		dial: dial,
		config: postgres.ClientConfig{User: db.Credential.Username, Database: st.Database, Auth: auth, TLS: config, Weakest: weakest,
			Settings: []postgres.Setting{{Name: "application_name", Value: "sluice"}}},
	})
	s.mu.Lock()
	s.live[g] = struct{}{}
	s.mu.Unlock()
	s.o.Traffic.Sessions.Add(1)
	out := &postgres.SessionConfig{
		Gate: g, Dial: dial, TLS: config, Database: st.Database,
		Epoch: g.Epoch, Blocks: s.o.Store.Waits(), ClientAuth: clientAuth,
		Setting: g.setting, Settings: g.audit(db),
		Pool: g.pool(db),
	}
	if db.Credential.Passthrough {
		// What Sluice holds is for the catalog alone.
		out.User, out.Weakest, out.Passthrough = st.User, methods[db.Relayed()], true
		g.user = st.User
	} else {
		g.use(out, db)
	}
	if believe := clientAuth.Token; believe != nil {
		out.ClientAuth.Token = func(ctx context.Context, password string) *protocol.Refusal {
			why := believe(ctx, password)
			if why == nil {
				why = g.login()
			}
			if why == nil {
				out.Settings = g.audit(db) // the token says more about the subject
				g.use(out, db)
			}
			return why
		}
	}
	return g, out, nil
}

// start is the first event of the session's log.
func (g *Gate) start(st *postgres.Startup) *record.Start {
	p, w := &g.subject.Process, &g.subject.Workload
	id := map[string]string{
		"pid": strconv.FormatUint(uint64(p.PID), 10), "uid": strconv.FormatUint(uint64(p.UID), 10),
	}
	put := func(k, v string) {
		if v != "" {
			id[k] = v
		}
	}
	put("user", p.User)
	put("exe", p.Exe)
	put("cgroup", p.Cgroup)
	put("workload", w.Name)
	put("namespace", w.Namespace)
	put("serviceAccount", w.ServiceAccount)
	put("pod", w.Pod)
	put("container", w.Container)
	put("credential", g.credential)
	if t := g.subject.Token; t != nil {
		put("issuer", t.Issuer)
		put("tokenSubject", t.Subject)
		put("groups", strings.Join(t.Groups, ","))
	}
	params := map[string]string{"user": st.User, "database": st.Database}
	for _, p := range st.Settings {
		params[p.Name] = p.Value
	}
	if st.ApplicationName != "" {
		params["application_name"] = st.ApplicationName
	}
	return &record.Start{
		Subject: g.name, Identity: id, Client: g.conn.from(), Origin: g.conn.to(),
		Protocol: "postgres", Database: g.conn.Database, Params: params, View: viewName(g.view), Observe: g.view.Observe(),
	}
}

// unavailable refuses because something of ours is missing, and logs what.
func unavailable(message string, err error, s *Server) *protocol.Refusal {
	s.o.Log.Warn("session refused", "reason", message, "error", err)
	return &protocol.Refusal{Code: "58000", Message: message, Fatal: true}
}
