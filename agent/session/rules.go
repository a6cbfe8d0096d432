package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol/postgres"
)

// Rules are a configuration in force. They are immutable once given to Swap.
type Rules struct {
	Set *policy.Set
	// Material holds the files that Databases name, by path.
	Material map[string][]byte
	MaskKey  []byte
	// Placeholders check what workloads log in with, by Database of clientAuth: scram.
	Placeholders map[string]*postgres.Verifier
	// Verify believes or refuses a workload's token. Nil refuses all.
	Verify func(ctx context.Context, raw string, w *policy.Workload) (*policy.Token, error)

	cache    *sql.Cache
	scanners scanners
}

func (r *Rules) key(tag string) mask.Key { return mask.NewKey(r.MaskKey, tag) }

var modes = map[policy.TLSMode]string{
	policy.TLSVerifyFull: "verify-full", policy.TLSVerifyCA: "verify-ca",
	policy.TLSRequire: "require", policy.TLSDisable: "disable",
}

var methods = map[policy.AuthMethod]postgres.AuthMethod{
	policy.AuthSCRAM: postgres.AuthSCRAM, policy.AuthMD5: postgres.AuthMD5, policy.AuthPassword: postgres.AuthPassword,
}

// Weakest is the weakest request for a password that Sluice itself answers at db.
func Weakest(db *policy.Database, unix bool) postgres.AuthMethod {
	return methods[db.Weakest(&db.Credential, unix)]
}

// UpstreamTLS returns how a connection to db is protected: host is the name under
// which the destination is configured, "" if it was dialled by address.
func (r *Rules) UpstreamTLS(db *policy.Database, host string, destination netip.Addr) (*tls.Config, error) {
	switch {
	case db.TLS.ServerName != "":
		host = db.TLS.ServerName
	case host == "":
		host = destination.String()
	}
	var roots *x509.CertPool
	if file := db.TLS.CA(); file != "" {
		data, ok := r.Material[file]
		if !ok {
			return nil, fmt.Errorf("%s could not be read", file)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s holds no certificate", file)
		}
	} else if data, ok := r.Material[SystemRoots]; ok {
		// The proxy can't read the host's own.
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(data)
	}
	config, err := postgres.UpstreamTLS(modes[db.TLS.Mode], host, roots)
	if err != nil || config == nil || db.TLS.CertFile == "" {
		return config, err
	}
	pair, err := tls.X509KeyPair(r.Material[db.TLS.CertFile], r.Material[db.TLS.KeyFile])
	if err != nil {
		return nil, errors.New("the client certificate of the database can't be used")
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// upstream is UpstreamTLS for a connection. On a unix socket the server offers no TLS, and
// nobody is between: whoever may make a socket in its folder is trusted, as libpq does.
func (r *Rules) upstream(db *policy.Database, c *Conn) (*tls.Config, error) {
	if c.Unix != "" {
		return nil, nil
	}
	return r.UpstreamTLS(db, c.Host, c.Destination.Addr())
}

// SystemRoots is the name in Material of the host's trusted certificates.
const SystemRoots = "system"
