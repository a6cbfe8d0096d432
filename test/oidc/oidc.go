// Package oidc is a small OpenID Connect provider for tests: discovery, keys,
// and tokens, over TLS on loopback.
package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Audience is what the tokens of a Provider are for.
const Audience = "sluice"

// A Provider is one issuer. URL is its name.
type Provider struct {
	URL    string
	CAFile string // of its certificate

	mu   sync.Mutex
	keys []key // published, the newest first
	made int
	down bool
	asks int
}

type key struct {
	id      string
	private *ecdsa.PrivateKey
}

// Start runs a provider until t ends.
func Start(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{}
	p.Rotate(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if p.Down() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys",
			"authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asks++
		if p.down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		var set jose.JSONWebKeySet
		for _, k := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: string(jose.ES256), Use: "sig"})
		}
		json.NewEncoder(w).Encode(set)
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	p.URL = server.URL
	p.CAFile = filepath.Join(t.TempDir(), "issuer.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(p.CAFile, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// Token returns a token that is good for an hour, with claims added or replaced.
func (p *Provider) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	p.mu.Lock()
	k := p.keys[0]
	p.mu.Unlock()
	return sign(t, k, p.claims(claims))
}

// Rotate makes a new key, which signs from now on. The one before stays published.
func (p *Provider) Rotate(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made++
	p.keys = append([]key{{fmt.Sprint("k", p.made), newKey(t)}}, p.keys...)
	p.keys = p.keys[:min(2, len(p.keys))]
}

// SetDown has the provider answer with an error, or not any more.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Down tells what SetDown said last.
func (p *Provider) Down() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

// Asked returns how often somebody asked for the keys.
func (p *Provider) Asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asks
}

// Forged returns a token that says the same, signed by somebody else.
func (p *Provider) Forged(t testing.TB, claims map[string]any) string {
	t.Helper()
	p.mu.Lock()
	id := p.keys[0].id
	p.mu.Unlock()
	return sign(t, key{id, newKey(t)}, p.claims(claims))
}

func (p *Provider) claims(more map[string]any) map[string]any {
	now := time.Now()
	all := map[string]any{
		"iss": p.URL, "aud": Audience, "sub": "agent",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(all, more)
	return all
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, k key, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
