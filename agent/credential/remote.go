package credential

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Remote is a Source that asks something far away, such as an API server, and again
// after TTL. It asks when a login needs the password, and not before.
type Remote struct {
	What string // for errors: a Secret's name
	// Get returns what is there. An error that is ErrNone says that there is nothing, or
	// that we may not have it; any other, that nobody answers: the password that was
	// read before then serves on.
	Get func(ctx context.Context) ([]byte, error)
	TTL time.Duration // default: 1m

	held
	read   time.Time // when secret was
	failed error     // the last answer
}

const remoteTTL = time.Minute

// Password implements Source. While one caller asks, others wait.
func (r *Remote) Password(ctx context.Context) (Secret, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ttl := r.TTL
	if ttl <= 0 {
		ttl = remoteTTL
	}
	has := len(r.secret.Reveal()) > 0
	if has && time.Since(r.read) < ttl {
		return r.secret.clone(), r.version, nil
	}
	raw, err := r.Get(ctx)
	r.failed = err
	switch {
	case err == nil:
		s, version, err := r.set(raw)
		r.failed = err
		if err != nil {
			return Secret{}, 0, fmt.Errorf("%s: %w", r.What, err)
		}
		r.read = time.Now()
		return s, version, nil
	case has && !errors.Is(err, ErrNone):
		r.read = time.Now() // and is not asked for with every login
		return r.secret.clone(), r.version, nil
	}
	r.secret.Zero()
	r.secret = Secret{}
	if !errors.Is(err, ErrNone) {
		err = fmt.Errorf("%w: %w", ErrNone, err)
	}
	return Secret{}, 0, fmt.Errorf("%s: %w", r.What, err)
}

// Stale makes the next Password ask.
func (r *Remote) Stale() {
	r.mu.Lock()
	r.read = time.Time{}
	r.mu.Unlock()
}

// Failed returns what the last answer was, nil if it was a password or none was asked
// for. It asks nobody.
func (r *Remote) Failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}
