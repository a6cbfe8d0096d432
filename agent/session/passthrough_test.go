package session_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/test/pgtest"
)

// own is the password of a workload, which nothing of ours may keep.
const own = "the-workloads-own-password"

func startPassthrough(t *testing.T, method string) *proxy {
	t.Helper()
	p := startOn(t, pgtest.Options{Auth: method})
	p.pg.Exec(t, p.name, `ALTER ROLE agent_col PASSWORD '`+own+`';
GRANT USAGE ON SCHEMA app TO agent_col; GRANT SELECT ON app.customers, app.secrets TO agent_col;
CREATE SCHEMA app_rw; CREATE TABLE app_rw.customers (id int, ssn text); GRANT USAGE ON SCHEMA app_rw TO PUBLIC; GRANT SELECT ON app_rw.customers TO PUBLIC`)
	return p
}

const throughDatabase = `apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["127.0.0.1:1"]
  tls: {mode: disable}
  credential: {passthrough: true, username: app_rw, passwordEnv: SLUICETEST_PASSWORD, auth: md5}
  sensitive:
    - {tag: ssn, columns: ["app.customers.ssn"], mask: {keepLast: 4}}
`

func (p *proxy) through(lines string) {
	p.t.Helper()
	set, err := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(throughDatabase + lines + "---\n" +
		document("Policy", "p", "  rules: [{name: read, effect: allow, actions: [select], on: [app.customers, app_rw.customers]}]\n"))}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.server.Swap(&session.Rules{Set: set, MaskKey: []byte("0123456789abcdef")})
}

// With its own login a workload is judged, masked and recorded like every other.
func TestPassthrough(t *testing.T) {
	for _, method := range []string{"scram-sha-256", "md5"} {
		t.Run(method, func(t *testing.T) {
			p := startPassthrough(t, method)
			p.through("")
			c, err := p.connectAs("agent_col", own)
			if err != nil {
				t.Fatal(err)
			}
			if who, err := all(c, "SELECT current_user"); err != nil || who != "agent_col" {
				t.Errorf("current_user = %q, %v", who, err)
			}
			if v, err := one(c, "SELECT ssn FROM app.customers WHERE id = $1", 1); err != nil || v != "***6789" {
				t.Errorf("masked column = %q, %v", v, err)
			}
			if _, err := one(c, "SELECT v FROM app.secrets LIMIT 1"); code(err) != "42501" {
				t.Errorf("denied table = %v, want 42501", err)
			}
			// "$user" is who logged in, and not who reads the catalog.
			r, err := c.PgConn().Exec(context.Background(), `SET search_path = "$user", app; SELECT ssn FROM customers WHERE id = 1`).ReadAll()
			if err != nil || len(r) != 2 || len(r[1].Rows) != 1 || string(r[1].Rows[0][0]) != "***6789" {
				t.Errorf("by $user = %+v, %v", r, err)
			}
			c.Close(context.Background())
			if _, err := p.connectAs("agent_col", "wrong"); code(err) != "28P01" || !strings.Contains(err.Error(), `for user "agent_col"`) {
				t.Errorf("with a wrong password = %v, want the server's own 28P01", err)
			}
			if _, err := p.connectAs("agent_col", p.pg.Password()); code(err) != "28P01" {
				t.Errorf("with the password of the account that reads the catalog = %v, want 28P01", err)
			}
			sessions := p.ended(3)
			for _, s := range sessions {
				if s.Start.Params["user"] != "agent_col" {
					t.Errorf("recorded as %q", s.Start.Params["user"])
				}
			}
			p.keptNowhere(own)
		})
	}
}

// ended waits until n sessions have been recorded to their end.
func (p *proxy) ended(n int) []record.Session {
	p.t.Helper()
	var sessions []record.Session
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if sessions, err = record.Sessions(p.dir, record.Filter{}); err != nil {
			p.t.Fatal(err)
		}
		over := 0
		for _, s := range sessions {
			if s.End != nil {
				over++
			}
		}
		if over == n && len(sessions) == n {
			return sessions
		}
	}
	p.t.Fatalf("%d sessions were recorded, want %d that ended", len(sessions), n)
	return nil
}

// notices returns what was recorded as notices of a type.
func (p *proxy) notices(kind string) []string {
	p.t.Helper()
	sessions, err := record.Sessions(p.dir, record.Filter{})
	if err != nil {
		p.t.Fatal(err)
	}
	var all []string
	for _, s := range sessions {
		for e, err := range record.Read(p.dir, s.ID) {
			if err != nil {
				p.t.Fatal(err)
			}
			if n := e.Notice; n != nil && n.Type == kind {
				all = append(all, n.Facts["user"]+" by "+n.Facts["method"]+": "+n.Text)
			}
		}
	}
	return all
}

// keptNowhere looks for a secret in the recordings and the log.
func (p *proxy) keptNowhere(secret string) {
	p.t.Helper()
	read := 0
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		read += len(b)
		if strings.Contains(string(b), secret) {
			p.t.Errorf("%s has a secret in it", path)
		}
		return err
	})
	if err != nil || read == 0 {
		p.t.Errorf("%d bytes of recordings read, %v", read, err)
	}
	if strings.Contains(p.said.String(), secret) {
		p.t.Error("the log has a secret in it")
	}
}

// Where views confine one login, no other is let in.
func TestPassthroughModeRole(t *testing.T) {
	p := startPassthrough(t, "scram-sha-256")
	p.through("  mode: role\n  role: {login: agent_m}\n")
	if _, err := p.connectAs("agent_col", own); code(err) != "28000" || !strings.Contains(err.Error(), "not open to workloads") {
		t.Errorf("another login = %v, want 28000", err)
	}
	c, err := p.connectAs("agent_m", p.pg.Password())
	if err != nil {
		t.Fatalf("the login itself: %v", err)
	}
	c.Close(context.Background())
}
