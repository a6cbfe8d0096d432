package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// UpstreamTLS returns the client configuration for a Database's TLS mode:
// disable (nil), require, verify-ca or verify-full. host is the name to verify;
// roots nil means those of the system.
func UpstreamTLS(mode, host string, roots *x509.CertPool) (*tls.Config, error) {
	return nil, fmt.Errorf("tls mode %q: not there yet", mode)
}
