package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"sluicegate.io/sluice/policy"
)

// Errors that callers test for with errors.Is. All of them mean: no token.
var (
	// ErrToken means forged, malformed, of an unknown issuer, for another audience,
	// or without a required claim.
	ErrToken = errors.New("token refused")

	// ErrExpired means that a fresh one may do.
	ErrExpired = errors.New("token expired")

	// ErrBinding means that it names another workload than the kernel does.
	ErrBinding = errors.New("token belongs to another workload")

	// ErrIssuer means that the issuer can't be asked, and its keys are not known or
	// too old.
	ErrIssuer = errors.New("issuer can't be asked")
)

// Options tune a Verifier. The zero value is what production runs with.
type Options struct {
	Leeway  time.Duration    // for clocks that differ; default: 30s, negative: none
	KeysFor time.Duration    // how long keys are used when the issuer is down; default: 24h
	Now     func() time.Time // default: time.Now
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	o       Options
	issuers map[string]*believed

	verified, refused, expired, misbound atomic.Uint64
	fetches, issuerErrors                atomic.Uint64
}

// believed is an Issuer and what is known of it.
type believed struct {
	Issuer
	keys *keySet
}

// attempt is one use of a keySet. It keeps the error, which oidc.IDTokenVerifier
// turns into a text.
type attempt struct {
	*keySet
	err error
}

func (a *attempt) VerifySignature(ctx context.Context, raw string) (payload []byte, err error) {
	payload, a.err = a.keySet.VerifySignature(ctx, raw)
	return payload, a.err
}

// signed returns raw as a token if its issuer signed it. Times and the audience
// are for the caller to check, who tells one refusal from another.
func (b *believed) signed(ctx context.Context, raw string) (*oidc.IDToken, error) {
	a := &attempt{keySet: b.keys}
	id, err := oidc.NewVerifier(b.URL, a, &oidc.Config{SkipClientIDCheck: true, SkipExpiryCheck: true,
		SupportedSigningAlgs: algorithmNames()}).Verify(ctx, raw)
	if errors.Is(a.err, ErrIssuer) {
		return nil, fmt.Errorf("issuer %s: %w", b.URL, a.err)
	} else if err != nil {
		return nil, fmt.Errorf("%w: it is not signed by issuer %s", ErrToken, b.URL)
	}
	return id, nil
}

// NewVerifier returns a Verifier that believes the given issuers and no other. It
// asks nobody yet. The error is one of configuration.
func NewVerifier(issuers []Issuer, o Options) (*Verifier, error) {
	switch {
	case o.Leeway == 0:
		o.Leeway = 30 * time.Second
	case o.Leeway < 0:
		o.Leeway = 0
	}
	if o.KeysFor <= 0 {
		o.KeysFor = 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &Verifier{o: o, issuers: make(map[string]*believed)}
	for _, i := range issuers {
		if err := checkURL(i.URL); err != nil {
			return nil, fmt.Errorf("issuer %q: %w", i.URL, err)
		}
		if len(i.Audiences) == 0 || slices.Contains(i.Audiences, "") {
			return nil, fmt.Errorf("issuer %q: no audience", i.URL)
		}
		if i.Client == nil {
			return nil, fmt.Errorf("issuer %q: no way to ask it", i.URL)
		}
		if v.issuers[i.URL] != nil {
			return nil, fmt.Errorf("issuer %q is named twice", i.URL)
		}
		if i.Groups == "" {
			i.Groups = "groups"
		}
		v.issuers[i.URL] = &believed{Issuer: i, keys: newKeySet(i, v)}
	}
	return v, nil
}

// Verify returns what raw proves about its bearer. w is what the kernel and the
// host know of the workload: a Kubernetes token must name its pod. It may ask the
// issuer for keys. The error never holds any part of raw.
func (v *Verifier) Verify(ctx context.Context, raw string, w *policy.Workload) (*policy.Token, error) {
	t, err := v.verify(ctx, raw, w)
	switch {
	case err == nil:
		v.verified.Add(1)
	case errors.Is(err, ErrExpired):
		v.expired.Add(1)
	case errors.Is(err, ErrBinding):
		v.misbound.Add(1)
	default:
		v.refused.Add(1)
	}
	return t, err
}

func (v *Verifier) verify(ctx context.Context, raw string, w *policy.Workload) (*policy.Token, error) {
	raw = strings.TrimSpace(raw)
	if len(raw) > TokenMax {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrToken, TokenMax)
	}
	b := v.issuers[issuerOf(raw)]
	if b == nil {
		return nil, fmt.Errorf("%w: it is malformed, or of an issuer that is not believed", ErrToken)
	}
	id, err := b.signed(ctx, raw)
	if err != nil {
		return nil, err
	}
	claims := make(map[string]any)
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("%w: its claims are malformed", ErrToken)
	}
	if err := v.checkTimes(id, claims); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(id.Audience, func(a string) bool { return slices.Contains(b.Audiences, a) }) {
		return nil, fmt.Errorf("%w: it is for another audience", ErrToken)
	}
	if id.Subject == "" {
		return nil, fmt.Errorf("%w: it has no subject", ErrToken)
	}
	for name, want := range b.Required {
		if !policy.ClaimIs(claims[name], want) {
			return nil, fmt.Errorf("%w: claim %q is not what is required", ErrToken, name)
		}
	}
	if err := checkBinding(id.Subject, claims, w); err != nil {
		return nil, err
	}
	return &policy.Token{Issuer: id.Issuer, Subject: id.Subject, Audience: id.Audience,
		Groups: stringsOf(claims[b.Groups]), Claims: claims, Expires: id.Expiry}, nil
}

// Shaped reports whether raw has the form of a token. It proves nothing.
func Shaped(raw string) bool { return issuerOf(strings.TrimSpace(raw)) != "" }

// issuerOf returns the iss claim of a token that nobody has verified yet: it tells
// whose keys to try.
func issuerOf(raw string) string {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

func (v *Verifier) checkTimes(id *oidc.IDToken, claims map[string]any) error {
	now := v.o.Now()
	if _, ok := claims["exp"].(float64); !ok {
		return fmt.Errorf("%w: it never expires", ErrToken)
	}
	if !now.Before(id.Expiry.Add(v.o.Leeway)) {
		return ErrExpired
	}
	for _, name := range []string{"nbf", "iat"} {
		switch from := claims[name].(type) {
		case nil:
		case float64:
			if from > float64(now.Add(v.o.Leeway).Unix()) {
				return fmt.Errorf("%w: it is not valid yet", ErrToken)
			}
		default:
			return fmt.Errorf("%w: claim %q is malformed", ErrToken, name)
		}
	}
	return nil
}

// stringsOf returns a claim that is a string or a list of them.
func stringsOf(claim any) []string {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case []any:
		var all []string
		for _, e := range c {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// Stats are what metrics show of a Verifier.
type Stats struct {
	Verified, Refused, Expired, Misbound uint64
	KeyFetches, IssuerErrors             uint64
}

// Stats returns a snapshot.
func (v *Verifier) Stats() Stats {
	return Stats{Verified: v.verified.Load(), Refused: v.refused.Load(), Expired: v.expired.Load(),
		Misbound: v.misbound.Load(), KeyFetches: v.fetches.Load(), IssuerErrors: v.issuerErrors.Load()}
}
