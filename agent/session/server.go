package session

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
)

// Redirector is what a session needs of the privileged process. conn names the
// accepted connection in whose name something is asked. The real one is the
// proxy's end of agent/channel.
type Redirector interface {
	// Dial connects to the address that the workload dialled, from its namespace.
	Dial(ctx context.Context, conn uint64) (net.Conn, error)
	// Prove returns what logs in to the Database of conn, with the credential of that
	// name, or with its own if the name is "".
	Prove(conn uint64, credential string) postgres.Authenticator
	// Token returns the workload's token, unverified, and a version of it.
	Token(ctx context.Context, conn uint64) (raw []byte, version uint64, err error)
}

// Options say what a Server works with. All fields but Log, Leaf and Verify are required.
type Options struct {
	Redirector Redirector
	Store      *record.Store
	Traffic    *tally.Traffic
	Log        *slog.Logger // default: discard
	// Leaf returns the certificate for a client that asked for TLS. Nil: no TLS.
	Leaf func(sni string, addr netip.Addr, hosts ...string) (*tls.Certificate, error)
	// CacheBytes bounds the memory of judgements; default: 64 MiB.
	CacheBytes int
	// Accounts bounds the subjects and budgets that are counted; default: as
	// [policy.NewLedger] says.
	Accounts int
	// Loaded is told of each catalog that was loaded: of which Database, of which of
	// its names, when. A server waits for it. Nil: nobody.
	Loaded func(database, name string, c *sql.Catalog, at time.Time)
}

// Server serves the connections of workloads.
type Server struct {
	o        Options
	wire     *postgres.Server
	rules    atomic.Pointer[Rules]
	epoch    atomic.Uint64 // of the rules
	catalogs catalogs
	words    decisions
	checks   checks
	spent    *policy.Ledger
	room     room
	denied   denied
	desk     *desk

	mu   sync.Mutex
	live map[*Gate]struct{}
}

// NewServer returns a Server that refuses everything until it has [Rules]. Run
// must be running while it serves.
func NewServer(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, live: make(map[*Gate]struct{}), spent: policy.NewLedger(o.Accounts), desk: newDesk()}
	s.wire = postgres.NewServer(postgres.Options{Log: o.Log})
	s.catalogs.init(o.Log, o.Traffic)
	s.catalogs.loaded = s.loaded
	return s
}

// Swap puts other rules in force: for the next statement of every session.
func (s *Server) Swap(r *Rules) {
	if old := s.rules.Load(); old == nil || string(old.MaskKey) != string(r.MaskKey) || old.cache == nil {
		r.cache = sql.NewCache(s.o.CacheBytes, sql.Options{Key: r.key})
	} else {
		r.cache = old.cache
	}
	s.rules.Store(r)
	s.epoch.Add(1)
	s.wire.FlushPool() // another password, destination or identity may hold now
	for _, k := range s.catalogs.list() {
		s.check(k.key.resource, k.known.Load())
	}
}

// Rules returns what is in force, nil before the first Swap.
func (s *Server) Rules() *Rules { return s.rules.Load() }

// Run keeps the catalogs of databases in use fresh until ctx is done, and closes then
// what was kept for later.
func (s *Server) Run(ctx context.Context) error {
	defer s.wire.FlushPool()
	return s.catalogs.run(ctx)
}

// Wire returns the counters of the codec.
func (s *Server) Wire() *postgres.Stats { return &s.wire.Stats }

// Cache returns the counters of the cache of judgements.
func (s *Server) Cache() sql.CacheStats {
	if r := s.rules.Load(); r != nil {
		return r.cache.Stats()
	}
	return sql.CacheStats{}
}

// Catalogs tells when each catalog in use was last known to be fresh, by Database.
func (s *Server) Catalogs() map[string]time.Time { return s.catalogs.times() }

// Conn is an accepted connection and what is known of who made it.
type Conn struct {
	ID          uint64
	Net         net.Conn // Serve owns it
	Database    string   // name of the resource, "" with Refused
	Host        string   // the name under which the destination is configured, or ""
	Destination netip.AddrPort
	Unix        string // the unix socket that was dialled, "" for Destination
	Netns       uint64 // cookie of the network namespace that it was dialled in
	Client      netip.AddrPort
	Refused     string // why it is not served, "" if it is
	CgroupID    uint64
	Process     policy.Process
	Workload    policy.Workload
	Token       bool   // the workload has a token
	Passwords   uint64 // tells apart what passwords there were when it came, 0: not known
}

// to names where the workload wanted to go.
func (c *Conn) to() string {
	if c.Unix != "" {
		return "unix:" + c.Unix
	}
	return c.Destination.String()
}

// server tells servers apart. What is local to a network namespace is another one in the
// next; and a workload that may make namespaces can have a server of its own at any address
// in there, so that only a certificate that is verified makes two of them the same.
func (c *Conn) server(mode policy.TLSMode) string {
	shared := mode <= policy.TLSVerifyCA && !c.Destination.Addr().IsLoopback()
	if c.Unix != "" {
		shared = !strings.HasPrefix(c.Unix, "@") // the host's own path
	}
	if shared {
		return c.to()
	}
	return c.to() + " in " + strconv.FormatUint(c.Netns, 10)
}

// from names the workload's end.
func (c *Conn) from() string {
	if c.Unix != "" {
		return "local"
	}
	return c.Client.String()
}

// Serve serves c until it ends.
func (s *Server) Serve(ctx context.Context, c Conn) {
	s.o.Traffic.Accepted.Add(1)
	whole := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var g *Gate
	a := postgres.Accepted{
		Conn: c.Net, TLS: s.leaf(&c), Scope: strconv.FormatUint(c.CgroupID, 10),
		Open: func(ctx context.Context, st *postgres.Startup) (*postgres.SessionConfig, *protocol.Refusal) {
			gate, config, why := s.begin(ctx, &c, st)
			if g = gate; g != nil {
				g.stop = stop
			}
			if why != nil {
				s.o.Traffic.Rejected.Add(why.Code, 1)
				s.denied.add(c.CgroupID)
				s.o.Log.Info("connection refused", "code", why.Code, "reason", why.Message,
					"database", c.Database, "destination", c.to(), "pid", c.Process.PID)
			}
			return config, why
		},
	}
	err := s.wire.Serve(ctx, a)
	if g != nil {
		if errors.Is(err, postgres.ErrPlaceholder) {
			g.foreign("scram", "a password that is not the placeholder")
		}
		g.close(whole, err)
	} else if err != nil && whole.Err() == nil {
		s.o.Log.Debug("connection ended before it was a session", "error", err, "destination", c.to())
	}
}

// leaf returns the TLS configuration towards the workload. PostgreSQL offers none on a
// unix socket, so nobody expects it there.
func (s *Server) leaf(c *Conn) *tls.Config {
	if s.o.Leaf == nil || c.Unix != "" {
		return nil
	}
	destination := c.Destination.Addr()
	hosts := s.names(c)
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.o.Leaf(h.ServerName, destination, hosts...)
		},
	}
}

// maxNames bounds what a certificate carries.
const maxNames = 32

// names returns the names under which the Database of c is configured, that of the
// destination first: not every client says by which of them it connects.
func (s *Server) names(c *Conn) []string {
	var all []string
	if c.Host != "" {
		all = append(all, c.Host)
	}
	if r := s.rules.Load(); r != nil {
		if db := r.Set.Database(c.Database); db != nil {
			for _, e := range db.Endpoints {
				if e.Host != "" && e.Host != c.Host && len(all) < maxNames {
					all = append(all, e.Host)
				}
			}
		}
	}
	return all
}

// Session is what status shows of a session that goes on.
type Session struct {
	ID          record.ID `json:"id"`
	Subject     string    `json:"subject"`
	Database    string    `json:"database"`
	Destination string    `json:"destination"`
	PID         uint32    `json:"pid"`
	Namespace   string    `json:"namespace,omitempty"`
	Pod         string    `json:"pod,omitempty"`
	Begin       time.Time `json:"begin"`
	Statements  uint64    `json:"statements"`
	Observe     bool      `json:"observe,omitempty"`
}

// Sessions lists the sessions that go on.
func (s *Server) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Session, 0, len(s.live))
	for g := range s.live {
		all = append(all, Session{
			ID: g.log.ID(), Subject: g.name, Database: g.conn.Database, Destination: g.conn.to(),
			PID: g.conn.Process.PID, Namespace: g.conn.Workload.Namespace, Pod: g.conn.Workload.Pod, Begin: g.began, Statements: g.statements.Load(), Observe: g.observes.Load(),
		})
	}
	return all
}

// errNoRules means that no configuration has arrived yet.
var errNoRules = errors.New("no rules in force")
