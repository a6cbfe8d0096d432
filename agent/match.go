package agent

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/redirect"
)

const (
	resolveEvery   = 30 * time.Second
	resolveTimeout = 3 * time.Second
	// keepAddress is how long an address counts as a name's after it was last seen
	// in an answer: a failover that is taken back must not find a closed door.
	keepAddress = 24 * time.Hour
	// askAgain bounds how often one name is resolved for unknown destinations.
	askAgain = time.Second
)

// matcher says which Database a destination belongs to.
type matcher struct {
	prefixes []prefixEndpoint // longest first
	names    []*nameEndpoint
	ports    []portEndpoint
	sockets  map[redirect.UnixEndpoint]*policy.Database
	lookup   func(ctx context.Context, host string) ([]netip.Addr, error)
}

type prefixEndpoint struct {
	prefix netip.Prefix
	port   uint16
	db     *policy.Database
}

type portEndpoint struct {
	port uint16
	db   *policy.Database
}

type nameEndpoint struct {
	host string
	port uint16
	db   *policy.Database

	mu     sync.Mutex
	addrs  map[netip.Addr]time.Time // when it was last in an answer
	asked  time.Time
	failed error // of the last look-up
}

// newMatcher compiles the endpoints of set. What old knows of names is kept.
func newMatcher(set *policy.Set, old *matcher) *matcher {
	m := &matcher{sockets: map[redirect.UnixEndpoint]*policy.Database{}, lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
	for _, db := range set.Databases() {
		for _, e := range db.Endpoints {
			switch {
			case e.Unix != "":
				m.sockets[redirect.UnixEndpoint(e.Unix)] = db
			case e.Any:
				m.ports = append(m.ports, portEndpoint{e.Port, db})
			case e.Host != "":
				m.names = append(m.names, &nameEndpoint{host: e.Host, port: e.Port, db: db, addrs: old.known(e.Host)})
			default:
				m.prefixes = append(m.prefixes, prefixEndpoint{e.Prefix.Masked(), e.Port, db})
			}
		}
	}
	slices.SortStableFunc(m.prefixes, func(a, b prefixEndpoint) int { return b.prefix.Bits() - a.prefix.Bits() })
	return m
}

func (m *matcher) known(host string) map[netip.Addr]time.Time {
	all := map[netip.Addr]time.Time{}
	if m == nil {
		return all
	}
	for _, n := range m.names {
		if n.host == host {
			n.mu.Lock()
			for a, t := range n.addrs {
				all[a] = t
			}
			n.mu.Unlock()
		}
	}
	return all
}

// match returns the Database of a destination, and the name under which it is
// configured. It may resolve names, and so take seconds.
func (m *matcher) match(ctx context.Context, to netip.AddrPort) (db *policy.Database, host string) {
	addr := to.Addr().Unmap()
	for _, e := range m.prefixes {
		if e.port == to.Port() && e.prefix.Contains(addr) {
			return e.db, ""
		}
	}
	for _, fresh := range []bool{false, true} {
		for _, n := range m.names {
			if n.port != to.Port() {
				continue
			}
			if fresh {
				m.resolve(ctx, n, askAgain)
			}
			if n.has(addr) {
				return n.db, n.host
			}
		}
	}
	for _, e := range m.ports {
		if e.port == to.Port() {
			return e.db, ""
		}
	}
	return nil, ""
}

func (n *nameEndpoint) has(a netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen, ok := n.addrs[a]
	return ok && time.Since(seen) < keepAddress
}

// resolve asks for the addresses of n, unless that was done less than recent ago.
func (m *matcher) resolve(ctx context.Context, n *nameEndpoint, recent time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.asked) < recent {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addrs, err := m.lookup(ctx, n.host)
	n.asked, n.failed = time.Now(), err
	if err != nil {
		return // what was known stays
	}
	for _, a := range addrs {
		n.addrs[a.Unmap().WithZone("")] = n.asked
	}
}

// poll resolves all names.
func (m *matcher) poll(ctx context.Context) {
	for _, n := range m.names {
		m.resolve(ctx, n, askAgain)
	}
}

var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// unix are the sockets of this host that are endpoints.
func (m *matcher) unix() []redirect.UnixEndpoint {
	return slices.Sorted(maps.Keys(m.sockets))
}

// endpoints are what the kernel has to capture. A name captures its port, and
// those of its addresses that are loopback, which a port capture leaves out.
func (m *matcher) endpoints() []redirect.Endpoint {
	seen := map[redirect.Endpoint]bool{}
	var all []redirect.Endpoint
	add := func(p netip.Prefix, port uint16) {
		if e := (redirect.Endpoint{Prefix: p, Port: port}); !seen[e] {
			seen[e] = true
			all = append(all, e)
		}
	}
	for _, e := range m.prefixes {
		add(e.prefix, e.port)
	}
	for _, e := range m.ports {
		for _, p := range everywhere {
			add(p, e.port)
		}
	}
	for _, n := range m.names {
		for _, p := range everywhere {
			add(p, n.port)
		}
		n.mu.Lock()
		for a := range n.addrs {
			if a.IsLoopback() {
				add(netip.PrefixFrom(a, a.BitLen()), n.port)
			}
		}
		n.mu.Unlock()
	}
	return all
}
