package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol/postgres"
	"sluicegate.io/sluice/test/pgtest"
)

// redirector stands for the privileged process.
type redirector struct {
	address string
	prover  *credential.Prover
	others  map[string]*credential.Prover // by name
	token   atomic.Pointer[string]
	dials   atomic.Int64
}

func (r *redirector) Dial(ctx context.Context, _ uint64) (net.Conn, error) {
	r.dials.Add(1)
	var d net.Dialer
	return d.DialContext(ctx, "tcp", r.address)
}

func (r *redirector) Prove(_ uint64, name string) postgres.Authenticator {
	if name != "" {
		return r.others[name]
	}
	return r.prover
}

func (r *redirector) Token(context.Context, uint64) ([]byte, uint64, error) {
	if t := r.token.Load(); t != nil {
		return []byte(*t), 1, nil
	}
	return nil, 0, errors.New("no token")
}

// proxy is a session.Server in front of a real database.
type proxy struct {
	t       *testing.T
	pg      *pgtest.Server
	dir     string
	store   *record.Store
	server  *session.Server
	traffic tally.Traffic
	red     *redirector
	name    string       // of the database on the server
	params  string       // further ones of the next connection string
	conn    session.Conn // what the next connection is
	ctx     context.Context
	said    said
}

// said keeps what the server logs.
type said struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const database = `apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["127.0.0.1:%d"]
  tls: {mode: disable}
  credential: {username: app_rw, passwordEnv: SLUICETEST_PASSWORD}
  sensitive:
    - {tag: ssn, columns: ["app.customers.ssn"], mask: {keepLast: 4}}
---
`

func start(t *testing.T) *proxy {
	t.Helper()
	return startOn(t, pgtest.Options{})
}

// startOn is start with another server than one that trusts everybody.
func startOn(t *testing.T, o pgtest.Options) *proxy {
	t.Helper()
	pg := pgtest.Start(t, o)
	t.Setenv("SLUICETEST_PASSWORD", pg.Password())
	p := &proxy{t: t, pg: pg, dir: t.TempDir(), name: pg.Database(t)}
	store, err := record.Open(p.dir, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.store = store
	p.red = &redirector{address: pg.Addr(),
		prover: credential.New("app_rw", &credential.Env{Name: "SLUICETEST_PASSWORD"}, credential.Options{})}
	p.server = session.NewServer(session.Options{Redirector: p.red, Store: store, Traffic: &p.traffic,
		Log: slog.New(slog.NewTextHandler(&p.said, nil))})
	p.conn = session.Conn{Database: "shop", Destination: netip.MustParseAddrPort(pg.Addr()),
		Process: policy.Process{PID: 4711, UID: 1000, User: "alice", Exe: "/usr/bin/agent"}}
	ctx, cancel := context.WithCancel(context.Background())
	p.ctx = ctx
	done := make(chan struct{})
	go func() { defer close(done); p.server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; store.Close() })
	return p
}

// use puts the database and a policy with these rules in force.
func (p *proxy) use(rest string, verify func(context.Context, string, *policy.Workload) (*policy.Token, error)) {
	p.t.Helper()
	text := fmt.Sprintf(database, p.pg.Port) + `apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: agent}
spec:
  databases: [shop]
` + rest
	set, err := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(text)}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.server.Swap(&session.Rules{Set: set, MaskKey: []byte("0123456789abcdef"), Verify: verify})
}

const (
	mayRead = `  subjects: [{any: true}]
  rules: [{name: read, effect: allow, actions: [select], on: [app.customers, app.orders]}]
`
	mayReadOrders = `  subjects: [{any: true}]
  rules: [{name: read, effect: allow, actions: [select], on: [app.orders]}]
`
)

// connect opens a session through the proxy.
func (p *proxy) connect() (*pgx.Conn, error) { return p.connectAs("app_rw", "placeholder") }

func (p *proxy) connectAs(user, password string) (*pgx.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		c, err := l.Accept()
		if err != nil {
			return
		}
		conn := p.conn
		conn.Net = c
		go p.server.Serve(p.ctx, conn)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return pgx.Connect(ctx, "postgres://"+user+":"+password+"@"+l.Addr().String()+"/"+p.name+"?sslmode=disable&"+p.params)
}

func (p *proxy) mustConnect() *pgx.Conn {
	p.t.Helper()
	c, err := p.connect()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func one(c *pgx.Conn, sql string, args ...any) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var v string
	err := c.QueryRow(ctx, sql, args...).Scan(&v)
	return v, err
}

// code returns the SQLSTATE of err, "" if it has none.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestJudgedMaskedRecorded(t *testing.T) {
	p := start(t)
	p.use(mayRead, nil)
	c := p.mustConnect()
	if v, err := one(c, "SELECT ssn FROM app.customers WHERE id = $1", 1); err != nil || v != "***6789" {
		t.Errorf("masked column = %q, %v", v, err)
	}
	if _, err := one(c, "SELECT v FROM app.secrets LIMIT 1"); code(err) != "42501" {
		t.Errorf("denied table = %v, want 42501", err)
	}
	c.Close(context.Background())

	var sessions []record.Session
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if sessions, err = record.Sessions(p.dir, record.Filter{}); err != nil {
			t.Fatal(err)
		}
		if len(sessions) == 1 && sessions[0].End != nil {
			break
		}
	}
	if len(sessions) != 1 || sessions[0].Start.Subject != "alice" || sessions[0].Refused != 1 {
		t.Fatalf("sessions = %+v", sessions)
	}
	var told strings.Builder
	for e, err := range record.Read(p.dir, sessions[0].ID) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Statement != nil:
			told.WriteString("statement " + e.Statement.Decisions[0].Verdict.String() + "\n")
		case e.Rows != nil:
			fmt.Fprintf(&told, "rows %s\n", e.Rows.Values()[0][0])
		case e.Refusal != nil:
			told.WriteString("refusal " + e.Refusal.Code + "\n")
		case e.Outcome != nil:
			fmt.Fprintf(&told, "outcome %s masked %d\n", e.Outcome.Tag, e.Outcome.MaskedValues)
		case e.End != nil:
			told.WriteString("end " + e.End.Reason + "\n")
		}
	}
	want := "statement mask\nrows ***6789\noutcome SELECT 1 masked 1\nrefusal 42501\nend terminate\n"
	if told.String() != want {
		t.Errorf("the record tells\n%swant\n%s", told.String(), want)
	}
}

// A new policy holds for the next statement of a session, prepared ones included.
func TestRulesAreSwappedUnderASession(t *testing.T) {
	p := start(t)
	p.use(mayRead, nil)
	c := p.mustConnect()
	const text = "SELECT name FROM app.customers WHERE id = $1"
	for range 2 { // pgx keeps it prepared
		if _, err := one(c, text, 1); err != nil {
			t.Fatal(err)
		}
	}
	p.use(mayReadOrders, nil)
	if _, err := one(c, text, 1); code(err) != "42501" {
		t.Errorf("after the swap = %v, want 42501", err)
	}
	p.use(mayRead, nil)
	if _, err := one(c, text, 1); err != nil {
		t.Errorf("after swapping back: %v", err)
	}
}

// A table that another connection makes is found by the look at the server that an
// unknown name causes.
func TestCatalogFollowsTheServer(t *testing.T) {
	p := start(t)
	p.use("  subjects: [{any: true}]\n  rules: [{name: all, effect: allow, actions: [select], on: [\"app.*\"]}]\n", nil)
	c := p.mustConnect()
	if _, err := one(c, "SELECT name FROM app.customers WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := one(c, "SELECT x FROM app.fresh"); err == nil {
		t.Fatal("a table that there is not was read")
	}
	p.pg.Exec(t, p.name, "CREATE TABLE app.fresh AS SELECT 'new'::text AS x; GRANT SELECT ON app.fresh TO app_rw")
	if v, err := one(c, "SELECT x FROM app.fresh"); err != nil || v != "new" {
		t.Errorf("fresh table = %q, %v", v, err)
	}
}

func TestNoRecordNoQuery(t *testing.T) {
	p := start(t)
	p.use(mayRead, nil)
	c := p.mustConnect()
	if _, err := one(c, "SELECT name FROM app.customers WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	p.store.Close()
	if _, err := one(c, "SELECT name FROM app.customers WHERE id = 2"); code(err) != "58030" {
		t.Errorf("statement without a record = %v, want 58030", err)
	}
	if _, err := p.connect(); code(err) != "58000" {
		t.Errorf("session without a record = %v, want 58000", err)
	}
}

func TestTokens(t *testing.T) {
	p := start(t)
	first := time.Now().Add(700 * time.Millisecond)
	var expires atomic.Pointer[time.Time]
	expires.Store(&first)
	p.use(`  subjects: [{oidc: {issuer: "https://idp.example.com", groups: [support]}}]
  rules: [{name: read, effect: allow, actions: [select], on: [app.customers]}]
`+believing, func(_ context.Context, raw string, _ *policy.Workload) (*policy.Token, error) {
		if raw != "good" {
			return nil, errors.New("token refused")
		}
		return &policy.Token{Issuer: "https://idp.example.com", Audience: []string{"sluice"}, Subject: "bot", Groups: []string{"support"}, Expires: *expires.Load()}, nil
	})
	p.conn.Token = true
	if _, err := p.connect(); code(err) != "28000" {
		t.Fatalf("without a token = %v, want 28000", err)
	}
	good, forged := "good", "forged"
	p.red.token.Store(&forged)
	if _, err := p.connect(); code(err) != "28000" {
		t.Fatalf("with a forged token = %v, want 28000", err)
	}
	p.red.token.Store(&good)
	c := p.mustConnect()
	const text = "SELECT name FROM app.customers WHERE id = 1"
	if _, err := one(c, text); err != nil {
		t.Fatal(err)
	}
	p.red.token.Store(&forged)
	time.Sleep(time.Until(first) + 50*time.Millisecond)
	if _, err := one(c, text); code(err) != "28000" {
		t.Errorf("after its end = %v, want 28000", err)
	}
	p.red.token.Store(&good)
	later := time.Now().Add(time.Hour)
	expires.Store(&later)
	time.Sleep(2100 * time.Millisecond) // a refused token is not asked for at once again
	if _, err := one(c, text); err != nil {
		t.Errorf("with a fresh token: %v", err)
	}
}

func TestBudget(t *testing.T) {
	p := start(t)
	p.use(mayRead+"  budgets: [{per: 1h, statements: 3, then: suspend}]\n", nil)
	c := p.mustConnect()
	ctx := context.Background()
	var last error
	for range 5 {
		_, last = c.Exec(ctx, "SELECT 1", pgx.QueryExecModeSimpleProtocol)
	}
	if code(last) != "53400" {
		t.Errorf("beyond the budget = %v, want 53400", last)
	}
}

func TestUnreachableDatabase(t *testing.T) {
	p := start(t)
	p.use(mayRead, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.red.address = l.Addr().String()
	l.Close()
	if _, err := p.connect(); !strings.HasPrefix(code(err), "08") {
		t.Errorf("unreachable database = %v, want class 08", err)
	}
	p.conn.Database, p.conn.Refused = "", "no configured database has the address"
	if _, err := p.connect(); code(err) != "08004" {
		t.Errorf("unknown destination = %v, want 08004", err)
	}
}
