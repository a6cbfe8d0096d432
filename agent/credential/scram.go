package credential

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"sync"
)

// Bounds of what a server may ask for. The iterations that RFC 7677 wants at
// least are 4096; PostgreSQL's setting scram_iterations allows fewer.
const (
	// LeastIterations make guessing costly for whoever poses as a server to get a proof.
	LeastIterations = 4096

	saltMax     = 1 << 10
	messageMax  = 64 << 10
	keysMax     = 32
	keySize     = sha256.Size
	defaultIter = 4096
)

// keys are what is derived of a password, a salt and iterations.
type keys struct {
	client, stored, server [keySize]byte
}

func (k *keys) zero() { *k = keys{} }

// derive computes the keys of RFC 5802, section 3.
func derive(password, salt []byte, iterations int) (*keys, error) {
	prepared := saslprep(password)
	salted, err := pbkdf2.Key(sha256.New, string(prepared), salt, iterations, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	defer clear(salted)
	k := new(keys)
	mac(k.client[:0], salted, []byte("Client Key"))
	k.stored = sha256.Sum256(k.client[:])
	mac(k.server[:0], salted, []byte("Server Key"))
	return k, nil
}

func mac(dst, key, message []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(message)
	return m.Sum(dst)
}

// cacheKey is what the keys of a password depend on.
type cacheKey struct {
	version    uint64
	salt       string
	iterations int
}

// keyCache keeps the keys of the last few salts: a user has one, and each server
// has its own.
type keyCache struct {
	mu   sync.Mutex
	keys map[cacheKey]keys
}

func (c *keyCache) find(k cacheKey) (keys, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got, ok := c.keys[k]
	return got, ok
}

// put keeps v, and forgets what belongs to another version of the password.
func (c *keyCache) put(k cacheKey, v keys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.keys {
		if old.version != k.version || len(c.keys) >= keysMax {
			delete(c.keys, old)
		}
	}
	if c.keys == nil {
		c.keys = make(map[cacheKey]keys)
	}
	c.keys[k] = v
}

// SCRAM returns the client's proof and the signature that the server must show,
// both 32 bytes, for SCRAM-SHA-256 (RFC 5802, RFC 7677). authMessage is made by
// the caller, who parses what the server sends.
func (p *Prover) SCRAM(ctx context.Context, salt []byte, iterations int, authMessage []byte) (proof, serverSignature []byte, err error) {
	if len(salt) == 0 || len(salt) > saltMax || len(authMessage) > messageMax || iterations < 1 || iterations > p.o.MaxIterations {
		p.errs.Add(1)
		return nil, nil, fmt.Errorf("scram with %d iterations and a salt of %d bytes: %w", iterations, len(salt), ErrServer)
	}
	if iterations < LeastIterations {
		p.weak.Do(func() {
			p.o.Log.Warn("the server stores the password with few iterations", "iterations", iterations, "recommended", LeastIterations)
		})
	}
	k, err := p.derive(ctx, salt, iterations)
	if err != nil {
		return nil, nil, fmt.Errorf("scram proof: %w", err)
	}
	defer k.zero()
	proof = mac(make([]byte, 0, keySize), k.stored[:], authMessage)
	subtle.XORBytes(proof, proof, k.client[:])
	p.proofs.Add(1)
	return proof, mac(nil, k.server[:], authMessage), nil
}

// derive returns the keys from the cache or from the password.
func (p *Prover) derive(ctx context.Context, salt []byte, iterations int) (keys, error) {
	s, version, err := p.password(ctx)
	if err != nil {
		return keys{}, err
	}
	defer s.Zero()
	key := cacheKey{version, string(salt), iterations}
	if k, ok := p.keys.find(key); ok {
		p.hits.Add(1)
		return k, nil
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return keys{}, ctx.Err()
	}
	if k, ok := p.keys.find(key); ok { // of who was here before
		p.hits.Add(1)
		return k, nil
	}
	p.misses.Add(1)
	k, err := derive(s.Reveal(), salt, iterations)
	if err != nil {
		return keys{}, err
	}
	defer k.zero()
	p.keys.put(key, *k)
	return *k, nil
}

// Verifier is the server's side of SCRAM-SHA-256, for workloads that are to
// authenticate with the placeholder that the Database names. It holds no password.
type Verifier struct {
	Salt       []byte
	Iterations int
	StoredKey  [32]byte
	ServerKey  [32]byte
}

// NewVerifier derives a Verifier from a password, with a random salt. 0 iterations
// are 4096.
func NewVerifier(password Secret, iterations int) (*Verifier, error) {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails, see its documentation
	return SaltedVerifier(password, salt, iterations)
}

// SaltedVerifier is NewVerifier with a salt that the caller chose.
func SaltedVerifier(password Secret, salt []byte, iterations int) (*Verifier, error) {
	if iterations == 0 {
		iterations = defaultIter
	}
	k, err := derive(password.Reveal(), salt, iterations)
	if err != nil {
		return nil, err
	}
	defer k.zero()
	return &Verifier{Salt: salt, Iterations: iterations, StoredKey: k.stored, ServerKey: k.server}, nil
}

// Check says whether proof shows that the client knows the password, and returns
// the server's signature if it does.
func (v *Verifier) Check(authMessage, proof []byte) (serverSignature []byte, ok bool) {
	if len(proof) != keySize {
		return nil, false
	}
	client := mac(make([]byte, 0, keySize), v.StoredKey[:], authMessage)
	subtle.XORBytes(client, client, proof)
	stored := sha256.Sum256(client)
	if subtle.ConstantTimeCompare(stored[:], v.StoredKey[:]) != 1 {
		return nil, false
	}
	return mac(nil, v.ServerKey[:], authMessage), true
}
