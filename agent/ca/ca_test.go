package ca_test

import (
	"bytes"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/ca"
)

func open(t *testing.T, dir string, o ca.Options) *ca.Authority {
	t.Helper()
	a, err := ca.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestLeafVerifies(t *testing.T) {
	a := open(t, t.TempDir(), ca.Options{})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Bundle())
	addr := netip.MustParseAddr("::ffff:10.1.2.3")
	for _, tt := range []struct {
		sni   string
		hosts []string
		name  string // to verify as
		ok    bool
	}{
		{"db.internal", nil, "db.internal", true},
		{"DB.internal.", nil, "db.internal", true},
		{"", nil, "10.1.2.3", true},
		{"", []string{"shop-db"}, "shop-db", true},
		{"db.internal", nil, "other.internal", false},
		{"*.internal", nil, "x.internal", false},     // no wildcard by SNI
		{"bad name\x00", nil, "bad name\x00", false}, // nothing but host names is signed
		{"10.9.9.9", nil, "10.9.9.9", false},
	} {
		leaf, err := a.Leaf(tt.sni, addr, tt.hosts...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Leaf.Verify(x509.VerifyOptions{DNSName: tt.name, Roots: pool})
		if (err == nil) != tt.ok {
			t.Errorf("Leaf(%q, %v) verified as %q: %v, want ok = %v", tt.sni, tt.hosts, tt.name, err, tt.ok)
		}
	}
}

// What is on loopback is localhost too, and nothing else is. The root is not sent along.
func TestLeafOfLoopback(t *testing.T) {
	a := open(t, t.TempDir(), ca.Options{})
	for addr, want := range map[string]bool{"127.0.0.1": true, "127.0.0.9": true, "::1": true, "10.1.2.3": false} {
		leaf, err := a.Leaf("db", netip.MustParseAddr(addr), "localhost.localdomain")
		if err != nil {
			t.Fatal(err)
		}
		if got := leaf.Leaf.VerifyHostname("localhost") == nil; got != want {
			t.Errorf("a leaf for %s is localhost: %v, want %v", addr, got, want)
		}
		if len(leaf.Certificate) != 1 || leaf.Leaf.Subject.CommonName != "db" {
			t.Errorf("%d certificates, of %s", len(leaf.Certificate), leaf.Leaf.Subject.CommonName)
		}
	}
}

func TestReopenAndRotate(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, ca.Options{})
	first := a.Bundle()
	if again := open(t, dir, ca.Options{}); !bytes.Equal(again.Bundle(), first) {
		t.Error("reopening made another authority")
	}
	old, _ := a.Leaf("db", netip.Addr{})
	if err := a.Rotate(); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(a.Bundle(), first) || len(a.Bundle()) <= len(first) {
		t.Error("the bundle after Rotate does not hold the new root, then the old one")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Bundle())
	leaf, _ := a.Leaf("db", netip.Addr{})
	if leaf == old {
		t.Error("Rotate kept a leaf of the old key")
	}
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool}); err != nil {
		t.Error(err)
	}
	if _, err := open(t, dir, ca.Options{}).Leaf("db", netip.Addr{}); err != nil {
		t.Error(err)
	}
	info, _ := os.Stat(filepath.Join(dir, "ca.pem"))
	if info.Mode().Perm() != 0o600 {
		t.Errorf("key has mode %v", info.Mode())
	}
}

func TestLeafIsRenewed(t *testing.T) {
	now := time.Now()
	a := open(t, t.TempDir(), ca.Options{Now: func() time.Time { return now }})
	first, _ := a.Leaf("db", netip.Addr{})
	if again, _ := a.Leaf("db", netip.Addr{}); again != first {
		t.Error("a fresh leaf was not reused")
	}
	now = now.Add(20 * time.Hour)
	if again, _ := a.Leaf("db", netip.Addr{}); again == first {
		t.Error("a leaf near its end was reused")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(dir string)
		want  string
	}{
		{"key readable by others", func(d string) { os.Chmod(filepath.Join(d, "ca.pem"), 0o644) }, "chmod 600"},
		{"damaged", func(d string) { os.WriteFile(filepath.Join(d, "ca.pem"), []byte("x"), 0o600) }, "damaged"},
		{"truncated", func(d string) { os.Truncate(filepath.Join(d, "ca.pem"), 300) }, "damaged"},
	} {
		dir := t.TempDir()
		open(t, dir, ca.Options{})
		tt.spoil(dir)
		if _, err := ca.Open(dir, ca.Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Open = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	dir := t.TempDir()
	open(t, dir, ca.Options{})
	late := ca.Options{Now: func() time.Time { return time.Now().Add(11 * 365 * 24 * time.Hour) }}
	if _, err := ca.Open(dir, late); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("Open of an expired authority = %v", err)
	}
}
