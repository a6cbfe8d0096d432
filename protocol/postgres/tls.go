package postgres

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
)

// alpn is the name that PostgreSQL 17 and newer use.
const alpn = "postgresql"

// encrypt does the server's part of a TLS handshake with the client.
func (h *hello) encrypt(ctx context.Context, base *tls.Config) error {
	cfg := base.Clone()
	if len(cfg.NextProtos) == 0 {
		cfg.NextProtos = []string{alpn}
	}
	if get := cfg.GetCertificate; get != nil {
		cfg.GetCertificate = func(hi *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := get(hi)
			h.leaf = cert
			return cert, err
		}
	} else if len(cfg.Certificates) > 0 {
		h.leaf = &cfg.Certificates[0]
	}
	t := tls.Server(h.conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("tls with the client: %w", err)
	}
	h.conn, h.bound = t, true
	return nil
}

// UpstreamTLS returns the client configuration for a Database's TLS mode:
// disable (nil), require, verify-ca or verify-full. host is the name to verify;
// roots nil means those of the system.
func UpstreamTLS(mode, host string, roots *x509.CertPool) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: roots, NextProtos: []string{alpn}}
	switch mode {
	case "disable":
		return nil, nil
	case "require":
		cfg.InsecureSkipVerify = true
	case "verify-ca":
		cfg.InsecureSkipVerify = true // of the name; the chain is verified here
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, cert := range cs.PeerCertificates[1:] {
				opts.Intermediates.AddCert(cert)
			}
			_, err := cs.PeerCertificates[0].Verify(opts)
			return err
		}
	case "verify-full":
		if host == "" {
			return nil, errors.New("tls mode verify-full without a name to verify")
		}
	default:
		return nil, fmt.Errorf("unknown tls mode %q", mode)
	}
	return cfg, nil
}

// verifies reports whether a connection with cfg is known to end at the server.
func verifies(cfg *tls.Config) bool {
	return cfg != nil && (!cfg.InsecureSkipVerify || cfg.VerifyConnection != nil)
}

var errNoTLS = errors.New("the database does not offer TLS")

// encryptUpstream asks the server for TLS and does the client's part.
func encryptUpstream(ctx context.Context, conn net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errNoTLS
	}
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("tls with the database: %w", err)
	}
	return t, nil
}

// endPoint returns the tls-server-end-point channel binding of cert (RFC 5929),
// nil if there is none.
func endPoint(cert *x509.Certificate) []byte {
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		sum := sha256.Sum256(cert.Raw)
		return sum[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(cert.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(cert.Raw)
		return sum[:]
	}
	return nil // such as Ed25519, for which RFC 5929 defines none
}
