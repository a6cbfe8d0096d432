package identity_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/policy"
)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

func verifierOf(t testing.TB, p *provider, change ...func(*identity.Issuer, *identity.Options)) (*identity.Verifier, *clock) {
	t.Helper()
	c := &clock{now: time.Now()}
	i := identity.Issuer{URL: p.URL, Audiences: []string{"sluice", "other"}, Client: p.Client()}
	o := identity.Options{Now: c.Now}
	for _, f := range change {
		f(&i, &o)
	}
	v, err := identity.NewVerifier([]identity.Issuer{i}, o)
	if err != nil {
		t.Fatal(err)
	}
	return v, c
}

var pod = &policy.Workload{Namespace: "agents", Pod: "support-1", PodUID: "uid-1", ServiceAccount: "support"}

func kubernetes(change ...string) map[string]any {
	v := map[string]string{"ns": "agents", "pod": "support-1", "uid": "uid-1", "sa": "support"}
	for i := 0; i < len(change); i += 2 {
		v[change[i]] = change[i+1]
	}
	k := map[string]any{"namespace": v["ns"], "serviceaccount": map[string]any{"name": v["sa"], "uid": "x"}}
	if v["pod"] != "" {
		k["pod"] = map[string]any{"name": v["pod"], "uid": v["uid"]}
	}
	return k
}

func TestVerify(t *testing.T) {
	p := newProvider(t)
	rs, es, ed := newKey(t, "rs", jose.RS256), newKey(t, "es", jose.ES256), newKey(t, "ed", jose.EdDSA)
	e3 := newKey(t, "e3", jose.ES384)
	p.publish(rs, es, ed, e3)
	forged := newKey(t, "rs", jose.RS256) // the same name, another key
	v, c := verifierOf(t, p, func(i *identity.Issuer, _ *identity.Options) { i.Required = map[string]string{} })
	strict, _ := verifierOf(t, p, func(i *identity.Issuer, _ *identity.Options) {
		i.Required = map[string]string{"email_verified": "true", "groups": "support"}
	})
	now := c.Now()
	good := p.claims(now)
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	payload, _ := json.Marshal(good)
	parts := strings.Split(rs.sign(t, good), ".")
	account := func(k map[string]any) map[string]any {
		return p.claims(now, "sub", "system:serviceaccount:agents:support", "kubernetes.io", k)
	}
	tests := []struct {
		name string
		v    *identity.Verifier
		raw  string
		w    *policy.Workload
		want error
	}{
		{"RS256", v, rs.sign(t, good), nil, nil},
		{"ES256", v, es.sign(t, good), nil, nil},
		{"EdDSA", v, ed.sign(t, good), nil, nil},
		{"line break", v, rs.sign(t, good) + "\n", nil, nil},
		{"list of audiences", v, rs.sign(t, p.claims(now, "aud", []string{"x", "other"})), nil, nil},
		{"expired within the leeway", v, rs.sign(t, p.claims(now, "exp", now.Add(-20*time.Second).Unix())), nil, nil},
		{"expired", v, rs.sign(t, p.claims(now, "exp", now.Add(-31*time.Second).Unix())), nil, identity.ErrExpired},
		{"never expires", v, rs.sign(t, p.claims(now, "exp", nil)), nil, identity.ErrToken},
		{"not valid yet", v, rs.sign(t, p.claims(now, "nbf", now.Add(time.Minute).Unix())), nil, identity.ErrToken},
		{"issued in the future", v, rs.sign(t, p.claims(now, "iat", now.Add(time.Minute).Unix())), nil, identity.ErrToken},
		{"nbf is no number", v, rs.sign(t, p.claims(now, "nbf", "soon")), nil, identity.ErrToken},
		{"another audience", v, rs.sign(t, p.claims(now, "aud", "else")), nil, identity.ErrToken},
		{"no audience", v, rs.sign(t, p.claims(now, "aud", nil)), nil, identity.ErrToken},
		{"no subject", v, rs.sign(t, p.claims(now, "sub", nil)), nil, identity.ErrToken},
		{"another issuer", v, rs.sign(t, p.claims(now, "iss", "https://127.0.0.1:1")), nil, identity.ErrToken},
		{"forged", v, forged.sign(t, good), nil, identity.ErrToken},
		{"alg none", v, b64(`{"alg":"none"}`) + "." + b64(string(payload)) + ".", nil, identity.ErrToken},
		{"HMAC with the public key", v, signRaw(t, jose.HS256, jose.JSONWebKey{Key: []byte(strings.Repeat("k", 64)), KeyID: "rs"}, payload), nil, identity.ErrToken},
		{"ES384", v, e3.sign(t, good), nil, identity.ErrToken},
		{"other payload", v, parts[0] + "." + b64(strings.Replace(string(payload), "alice", "admin", 1)) + "." + parts[2], nil, identity.ErrToken},
		{"no signature", v, parts[0] + "." + parts[1] + ".", nil, identity.ErrToken},
		{"not a token", v, "password", nil, identity.ErrToken},
		{"empty", v, "", nil, identity.ErrToken},
		{"dots", v, strings.Repeat(".", 5000), nil, identity.ErrToken},
		{"large", v, rs.sign(t, p.claims(now, "x", strings.Repeat("x", 20000))), nil, identity.ErrToken},
		{"required claims", strict, rs.sign(t, p.claims(now, "email_verified", true)), nil, nil},
		{"a required claim is missing", strict, rs.sign(t, good), nil, identity.ErrToken},
		{"a required claim is another", strict, rs.sign(t, p.claims(now, "email_verified", true, "groups", []string{"x"})), nil, identity.ErrToken},

		{"of this pod", v, rs.sign(t, account(kubernetes())), pod, nil},
		{"of this pod, whose uid is not known", v, rs.sign(t, account(kubernetes())),
			&policy.Workload{Namespace: "agents", Pod: "support-1", ServiceAccount: "support"}, nil},
		{"of another pod", v, rs.sign(t, account(kubernetes("pod", "support-2"))), pod, identity.ErrBinding},
		{"of an earlier pod of that name", v, rs.sign(t, account(kubernetes("uid", "uid-0"))), pod, identity.ErrBinding},
		{"of no pod", v, rs.sign(t, account(kubernetes("pod", ""))), pod, identity.ErrBinding},
		{"of another namespace", v, rs.sign(t, account(kubernetes("ns", "prod"))), pod, identity.ErrBinding},
		{"of another account", v, rs.sign(t, account(kubernetes("sa", "admin"))), pod, identity.ErrBinding},
		{"of a pod, outside of any", v, rs.sign(t, account(kubernetes())), &policy.Workload{Namespace: "agents", ServiceAccount: "support"}, identity.ErrBinding},
		{"of a pod, unknown workload", v, rs.sign(t, account(kubernetes())), nil, identity.ErrBinding},
		{"account without the claim", v, rs.sign(t, p.claims(now, "sub", "system:serviceaccount:agents:support")), pod, identity.ErrBinding},
		{"malformed claim", v, rs.sign(t, p.claims(now, "kubernetes.io", "x")), pod, identity.ErrBinding},
		{"a person's, in a pod", v, rs.sign(t, good), pod, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.v.Verify(t.Context(), tt.raw, tt.w)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || (got != nil) != (err == nil) {
				t.Errorf("Verify = %v, %v, want %v", got, err, tt.want)
			}
			if err != nil && len(tt.raw) > 20 && strings.Contains(err.Error(), tt.raw[:20]) {
				t.Errorf("the error has the token in it: %v", err)
			}
		})
	}
	got, err := v.Verify(t.Context(), rs.sign(t, good), nil)
	if err != nil || got.Subject != "alice" || got.Issuer != p.URL || cmp.Diff([]string{"support", "staff"}, got.Groups) != "" ||
		got.Claims["sub"] != "alice" || !got.Expires.Equal(time.Unix(now.Add(time.Hour).Unix(), 0)) {
		t.Errorf("token = %+v, %v", got, err)
	}
}

func TestRotation(t *testing.T) {
	p := newProvider(t)
	first, second := newKey(t, "1", jose.ES256), newKey(t, "2", jose.ES256)
	p.publish(first)
	v, c := verifierOf(t, p)
	check := func(what string, k key, want error) {
		t.Helper()
		if _, err := v.Verify(t.Context(), k.sign(t, p.claims(c.Now())), nil); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	check("first key", first, nil)
	check("a key that is not published", second, identity.ErrToken)
	p.publish(first, second)
	c.add(11 * time.Second)
	check("a new key, seen at once", second, nil)
	p.publish(second)
	check("a key that was withdrawn, until the keys are fetched again", first, nil)
	c.add(time.Hour)
	check("a key that was withdrawn", first, identity.ErrToken)
	check("the second key", second, nil)

	// Made-up keys cause no more than one fetch in a while.
	before := p.count()
	for range 50 {
		v.Verify(t.Context(), newKey(t, "made up", jose.ES256).sign(t, p.claims(c.Now())), nil)
	}
	if n := p.count() - before; n > 1 {
		t.Errorf("%d fetches for tokens with unknown keys", n)
	}
}

func TestIssuerDown(t *testing.T) {
	p := newProvider(t)
	k := newKey(t, "1", jose.ES256)
	p.publish(k)
	p.set(func() { p.down = true })
	v, c := verifierOf(t, p, func(_ *identity.Issuer, o *identity.Options) { o.KeysFor = 2 * time.Hour })
	check := func(what string, want error) {
		t.Helper()
		if _, err := v.Verify(t.Context(), k.sign(t, p.claims(c.Now())), nil); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	check("down from the start", identity.ErrIssuer)
	p.set(func() { p.down = false })
	check("asked again too early", identity.ErrIssuer)
	c.add(11 * time.Second)
	check("up", nil)
	p.set(func() { p.down = true })
	c.add(90 * time.Minute)
	check("down, with keys that are stale", nil)
	c.add(31 * time.Minute)
	check("down, with keys that are too old", identity.ErrIssuer)
	p.set(func() { p.down = false })
	c.add(11 * time.Second)
	check("up again", nil)
	if st := v.Stats(); st.IssuerErrors < 3 || st.Verified != 3 || st.Refused != 3 {
		t.Errorf("stats = %+v", st)
	}
}

// What an issuer answers is bounded and checked too.
func TestBadIssuer(t *testing.T) {
	k := newKey(t, "1", jose.ES256)
	for name, spoil := range map[string]func(p *provider){
		"of another name": func(p *provider) { p.issuer = "https://else" },
		"not JSON":        func(p *provider) { p.jwks = []byte("<html>") },
		"no keys":         func(p *provider) { p.jwks = []byte(`{"keys":[]}`) },
		"endless":         func(p *provider) { p.jwks = []byte(`{"keys":[` + strings.Repeat(" ", 2<<20) + `]}`) },
		"symmetric key":   func(p *provider) { p.jwks = []byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"1"}]}`) },
	} {
		p := newProvider(t)
		p.publish(k)
		p.set(func() { spoil(p) })
		v, c := verifierOf(t, p)
		if _, err := v.Verify(t.Context(), k.sign(t, p.claims(c.Now())), nil); !errors.Is(err, identity.ErrIssuer) {
			t.Errorf("%s: %v, want ErrIssuer", name, err)
		}
	}
}

func TestCacheControl(t *testing.T) {
	p := newProvider(t)
	k := newKey(t, "1", jose.ES256)
	p.publish(k)
	p.set(func() { p.control = "public, max-age=300" })
	v, c := verifierOf(t, p)
	for i, want := range []int{1, 1, 2} {
		if _, err := v.Verify(t.Context(), k.sign(t, p.claims(c.Now())), nil); err != nil {
			t.Fatal(err)
		}
		if got := p.count(); got != want {
			t.Errorf("step %d: %d fetches, want %d", i, got, want)
		}
		c.add(200 * time.Second)
	}
}

// Many at once are served by one fetch.
func TestTogether(t *testing.T) {
	p := newProvider(t)
	k := newKey(t, "1", jose.ES256)
	p.publish(k)
	v, c := verifierOf(t, p)
	raw := k.sign(t, p.claims(c.Now()))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), raw, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if p.count() != 1 {
		t.Errorf("%d fetches", p.count())
	}
}

func TestNewVerifier(t *testing.T) {
	p := newProvider(t)
	good := identity.Issuer{URL: p.URL, Audiences: []string{"x"}, Client: p.Client()}
	for name, change := range map[string]func(*identity.Issuer){
		"no audience": func(i *identity.Issuer) { i.Audiences = nil },
		"no client":   func(i *identity.Issuer) { i.Client = nil },
		"plain http":  func(i *identity.Issuer) { i.URL = "http://idp.example.com" },
		"no url":      func(i *identity.Issuer) { i.URL = "idp" },
	} {
		i := good
		change(&i)
		if _, err := identity.NewVerifier([]identity.Issuer{i}, identity.Options{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := identity.NewVerifier([]identity.Issuer{good, good}, identity.Options{}); err == nil {
		t.Error("an issuer twice: accepted")
	}
}

func FuzzVerify(f *testing.F) {
	p := newProvider(f)
	k := newKey(f, "1", jose.ES256)
	p.publish(k)
	v, c := verifierOf(f, p)
	raw := k.sign(f, p.claims(c.Now()))
	f.Add(raw)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := v.Verify(t.Context(), s, pod); err == nil && strings.TrimSpace(s) != raw &&
			strings.Join(strings.Split(s, ".")[:2], ".") != strings.Join(strings.Split(raw, ".")[:2], ".") {
			t.Errorf("accepted %q", s)
		}
	})
}
