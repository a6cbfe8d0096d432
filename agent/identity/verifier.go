package identity

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sluicegate.io/sluice/policy"
)

// Errors that callers test for with errors.Is. All of them mean: no token.
var (
	ErrToken   = errors.New("token refused")                     // forged, malformed, of an unknown issuer, or without a required claim
	ErrExpired = errors.New("token expired")                     // a fresh one may do
	ErrBinding = errors.New("token belongs to another workload") // it names another pod than the kernel does
	ErrIssuer  = errors.New("issuer cannot be asked")            // and its keys are not known, or too old
)

// Issuer is one that a Verifier believes.
type Issuer struct {
	URL       string   // as in the iss claim; https, or http on loopback only
	Audiences []string // one of them must be in the aud claim; required
	// Required claims must be there and equal the value, or hold it if they are lists.
	Required map[string]string
	Groups   string       // name of the claim that lists groups; default: "groups"
	Client   *http.Client // reaches the issuer, with its CA; required
}

// Options tune a Verifier. The zero value is what production runs with.
type Options struct {
	Leeway  time.Duration // for clocks that differ; default: 30s, negative: none
	KeysFor time.Duration // how long keys are used when the issuer is down; default: 24h
	Now     func() time.Time
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct{}

// NewVerifier returns a Verifier that believes the given issuers and no other. It
// asks nobody yet. The error is one of configuration.
func NewVerifier(issuers []Issuer, o Options) (*Verifier, error) { return nil, ErrIssuer }

// Verify returns what raw proves about its bearer. w is what the kernel and the
// host know of the workload: a Kubernetes token must name its pod. The error
// never holds any part of raw.
func (v *Verifier) Verify(ctx context.Context, raw string, w *policy.Workload) (*policy.Token, error) {
	return nil, ErrToken
}

// Stats are what metrics show of a Verifier.
type Stats struct {
	Verified, Refused, Expired, Misbound uint64
	KeyFetches, IssuerErrors             uint64
}

// Stats returns a snapshot.
func (v *Verifier) Stats() Stats { return Stats{} }
