package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// Issuer is one that a Verifier believes.
type Issuer struct {
	URL       string   // as in the iss claim; https, or http on loopback
	Audiences []string // one of them must be in the aud claim; required
	// Required claims must be there and equal the value, or hold it if they are lists.
	Required map[string]string
	Groups   string       // name of the claim that lists groups; default: "groups"
	Client   *http.Client // reaches the issuer, with its CA; required
}

const (
	bodyMax      = 1 << 20          // of an issuer's answer
	fetchTimeout = 10 * time.Second // of discovery and keys together
	retryAfter   = 10 * time.Second // least time between two fetches
	freshDefault = time.Hour        // keys are fetched again after that
	freshLeast   = time.Minute
	keysMax      = 100
	rsaLeast     = 2048 // bits
)

var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

func algorithmNames() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = string(a)
	}
	return names
}

// keySet holds the keys of one issuer. It satisfies oidc.KeySet.
type keySet struct {
	issuer string
	client *http.Client
	v      *Verifier

	turn chan struct{} // one fetch at a time

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when the keys were
	fresh   time.Time // until when they are not fetched again
	tried   time.Time // when a fetch began last
	busy    bool      // a fetch is under way
}

func newKeySet(i Issuer, v *Verifier) *keySet {
	c := *i.Client
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = limited{c.Transport}
	c.Jar = nil
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("issuers do not redirect") }
	return &keySet{issuer: i.URL, client: &c, v: v, turn: make(chan struct{}, 1)}
}

// limited bounds the answers of an issuer.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, bodyMax), resp.Body}
	}
	return resp, err
}

// VerifySignature implements oidc.KeySet: it returns the payload of raw if one of
// the issuer's keys signed it.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, fmt.Errorf("%w: it is not signed as it must be", ErrToken)
	}
	head := jws.Signatures[0].Header
	for _, refetch := range []bool{false, true} {
		keys, err := k.current(ctx, refetch)
		if err != nil {
			return nil, err
		}
		known := false
		for i := range keys {
			if !fits(&keys[i], head.KeyID, head.Algorithm) {
				continue
			}
			known = true
			if payload, err := jws.Verify(keys[i].Key); err == nil {
				return payload, nil
			}
		}
		if known && head.KeyID != "" {
			break // a wrong signature by a known key: fresh keys would not help
		}
	}
	return nil, fmt.Errorf("%w: no key of the issuer signed it", ErrToken)
}

// fits says whether a token with that header may have been signed with key.
func fits(key *jose.JSONWebKey, kid, alg string) bool {
	if kid != "" && key.KeyID != "" && key.KeyID != kid ||
		key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != alg {
		return false
	}
	switch pub := key.Key.(type) {
	case *rsa.PublicKey:
		return alg == string(jose.RS256) && pub.N.BitLen() >= rsaLeast
	case *ecdsa.PublicKey:
		return alg == string(jose.ES256) && pub.Curve.Params().BitSize == 256
	case ed25519.PublicKey:
		return alg == string(jose.EdDSA)
	}
	return false
}

// usable returns the keys that may be used now, and whether to fetch others first.
func (k *keySet) usable(refetch bool) (keys []jose.JSONWebKey, fetch bool) {
	now := k.v.o.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys != nil && now.Sub(k.fetched) < k.v.o.KeysFor {
		keys = k.keys
	}
	stale := keys == nil || !now.Before(k.fresh)
	// Who sends tokens with made-up key ids makes no more than one fetch in a while.
	recent := now.Sub(k.tried) < retryAfter && !k.tried.IsZero()
	if keys == nil && k.busy {
		return nil, true // wait for what is under way
	}
	return keys, (stale || refetch) && !recent
}

// current returns the keys, and fetches them if need be. A fetch that fails is no
// error as long as there are keys that may still be used.
func (k *keySet) current(ctx context.Context, refetch bool) ([]jose.JSONWebKey, error) {
	keys, fetch := k.usable(refetch)
	if !fetch {
		return k.orError(keys)
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrIssuer, ctx.Err())
	}
	// Who had the turn before may have fetched them.
	if keys, fetch = k.usable(refetch); !fetch {
		return k.orError(keys)
	}
	k.mu.Lock()
	k.tried, k.busy = k.v.o.Now(), true
	k.mu.Unlock()
	fresh, lasts, err := k.fetch(ctx)
	k.mu.Lock()
	k.busy = false
	k.mu.Unlock()
	k.v.fetches.Add(1)
	if err != nil {
		k.v.issuerErrors.Add(1)
		if keys != nil {
			return keys, nil
		}
		return nil, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	now := k.v.o.Now()
	k.mu.Lock()
	k.keys, k.fetched, k.fresh = fresh, now, now.Add(lasts)
	k.mu.Unlock()
	return fresh, nil
}

func (k *keySet) orError(keys []jose.JSONWebKey) ([]jose.JSONWebKey, error) {
	if keys == nil {
		return nil, fmt.Errorf("%w: it was asked a moment ago", ErrIssuer)
	}
	return keys, nil
}

// fetch asks the issuer for its keys, and how long they are fresh.
func (k *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, time.Duration, error) {
	// A workload that goes away does not spoil it for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.issuer)
	if err != nil {
		return nil, 0, fmt.Errorf("discovery: %w", err)
	}
	var claims struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&claims); err != nil {
		return nil, 0, fmt.Errorf("discovery: %w", err)
	}
	if err := checkURL(claims.Keys); err != nil {
		return nil, 0, fmt.Errorf("jwks_uri: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, claims.Keys, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("keys: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("keys: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("keys: status %d", resp.StatusCode)
	}
	keys, err := parseKeys(body)
	if err != nil {
		return nil, 0, err
	}
	return keys, lasting(resp.Header.Get("Cache-Control"), k.v.o.KeysFor), nil
}

// parseKeys reads a JWKS. A key of a type that is not known is left out, as RFC
// 7517 says.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("keys: not a JSON web key set")
	}
	if len(set.Keys) > keysMax {
		return nil, fmt.Errorf("keys: there are %d", len(set.Keys))
	}
	keys := []jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() {
			if _, ok := key.Key.(crypto.PublicKey); ok {
				keys = append(keys, key)
			}
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("keys: there is none that can be used")
	}
	return keys, nil
}

// lasting reads max-age, within bounds.
func lasting(control string, most time.Duration) time.Duration {
	for part := range strings.SplitSeq(control, ",") {
		age, ok := strings.CutPrefix(strings.TrimSpace(part), "max-age=")
		if seconds, err := strconv.ParseUint(age, 10, 31); ok && err == nil {
			return min(max(time.Duration(seconds)*time.Second, freshLeast), most)
		}
	}
	return min(freshDefault, most)
}

// checkURL says whether an issuer may be asked there.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("not a URL that can be asked")
	}
	host := u.Hostname()
	if u.Scheme == "https" || u.Scheme == "http" && (host == "127.0.0.1" || host == "::1" || host == "localhost") {
		return nil
	}
	return errors.New("not an https URL")
}
