package credential

import (
	"context"
	"errors"
)

// Errors that callers test for with errors.Is. None ever holds a secret.
var (
	ErrNone      = errors.New("no credential")                       // the file, variable or command gives none
	ErrCleartext = errors.New("cleartext passwords are not allowed") // see Options.Cleartext
	ErrServer    = errors.New("what the server asks for is out of bounds")
)

// A Source gives a password. The real ones are File, Env and Command.
type Source interface {
	// Password returns the password, and a version that changes when it does. The
	// Secret is the source's own: it is not to be zeroed by the caller.
	Password(ctx context.Context) (Secret, uint64, error)
}

// Options tune a Prover. The zero value is what production runs with.
type Options struct {
	Cleartext     bool // Cleartext returns the password; the caller has made sure of TLS
	MaxIterations int  // of SCRAM; default: 1,000,000
}

// Prover proves to a server that it knows the password. It is safe for concurrent
// use, and satisfies postgres.Authenticator.
type Prover struct{}

// New returns a Prover for username.
func New(username string, src Source, o Options) *Prover { return &Prover{} }

// Username returns the name to log in with.
func (p *Prover) Username() string { return "" }

// SCRAM returns the client's proof and the signature that the server must show,
// both 32 bytes, for SCRAM-SHA-256 (RFC 5802, RFC 7677).
func (p *Prover) SCRAM(ctx context.Context, salt []byte, iterations int, authMessage []byte) (proof, serverSignature []byte, err error) {
	return nil, nil, ErrNone
}

// MD5 returns the answer to AuthenticationMD5Password, "md5" and 32 digits.
func (p *Prover) MD5(ctx context.Context, salt [4]byte) (string, error) { return "", ErrNone }

// Cleartext returns the password itself, if Options allow it.
func (p *Prover) Cleartext(ctx context.Context) (string, error) { return "", ErrCleartext }

// Stats are what metrics show of a Prover.
type Stats struct {
	Proofs, CacheHits, CacheMisses, Reads, Errors uint64
}

// Stats returns a snapshot.
func (p *Prover) Stats() Stats { return Stats{} }
