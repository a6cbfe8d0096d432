package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/test/pgtest"
)

const twoLogins = `apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["127.0.0.1:1"]
  tls: {mode: disable}
  credential: {username: app_rw, passwordEnv: SLUICETEST_PASSWORD}
  credentials:
    - {name: reader, username: agent_col, passwordEnv: OTHER}
    - {name: mender, username: agent_m, passwordEnv: OTHER}
`

// chosen is a policy with a credential for subjects.
func chosen(name, subjects, credential string) string {
	return "---\napiVersion: sluicegate.io/v1alpha1\nkind: Policy\nmetadata: {name: " + name + "}\nspec:\n  databases: [shop]\n  subjects: [" + subjects +
		"]\n  rules: [{name: read, effect: allow, actions: [select], on: [\"app.*\"]}]\n" + credential + "\n"
}

func (p *proxy) logins(lines string, verify func(context.Context, string, *policy.Workload) (*policy.Token, error), policies ...string) {
	p.t.Helper()
	set, err := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(twoLogins + lines + strings.Join(policies, ""))}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.server.Swap(&session.Rules{Set: set, MaskKey: []byte("0123456789abcdef"), Verify: verify})
}

func startLogins(t *testing.T) *proxy {
	t.Helper()
	p := startOn(t, pgtest.Options{Auth: "scram-sha-256"})
	t.Setenv("OTHER", "of-the-others")
	p.pg.Exec(t, p.name, "ALTER ROLE agent_col PASSWORD 'of-the-others'; ALTER ROLE agent_m PASSWORD 'of-the-others'")
	p.red.others = map[string]*credential.Prover{
		"reader": credential.New("agent_col", &credential.Env{Name: "OTHER"}, credential.Options{}),
		"mender": credential.New("agent_m", &credential.Env{Name: "OTHER"}, credential.Options{}),
	}
	return p
}

const believing = `---
apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: a}
spec: {oidc: [{issuer: "https://idp.example.com", audience: sluice}]}
`

const who = "SELECT current_user::text"

func TestCredentialOfAPolicy(t *testing.T) {
	p := startLogins(t)
	const any, alice = "{any: true}", "{process: {user: alice}}"
	for _, tt := range []struct {
		name     string
		policies []string
		want     string // user, or SQLSTATE
	}{
		{"none names one", []string{chosen("a", any, "")}, "app_rw"},
		{"one does", []string{chosen("a", any, ""), chosen("b", alice, "  credential: reader")}, "agent_col"},
		{"two name the same", []string{chosen("a", any, "  credential: reader"), chosen("b", alice, "  credential: reader")}, "agent_col"},
		{"that of another subject", []string{chosen("a", any, "  credential: reader"), chosen("b", "{process: {user: bob}}", "  credential: mender")}, "agent_col"},
		{"one that only observes", []string{chosen("a", any, "  credential: reader"), chosen("b", any, "  credential: mender\n  enforce: observe")}, "agent_col"},
		{"two name different ones", []string{chosen("a", any, "  credential: reader"), chosen("b", alice, "  credential: mender")}, "42501"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.logins("", nil, tt.policies...)
			c, err := p.connect()
			if len(tt.want) == 5 {
				if code(err) != tt.want || !strings.Contains(err.Error(), `policies "a" and "b" name different credentials`) {
					t.Errorf("got %v, want %s that names both", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(context.Background())
			if got, err := all(c, who); err != nil || got != tt.want {
				t.Errorf("logged in as %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// A session ends with the choice of its credential, whatever else it may do.
func TestCredentialChangesUnderASession(t *testing.T) {
	p := startLogins(t)
	p.logins("", nil, chosen("a", "{any: true}", "  credential: reader"))
	c := p.mustConnect()
	if got, err := all(c, who); err != nil || got != "agent_col" {
		t.Fatalf("logged in as %q, %v", got, err)
	}
	p.logins("", nil, chosen("a", "{any: true}", "  credential: reader"), chosen("more", "{any: true}", ""))
	if got, err := all(c, who); err != nil || got != "agent_col" {
		t.Errorf("after a change that leaves it: %q, %v", got, err)
	}
	p.logins("", nil, chosen("a", "{any: true}", "  credential: mender"))
	if _, err := all(c, who); code(err) != "57P01" {
		t.Errorf("after it is another = %v, want 57P01", err)
	}
	if got, err := all(p.mustConnect(), who); err != nil || got != "agent_m" {
		t.Errorf("a new session is %q, %v", got, err)
	}
}

// tokenOf has the form of a token of a group.
func tokenOf(group string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://idp.example.com","groups":["`+group+`"]}`)) + ".c2ln"
}

// What a token says decides too, when it comes as password.
func TestCredentialByToken(t *testing.T) {
	p := startLogins(t)
	verify := func(_ context.Context, raw string, _ *policy.Workload) (*policy.Token, error) {
		group := ""
		for _, g := range []string{"support", "staff"} {
			if raw == tokenOf(g) {
				group = g
			}
		}
		if group == "" {
			return nil, errors.New("token refused")
		}
		return &policy.Token{Issuer: "https://idp.example.com", Audience: []string{"sluice"}, Subject: "bot", Groups: []string{group}, Expires: time.Now().Add(time.Hour)}, nil
	}
	group := func(name, credential string) string {
		return chosen(name, `{oidc: {issuer: "https://idp.example.com", groups: [`+name+`]}}`, "  credential: "+credential)
	}
	p.logins("  clientAuth: token\n", verify, believing, chosen("all", "{any: true}", ""), group("support", "reader"), group("staff", "mender"))
	for token, want := range map[string]string{"support": "agent_col", "staff": "agent_m"} {
		c, err := p.connectAs("anybody", tokenOf(token))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := all(c, who); err != nil || got != want {
			t.Errorf("with a token of %s: %q, %v, want %q", token, got, err, want)
		}
		c.Close(context.Background())
	}
	if _, err := p.connectAs("anybody", tokenOf("others")); code(err) != "28000" {
		t.Errorf("with another token = %v, want 28000", err)
	}
	if _, err := p.connectAs("postgres", "of-the-others"); code(err) != "28000" {
		t.Errorf("with a password = %v, want 28000", err)
	}
	p.ended(4)
	if got := p.notices("foreign-credential"); !slices.Equal(got, []string{"postgres by token: the workload presented a password that is no token"}) || p.traffic.Foreign.Load() != 1 {
		t.Errorf("recorded: %q, counted %d", got, p.traffic.Foreign.Load())
	}
	p.keptNowhere("of-the-others")
}

// A session that a token opened ends with it: when it expires, and when its issuer is
// not believed any more.
func TestTokenOfASessionLapses(t *testing.T) {
	p := startLogins(t)
	expires := time.Now().Add(time.Hour)
	verify := func(_ context.Context, raw string, _ *policy.Workload) (*policy.Token, error) {
		if raw != tokenOf("support") {
			return nil, errors.New("token refused")
		}
		return &policy.Token{Issuer: "https://idp.example.com", Audience: []string{"sluice"}, Subject: "bot", Claims: map[string]any{"tier": "gold", "act": map[string]any{"sub": "support-agent"}}, Expires: expires}, nil
	}
	any := chosen("all", "{any: true}", "")
	const text = "SELECT name FROM app.customers WHERE id = $1"
	for name, change := range map[string]func(){
		"it expires": func() { time.Sleep(time.Until(expires) + 20*time.Millisecond) },
		"its issuer goes": func() {
			p.logins("  clientAuth: token\n", verify, strings.Replace(believing, "idp.example.com", "other.example.com", 1), any)
		},
		"it is for others": func() {
			p.logins("  clientAuth: token\n", verify, strings.Replace(believing, "audience: sluice", "audience: other", 1), any)
		},
		"a claim is wanted": func() {
			p.logins("  clientAuth: token\n", verify, strings.Replace(believing, "audience: sluice", "audience: sluice, claims: {tier: iron}", 1), any)
		},
		"": func() {
			p.logins("  clientAuth: token\n", verify, strings.Replace(believing, "audience: sluice", "audience: sluice, claims: {tier: gold}", 1), any)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p.logins("  clientAuth: token\n  auditAs: application_name\n", verify, believing, any)
			expires = time.Now().Add(time.Hour)
			if name == "it expires" {
				expires = time.Now().Add(time.Second)
			}
			c, err := p.connectAs("anybody", tokenOf("support"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(context.Background())
			if got := c.PgConn().ParameterStatus("application_name"); got != "support-agent for bot" {
				t.Errorf("the server's audit names %q", got)
			}
			for range 2 { // pgx keeps it prepared, which is judged anew all the same
				if _, err := one(c, text, 1); err != nil {
					t.Fatal(err)
				}
			}
			change()
			_, err = one(c, text, 1)
			if name == "" {
				if err != nil {
					t.Errorf("after a change that leaves it: %v", err)
				}
				return
			}
			if code(err) != "28000" {
				t.Errorf("then = %v, want 28000", err)
			}
			if _, err := one(c, text, 1); err == nil {
				t.Error("the session goes on")
			}
		})
	}
}

// A session that only listens ends with its token too, and what runs then ends first.
func TestTokenEndsWhoListens(t *testing.T) {
	p := startLogins(t)
	expires := time.Now().Add(2 * time.Second)
	verify := func(context.Context, string, *policy.Workload) (*policy.Token, error) {
		return &policy.Token{Issuer: "https://idp.example.com", Audience: []string{"sluice"}, Subject: "bot", Expires: expires}, nil
	}
	p.logins("  clientAuth: token\n", verify, believing, strings.Replace(chosen("all", "{any: true}", "  functions: [pg_catalog.pg_sleep]"), `actions: [select], on: ["app.*"]`, `actions: [select, listen], on: ["app.*", ch]`, 1))
	c, err := p.connectAs("anybody", tokenOf("support"))
	if err != nil {
		t.Fatal(err)
	}
	busy, err := p.connectAs("anybody", tokenOf("support"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if _, err := c.Exec(ctx, "LISTEN ch"); err != nil {
		t.Fatal(err)
	}
	slept := make(chan error, 1)
	go func() {
		_, err := all(busy, "SELECT pg_sleep(3)::text")
		slept <- err
	}()
	if _, err := c.WaitForNotification(ctx); code(err) != "28000" || time.Since(expires) < 0 || time.Since(expires) > 2*time.Second {
		t.Errorf("who listens: %v, %v after the token's end", err, time.Since(expires))
	}
	if err := <-slept; err != nil {
		t.Errorf("what ran: %v", err)
	}
	if _, err := busy.WaitForNotification(ctx); code(err) != "28000" {
		t.Errorf("after it: %v, want 28000", err)
	}
	p.ended(2)
}

// A server that has shown no certificate gets no md5 answer unless its configuration says so.
func TestWeakestAnswer(t *testing.T) {
	p := startOn(t, pgtest.Options{Auth: "md5", TLS: true})
	pem, err := os.ReadFile(p.pg.CA)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ tls, auth, want string }{
		{"{mode: disable}", "", "28000"},
		{"{mode: require}", "", "28000"},
		{"{mode: disable}", ", auth: scram", "28000"},
		{"{mode: disable}", ", auth: md5", ""},
		{"{mode: require}", ", auth: md5", ""},
		{"{mode: verify-ca, caFile: /ca}", "", ""},
		{"{mode: verify-full, caFile: /ca}", "", ""},
		{"{mode: verify-full, caFile: /ca}", ", auth: scram", "28000"},
	} {
		text := strings.Replace(twoLogins, "{mode: disable}", tt.tls, 1)
		text = strings.Replace(text, "username: app_rw, passwordEnv: SLUICETEST_PASSWORD", "username: app_rw, passwordEnv: SLUICETEST_PASSWORD"+tt.auth, 1)
		set, err := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(text + chosen("a", "{any: true}", ""))}})
		if err != nil {
			t.Fatal(err)
		}
		p.server.Swap(&session.Rules{Set: set, MaskKey: []byte("0123456789abcdef"), Material: map[string][]byte{"/ca": pem}})
		c, err := p.connect()
		if code(err) != tt.want || tt.want == "" && err != nil {
			t.Errorf("%s%s: %v, want %q", tt.tls, tt.auth, err, tt.want)
		}
		if err != nil {
			continue
		}
		if _, err := one(c, "SELECT name FROM app.customers WHERE id = 1"); err != nil { // which needs the catalog, and so another login
			t.Errorf("%s%s: %v", tt.tls, tt.auth, err)
		}
		c.Close(context.Background())
	}
}
