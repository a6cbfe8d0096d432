package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/test/oidc"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// TestIssuer follows a real issuer through new keys, an outage and another
// configuration, with JWTs as passwords.
func TestIssuer(t *testing.T) {
	provider := oidc.Start(t)
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256"})
	shop := sluicetest.Shop(server)
	shop.Extra += "  clientAuth: token\n"
	f := fixture{server: server, db: server.Database(t), metrics: freeAddress(t)}
	options := func(more, policy string) sluicetest.Options {
		return sluicetest.Options{Databases: []sluicetest.Database{shop}, Policy: policy,
			Agent: fmt.Sprintf("metrics: {listen: \"%s\"}\n  oidc: [{issuer: \"%s\", audience: %s, caFile: %s%s}]",
				f.metrics, provider.URL, oidc.Audience, provider.CAFile, more)}
	}
	f.sluice = sluicetest.Start(t, options("", sluicetest.CorpusPolicy))
	login := func(token string) (*wire, string) {
		t.Helper()
		w := dial(t, f.sluice, server.Addr())
		return w, w.login("app_rw", f.db, token).code()
	}
	good := func(what, token string) *wire {
		t.Helper()
		w, code := login(token)
		if code != "" {
			t.Fatalf("%s: refused with %s", what, code)
		}
		if a := w.query(read); a.rows != 1 {
			t.Errorf("%s: %v", what, a)
		}
		return w
	}
	reloads := func() float64 { return f.counted(t, `sluice_policy_reloads_total{result="accepted"}`) }
	reload := func(o sluicetest.Options) {
		t.Helper()
		before := reloads()
		f.sluice.Configure(t, o)
		eventually(t, "the configuration is taken", func() bool { return reloads() > before })
	}

	old := provider.Token(t, nil)
	stays := good("the first key", old)
	if n := provider.Asked(); n != 1 {
		t.Errorf("the issuer was asked for keys %d times", n)
	}

	provider.Rotate(t)
	fresh := provider.Token(t, nil)
	var taken *wire
	for range 150 { // made-up keys cause no more than one fetch in ten seconds
		w, code := login(fresh)
		if code == "" {
			taken = w
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if taken == nil {
		t.Fatal("a token of the new key is not taken")
	}
	good("the key before, which is still published", old)
	if w, code := login(provider.Forged(t, nil)); code != "28000" {
		t.Errorf("a forged token under the new key's name: %q", code)
	} else if w.query(read).rows > 0 {
		t.Error("a forged token reads")
	}

	// The issuer is down: what is known of its keys serves on, also after a change of
	// the configuration that has nothing to do with it.
	provider.SetDown(true)
	good("while the issuer is down", fresh)
	reload(options("", sluicetest.CorpusPolicy+"# changed\n"))
	good("while the issuer is down, after a reload", fresh)
	if a := stays.query(read); a.rows != 1 {
		t.Errorf("an open session after a reload: %v", a)
	}
	provider.Rotate(t)
	if _, code := login(provider.Token(t, nil)); code != "28000" {
		t.Errorf("a key that nobody can ask for: %q", code)
	}
	provider.SetDown(false)

	// A claim is required from now on: of new sessions, and of those that there are.
	reload(options(", claims: {tier: gold}, groupsClaim: roles", strings.Replace(sluicetest.CorpusPolicy, "{any: true}",
		fmt.Sprintf(`{oidc: {issuer: "%s", groups: [reader]}}`, provider.URL), 1)))
	if a := stays.query(read); a.code() != "28000" {
		t.Errorf("an open session whose token lacks the claim: %v", a)
	}
	if _, code := login(provider.Token(t, nil)); code != "28000" {
		t.Errorf("a token without the claim: %q", code)
	}
	good("a token with the claim", provider.Token(t, map[string]any{"tier": "gold", "roles": []string{"reader"}}))
	w, code := login(provider.Token(t, map[string]any{"tier": "gold", "groups": []string{"reader"}}))
	if a := w.query(read); code != "" || a.code() != "42501" {
		t.Errorf("groups in another claim: %q, %v", code, a)
	}

	// A session ends with its token.
	short := good("a token that ends soon", provider.Token(t, map[string]any{"tier": "gold", "roles": []string{"reader"},
		"exp": time.Now().Add(2 * time.Second).Unix()}))
	time.Sleep(2100 * time.Millisecond)
	if a := short.query(read); a.code() != "28000" || !a.closed {
		t.Errorf("after the token's end: %v", a)
	}
}
