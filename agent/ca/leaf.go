package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// maxLeaves bounds the cache: names come from workloads, and each costs a
// signature (25 µs) and 3 KiB.
const maxLeaves = 1024

// Leaf returns a certificate for the name that the workload sent as SNI (may be
// empty), the address it dialled, and the host names under which that address is
// configured. A name that is no DNS name is left out, not signed.
func (a *Authority) Leaf(sni string, addr netip.Addr, hosts ...string) (*tls.Certificate, error) {
	names := make([]string, 0, 1+len(hosts))
	for _, h := range append([]string{sni}, hosts...) {
		h = strings.ToLower(strings.TrimSuffix(h, "."))
		if dnsName(h) && !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	addr = addr.Unmap().WithZone("")
	id := addr.String() + " " + strings.Join(names, " ")

	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if leaf := a.leaves[id]; leaf != nil && now.Add(leafMargin).Before(leaf.Leaf.NotAfter) {
		return leaf, nil
	}
	leaf, err := a.issue(names, addr, now)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %s: %w", id, err)
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves) // rare, and each is made again in microseconds
	}
	a.leaves[id] = leaf
	return leaf, nil
}

func (a *Authority) issue(names []string, addr netip.Addr, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Sluice"}},
		DNSNames:     names,
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(leafLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if addr.IsValid() {
		template.IPAddresses = []net.IP{addr.AsSlice()}
	}
	// Clients that know no SANs compare the common name (64 bytes at most, RFC 5280).
	switch {
	case len(names) > 0 && len(names[0]) <= 64:
		template.Subject.CommonName = names[0]
	case addr.IsValid():
		template.Subject.CommonName = addr.String()
	}
	if addr.IsLoopback() && !slices.Contains(names, "localhost") {
		// Java sends no name without a dot, and some clients of an address ask for this name.
		template.DNSNames = append(slices.Clip(names), "localhost")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// Without the root, as servers have it: who trusts it has it.
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// dnsName reports whether s is a host name of letters, digits, hyphens,
// underscores and dots (RFC 1123, and what clusters use), and no address.
func dnsName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
