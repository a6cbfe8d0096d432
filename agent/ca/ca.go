// Package ca is the certificate authority that answers for Sluice towards
// workloads: it is created once per state directory and issues, for each
// connection that asks for TLS, a leaf with the name and the address that the
// workload dialled, so that sslmode=verify-full holds although the socket ends
// in the proxy.
//
// Trusting it is the workload's choice; see docs/guide.md. This package neither
// distributes the certificate nor verifies anybody's.
package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// file holds the key (PKCS #8), its certificate, then earlier certificates that
	// have not expired, all PEM: one file, so that a crash cannot part them.
	file         = "ca.pem"
	rootLifetime = 10 * 365 * 24 * time.Hour
	// Leaves live in memory only; a day bounds what a stolen one is worth.
	leafLifetime = 24 * time.Hour
	leafMargin   = leafLifetime / 4
	// clockSkew is how far a workload's clock may be behind.
	clockSkew = time.Hour
)

// An Authority issues leaves. It is safe for concurrent use.
type Authority struct {
	dir string
	now func() time.Time

	mu     sync.Mutex
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	bundle []byte // PEM certificates, the current one first
	leaves map[string]*tls.Certificate
}

// Options tune an Authority. The zero value is what production runs with.
type Options struct {
	Now func() time.Time // default: time.Now
}

// Open reads the authority kept in dir, a directory only its owner may enter, or
// creates it there. A damaged file is an error, never replaced:
// workloads may trust what they hold.
func Open(dir string, o Options) (*Authority, error) {
	a := &Authority{dir: dir, now: o.Now, leaves: make(map[string]*tls.Certificate)}
	if a.now == nil {
		a.now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	err := a.read()
	if errors.Is(err, fs.ErrNotExist) {
		err = a.create()
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority in %s: %w", dir, err)
	}
	return a, nil
}

func (a *Authority) read() error {
	path := filepath.Join(a.dir, file)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o; others must not read it: chmod 600", file, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return fmt.Errorf("%s is damaged (%w); restore it, or remove it to begin anew", file, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || pair.Leaf == nil || !pair.Leaf.IsCA {
		return fmt.Errorf("%s does not hold a certificate authority made by sluice", file)
	}
	if a.now().After(pair.Leaf.NotAfter) {
		return fmt.Errorf("%s expired on %s; remove it to begin anew", file, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	a.cert, a.key, a.bundle = pair.Leaf, key, unexpired(data, a.now())
	return nil
}

// create makes a key and its certificate, stores them, and begins to use them.
func (a *Authority) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Sluice"}, CommonName: "Sluice agent CA " + serial.Text(36)[:8]},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(rootLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // leaves only
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	bundle = append(bundle, unexpired(a.bundle, now)...)
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	if err := replace(filepath.Join(a.dir, file), append(pemKey, bundle...)); err != nil {
		return err
	}
	a.cert, a.key, a.bundle = cert, key, bundle
	clear(a.leaves)
	return nil
}

// Rotate replaces the key. Certificates of earlier keys stay in the bundle until
// they expire, so that it can be handed out before and after.
func (a *Authority) Rotate() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.create(); err != nil {
		return fmt.Errorf("rotate certificate authority in %s: %w", a.dir, err)
	}
	return nil
}

// Bundle returns the certificates to trust, PEM, the current one first.
func (a *Authority) Bundle() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Clone(a.bundle)
}

// Certificate returns the current root.
func (a *Authority) Certificate() *x509.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cert
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.SetBit(n, 126, 1), nil // never short, never zero
}

// unexpired returns the certificates of bundle that are still valid.
func unexpired(bundle []byte, now time.Time) []byte {
	var kept []byte
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && now.Before(cert.NotAfter) {
			kept = append(kept, pem.EncodeToMemory(block)...)
		}
	}
	return kept
}

// replace writes a file, for its owner only, so that a crash leaves the old or the new one.
func replace(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
		return err
	}
	return nil
}
