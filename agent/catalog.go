package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol/postgres"
)

// ReadCatalog connects to a Database as this process, with the credential that the
// configuration names, and loads its catalog. name is the database on the server,
// "" for the resource's first, or one of its own name.
func ReadCatalog(ctx context.Context, set *policy.Set, db *policy.Database, name string) (*sql.Catalog, error) {
	src := source(&db.Credential)
	if src == nil {
		return nil, fmt.Errorf("database %s has no credential of its own", db.Name)
	}
	if name == "" {
		if name = db.Name; len(db.Names) > 0 {
			name = db.Names[0]
		}
	}
	b, err := bundle(set, nil, nil)
	if err != nil {
		return nil, err
	}
	r := session.Rules{Set: set, Material: b.Material}
	last := fmt.Errorf("database %s has no endpoint that names a server", db.Name)
	for _, e := range db.Endpoints {
		host := e.Host
		if host == "" && e.Prefix.IsValid() && e.Prefix.IsSingleIP() {
			host = e.Prefix.Addr().String()
		}
		if host == "" && e.Unix == "" {
			continue
		}
		c, err := readCatalog(ctx, &r, db, e, host, name, src)
		if err == nil {
			return c, nil
		}
		last = err
	}
	return nil, last
}

func readCatalog(ctx context.Context, r *session.Rules, db *policy.Database, e policy.Endpoint, host, name string, src credential.Source) (*sql.Catalog, error) {
	network, address := "tcp", net.JoinHostPort(host, strconv.Itoa(int(e.Port)))
	if e.Unix != "" {
		network, address = "unix", e.Unix
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connect for the catalog: %w", err)
	}
	var config *tls.Config // none on a unix socket
	if e.Unix == "" {
		to, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err != nil {
			conn.Close()
			return nil, errors.New("connect for the catalog: no address")
		}
		if config, err = r.UpstreamTLS(db, e.Host, to.Addr()); err != nil {
			conn.Close()
			return nil, err
		}
	}
	client, err := postgres.Connect(ctx, conn, postgres.ClientConfig{
		User: db.Credential.Username, Database: name, TLS: config, Weakest: session.Weakest(db, e.Unix != ""),
		Auth: credential.New(db.Credential.Username, src, credential.Options{}),
	})
	if err != nil {
		return nil, fmt.Errorf("log in at %s for the catalog: %w", address, err)
	}
	defer client.Close()
	return sql.LoadCatalog(ctx, client)
}
