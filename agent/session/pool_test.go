package session_test

import (
	"context"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/policy"
)

// pooled waits until no session of the server is being reset or in use, and returns how
// many are kept.
func (p *proxy) pooled() int64 {
	p.t.Helper()
	w := p.server.Wire()
	last, since := int64(-1), time.Now()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		now := w.PoolIdle.Load()
		if now != last || w.Sessions.Load() > 0 {
			last, since = now, time.Now()
		}
		if time.Since(since) > 60*time.Millisecond {
			break
		}
	}
	return last
}

func (p *proxy) client() (*pgx.Conn, string) {
	p.t.Helper()
	c := p.mustConnect()
	pid, err := one(c, "SELECT pg_backend_pid()::text")
	if err != nil {
		// Where the function may not be called, the login tells.
		return c, ""
	}
	return c, pid
}

const (
	pool     = "  pool: {mode: session}\n"
	mayWrite = `  rules:
    - {name: read, effect: allow, actions: [select, insert, update, delete, lock], on: ["app.*"]}
`
)

// Whoever differs in what identity rests on gets a session of the server of its own.
func TestPoolSubject(t *testing.T) {
	p := start(t)
	p.conn.CgroupID, p.conn.Netns, p.conn.Passwords = 7, 1, 1
	p.conn.Workload = policy.Workload{Name: "exec"}
	policies := document("Policy", "p", mayWrite)
	p.configure(pool, policies, nil)
	base := p.conn
	for _, tt := range []struct {
		name   string
		change func(*session.Conn)
		alike  bool
	}{
		{"nothing", func(*session.Conn) {}, true},
		{"process", func(c *session.Conn) { c.Process.PID++ }, true},
		{"user", func(c *session.Conn) { c.Process.UID, c.Process.User = 1001, "bob" }, false},
		{"executable", func(c *session.Conn) { c.Process.Exe = "/usr/bin/other" }, false},
		{"cgroup", func(c *session.Conn) { c.CgroupID++ }, false},
		{"path of the cgroup", func(c *session.Conn) { c.Process.Cgroup = "/other" }, false},
		{"workload", func(c *session.Conn) { c.Workload.Name = "other" }, false},
		{"pod", func(c *session.Conn) { c.Workload.Pod = "p-1" }, false},
		{"uid of the pod", func(c *session.Conn) { c.Workload.PodUID = "4711" }, false},
		{"service account", func(c *session.Conn) { c.Workload.Namespace, c.Workload.ServiceAccount = "a", "b" }, false},
		{"network namespace", func(c *session.Conn) { c.Netns++ }, false},
		{"destination", func(c *session.Conn) {
			c.Destination = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), c.Destination.Port())
		}, false},
		{"label", func(c *session.Conn) { c.Workload.Labels = map[string]string{"app": "x"} }, false},
		{"container", func(c *session.Conn) { c.Workload.Container = "side" }, false},
		{"uid", func(c *session.Conn) { c.Process.UID = 1002 }, false},
		{"unix socket", func(c *session.Conn) { c.Unix = "/run/x" }, false},
		{"host", func(c *session.Conn) { c.Host = "db.internal" }, false},
		{"password", func(c *session.Conn) { c.Passwords++ }, false},
		{"password not known", func(c *session.Conn) { c.Passwords = 0 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.conn = base
			a := p.mustConnect()
			first := a.PgConn().PID()
			a.Close(context.Background())
			if n := p.pooled(); n < 1 {
				t.Fatalf("%d sessions are kept", n)
			}
			tt.change(&p.conn)
			b := p.mustConnect()
			if (b.PgConn().PID() == first) != tt.alike {
				t.Errorf("shared is %v", !tt.alike)
			}
			b.Close(context.Background())
			p.pooled()
			p.configure(pool, policies, nil)
			if n := p.pooled(); n != 0 {
				t.Errorf("%d sessions outlive the rules under which they began", n)
			}
		})
	}
}

// A field of the subject that this package does not know of would be shared.
func TestPoolKnowsTheSubject(t *testing.T) {
	for _, tt := range []struct {
		of     any
		fields int
	}{{policy.Subject{}, 3}, {policy.Process{}, 5}, {policy.Workload{}, 7}} {
		if typ := reflect.TypeOf(tt.of); typ.NumField() != tt.fields {
			t.Errorf("%v has %d fields, of which pool.go knows %d", typ, typ.NumField(), tt.fields)
		}
	}
}

// A token's claims are part of who it is.
func TestPoolToken(t *testing.T) {
	p := start(t)
	p.conn.Token, p.conn.Passwords = true, 1
	raw := "one"
	p.red.token.Store(&raw)
	set := func(claims map[string]any) {
		text := strings.TrimSuffix(strings.Replace(database, "127.0.0.1:%d", p.pg.Addr(), 1), "---\n") + pool + "---\n" + document("Policy", "p", mayWrite)
		rules, err := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		p.server.Swap(&session.Rules{Set: rules, MaskKey: []byte("0123456789abcdef"),
			Verify: func(context.Context, string, *policy.Workload) (*policy.Token, error) {
				return &policy.Token{Issuer: "i", Subject: "s", Claims: claims, Expires: time.Unix(1<<33, 0)}, nil
			}})
	}
	claims := map[string]any{"human": "ann"}
	set(claims)
	pid := func() uint32 {
		c := p.mustConnect()
		defer func() { c.Close(context.Background()); p.pooled() }()
		return c.PgConn().PID()
	}
	first := pid()
	if pid() != first {
		t.Error("the same token got another session")
	}
	claims["human"] = "bob" // what the issuer says of the next one
	if pid() == first {
		t.Error("another human's token got the session")
	}
}

// What statements do decides whether their session is kept, and a kept one has nothing
// of the client before.
func TestPoolStatements(t *testing.T) {
	p := start(t)
	p.conn.Passwords = 1
	p.pg.Exec(t, p.name, `
		CREATE FUNCTION app.mine() RETURNS int LANGUAGE sql AS 'select 1';
		CREATE VIEW app.seeds AS SELECT setseed(0.5) IS NULL AS v;
		CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'begin perform set_config(''my.own'', ''1'', false); return new; end';
		CREATE TABLE app.touched (a int); CREATE TRIGGER t BEFORE INSERT ON app.touched FOR EACH ROW EXECUTE FUNCTION app.touch();
		CREATE DOMAIN app.dom AS int CHECK (value > app.mine() - 100);
		CREATE TABLE app.domains (a app.dom); CREATE TABLE app.plain (a int DEFAULT 1, b text CHECK (length(b) < 100));
		CREATE TABLE app.secured (a int); ALTER TABLE app.secured ENABLE ROW LEVEL SECURITY;
		CREATE POLICY p ON app.secured USING (set_config('my.own', '1', false) = '1');
		CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE app.texts (t citext);
		CREATE SEQUENCE app.numbers; CREATE TABLE app.serial (a int DEFAULT nextval('app.numbers'), b int);
		GRANT ALL ON ALL TABLES IN SCHEMA app TO app_rw; GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO app_rw`)
	rules := `  rules:
    - {name: all, effect: allow, actions: [select, insert, update, delete, lock, call, create, listen], on: ["app.*", "public.*"]}
  functions: [app.mine, pg_catalog.pg_advisory_lock, app.touch, pg_catalog.set_config]
`
	everything := "  rules: [{name: all, effect: allow, actions: [any], on: [\"*\"]}]\n  reveal: [ssn]\n"
	for _, tt := range []struct {
		rules, sql string
		kept       bool
	}{
		{rules, "SELECT 1", true},
		{rules, "SELECT count(*) FROM app.customers", true},
		{rules, "SELECT ssn, lower(name) FROM app.customers LIMIT 1", true},
		{rules, "INSERT INTO app.plain VALUES (1, 'x')", true},
		{rules, "INSERT INTO app.serial (b) VALUES (1) RETURNING a", true},
		{rules, "BEGIN; SELECT 1; COMMIT", true},
		{rules, "SET application_name = 'me'", true},
		{rules, "SET search_path = app", true},
		{rules, "SET DateStyle = German", true},
		{rules, "PREPARE x AS SELECT 1", true},
		{rules, "PREPARE x AS SELECT app.mine()", false},
		{rules, "SELECT count(*) FROM app.texts WHERE t = 'x'", true}, // operators and types of an extension in C
		{rules, "SELECT replace(t, 'a', 'b') FROM app.texts", false},
		{rules, "SELECT setseed(0.5)", false},
		{rules, "SELECT app.mine()", false},
		{rules, "SELECT * FROM app.seeds", false},
		{rules, "INSERT INTO app.touched VALUES (1)", false},
		{rules, "INSERT INTO app.domains VALUES (1)", false},
		{rules, "SELECT * FROM app.domains", false},
		{rules, "SELECT * FROM app.secured", false},
		{rules, "SELECT pg_advisory_lock(1)", false},
		{rules, "CREATE TABLE app.made (a int)", false},
		{everything, "SELECT 1", true},
		{everything, "SELECT count(*) FROM app.customers", true},
		{everything, "SELECT count(*) FROM customers", false},
		{everything, "LISTEN x", false},
		{everything, "SET application_name = 'me'", true},
		{everything, "SET my.own = '1'", false},
		{everything, "SET ROLE app_rw", false},
		{everything, "SET search_path = app", false},
		{everything, "SET work_mem = '1MB'", false},
		{everything, "SET seed = 0.5", false},
		{everything, "SELECT set_config('my.own', '1', false)", false},
		{everything, "SELECT app.mine()", false},
		{everything, "DO $$ BEGIN END $$", false},
		{everything, "CREATE TEMP TABLE t (a int)", false},
		{everything, "SELECT 1 INTO TEMP t2", false},
		{everything, "LOAD 'auto_explain'", false},
		{everything, "PREPARE TRANSACTION 'x'", false},
		{everything, "SELECT nonsense nonsense nonsense", false},
		{everything, "INSERT INTO app.touched VALUES (1)", false},
		{everything, "SELECT setseed(0.1)", false},
		{everything, "NOTIFY x", false},
	} {
		t.Run(tt.sql, func(t *testing.T) {
			p.configure(pool, document("Policy", "p", tt.rules), nil)
			before := p.server.Wire().PoolHits.Load()
			c := p.mustConnect()
			if _, err := c.Exec(context.Background(), tt.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Logf("%v", err)
			}
			c.Close(context.Background())
			if n := p.pooled(); (n == 1) != tt.kept {
				t.Errorf("%d sessions are kept, want %v", n, tt.kept)
			}
			d := p.mustConnect()
			if got, err := one(d, "SELECT coalesce(current_setting('application_name', true), '')"); err != nil || got != "" {
				t.Errorf("the next client has application_name %q, %v", got, err)
			}
			d.Close(context.Background())
			p.pooled()
			if hit := p.server.Wire().PoolHits.Load() > before; hit != tt.kept {
				t.Errorf("the next client was served by it: %v", hit)
			}
		})
	}
}

// The record of a session tells whether it had a session of the server that was kept.
func TestPoolRecorded(t *testing.T) {
	p := start(t)
	p.conn.Passwords = 1
	p.configure(pool, document("Policy", "p", mayWrite), nil)
	for range 2 {
		c := p.mustConnect()
		c.Close(context.Background())
		p.pooled()
	}
	sessions, err := record.Sessions(p.dir, record.Filter{})
	if err != nil || len(sessions) != 2 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	told := 0
	for _, s := range sessions {
		for e, err := range record.Read(p.dir, s.ID) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Notice != nil && e.Notice.Type == "pool" {
				told++
			}
		}
	}
	if told != 1 {
		t.Errorf("%d of two sessions tell of a kept one", told)
	}
}

// Without the word nothing is kept.
func TestPoolIsOff(t *testing.T) {
	p := start(t)
	p.conn.Passwords = 1
	for _, lines := range []string{"", "  pool: {mode: none}\n"} {
		p.configure(lines, document("Policy", "p", mayWrite), nil)
		c, _ := p.client()
		c.Close(context.Background())
		if n := p.pooled(); n != 0 {
			t.Errorf("%d sessions are kept with %q", n, lines)
		}
	}
}
