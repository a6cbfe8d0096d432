package credential

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that callers test for with errors.Is. None ever holds a secret.
var (
	// ErrNone means that the file, variable or command gives no password.
	ErrNone = errors.New("no credential")

	// ErrCleartext means that Options.Cleartext does not allow it.
	ErrCleartext = errors.New("cleartext passwords are not allowed")

	// ErrServer means that a server asks for what no honest one would.
	ErrServer = errors.New("what the server asks for is out of bounds")
)

// A Source gives a password. The real ones are File, Env, Command and Remote.
type Source interface {
	// Password returns the password, which is the caller's to zero, and a version
	// that changes when it does.
	Password(ctx context.Context) (Secret, uint64, error)
}

// refresher is a Source that keeps a password and can be told that it is stale.
type refresher interface{ Stale() }

// Options tune a Prover. The zero value is what production runs with.
type Options struct {
	Cleartext     bool         // Cleartext returns the password; the caller has made sure of TLS
	MaxIterations int          // of SCRAM; default: 1,000,000
	Log           *slog.Logger // default: discard
}

// Prover proves to a server that it knows the password. It is safe for concurrent
// use, and satisfies postgres.Authenticator.
type Prover struct {
	username string
	src      Source
	o        Options

	keys   keyCache
	turn   chan struct{} // one derivation at a time: a server chooses what it costs
	weak   sync.Once
	reject atomic.Int64 // when Rejected last had an effect

	proofs, hits, misses, reads, errs atomic.Uint64
}

// New returns a Prover for username.
func New(username string, src Source, o Options) *Prover {
	if o.MaxIterations <= 0 {
		o.MaxIterations = 1_000_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Prover{username: username, src: src, o: o, turn: make(chan struct{}, 1)}
}

// Username returns the name to log in with.
func (p *Prover) Username() string { return p.username }

func (p *Prover) password(ctx context.Context) (Secret, uint64, error) {
	p.reads.Add(1)
	s, version, err := p.src.Password(ctx)
	if err != nil {
		p.errs.Add(1)
		return Secret{}, 0, err
	}
	return s, version, nil
}

// MD5 returns the answer to AuthenticationMD5Password, "md5" and 32 digits.
func (p *Prover) MD5(ctx context.Context, salt [4]byte) (string, error) {
	s, _, err := p.password(ctx)
	if err != nil {
		return "", fmt.Errorf("md5 answer: %w", err)
	}
	defer s.Zero()
	b := append(append([]byte(nil), s.Reveal()...), p.username...)
	inner := md5.Sum(b)
	clear(b)
	outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt[:]...))
	p.proofs.Add(1)
	return "md5" + hex.EncodeToString(outer[:]), nil
}

// Cleartext returns the password itself, if Options allow it.
func (p *Prover) Cleartext(ctx context.Context) (string, error) {
	if !p.o.Cleartext {
		return "", ErrCleartext
	}
	s, _, err := p.password(ctx)
	if err != nil {
		return "", fmt.Errorf("cleartext password: %w", err)
	}
	defer s.Zero()
	p.proofs.Add(1)
	return string(s.Reveal()), nil
}

// Version returns the version of the password as it is now, 0 if there is none to be had
// soon. It changes when the password does.
func (p *Prover) Version() uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	s, version, err := p.src.Password(ctx)
	if err != nil {
		return 0
	}
	s.Zero()
	return version
}

// versionTimeout bounds how long a connection waits for a command to tell the password.
const versionTimeout = 2 * time.Second

// Failed returns why a source that is far away had no answer when a login last asked
// it, nil for any other source. It asks nobody.
func (p *Prover) Failed() error {
	if f, ok := p.src.(interface{ Failed() error }); ok {
		return f.Failed()
	}
	return nil
}

// Rejected tells that the server refused the password: it may have been rotated,
// and the source looks again. Not more than once a second, since a workload can
// make that happen.
func (p *Prover) Rejected() {
	now, last := time.Now().UnixNano(), p.reject.Load()
	if now-last < int64(time.Second) || !p.reject.CompareAndSwap(last, now) {
		return
	}
	if r, ok := p.src.(refresher); ok {
		r.Stale()
	}
}

// Stats are what metrics show of a Prover.
type Stats struct {
	Proofs, CacheHits, CacheMisses, Reads, Errors uint64
}

// Stats returns a snapshot.
func (p *Prover) Stats() Stats {
	return Stats{Proofs: p.proofs.Load(), CacheHits: p.hits.Load(), CacheMisses: p.misses.Load(),
		Reads: p.reads.Load(), Errors: p.errs.Load()}
}
