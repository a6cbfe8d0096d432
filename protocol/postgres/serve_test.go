package postgres_test

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
	"sluicegate.io/sluice/test/pgtest"
)

var shared struct {
	once sync.Once
	srv  *pgtest.Server
	err  error
}

// driver chooses what sessions are driven by.
var driver = flag.String("driver", "both", "loops, goroutines or both: the tests run once with each")

// goroutines is what postgres.Options.Goroutines is.
var goroutines bool

func TestMain(m *testing.M) {
	flag.Parse()
	code := 0
	if *driver != "goroutines" {
		code = m.Run()
	}
	if goroutines = true; *driver != "loops" && code == 0 {
		code = m.Run()
	}
	if shared.srv != nil {
		shared.srv.Close()
	}
	os.Exit(code)
}

func server(t testing.TB) *pgtest.Server {
	t.Helper()
	shared.once.Do(func() { shared.srv, shared.err = pgtest.New(pgtest.Options{}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.srv
}

// proxy serves every connection to a loopback port with one gate.
type proxy struct {
	t      testing.TB
	srv    *postgres.Server
	gate   *gate
	ln     net.Listener
	cancel context.CancelFunc
	wg     sync.WaitGroup
	config func(*postgres.Startup, *postgres.SessionConfig) *protocol.Refusal
	tls    *tls.Config
	errs   chan error
	wrap   func(net.Conn) net.Conn // of the client's connection
	dial   func(ctx context.Context) (net.Conn, error)
	scope  func() string // of a connection; default: "test"
}

func start(t testing.TB, addr string, change func(*proxy)) *proxy {
	t.Helper()
	pgDatabase(t) // what it starts stays
	before, fds := runtime.NumGoroutine(), descriptors()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &proxy{t: t, srv: postgres.NewServer(postgres.Options{Goroutines: goroutines}), gate: newGate(), ln: ln, cancel: cancel, errs: make(chan error, 10000)}
	p.dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	if change != nil {
		change(p)
	}
	p.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if p.wrap != nil {
				conn = p.wrap(conn)
			} else {
				conn = bare(conn)
			}
			scope := "test"
			if p.scope != nil {
				scope = p.scope()
			}
			p.wg.Go(func() {
				err := p.srv.Serve(ctx, postgres.Accepted{Conn: conn, TLS: p.tls, Scope: scope, Open: p.open})
				select {
				case p.errs <- err:
				default:
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		p.wg.Wait()
		if n := p.srv.Stats.Sessions.Load(); n != 0 {
			t.Errorf("%d sessions left", n)
		}
		p.gate.mu.Lock()
		if p.gate.begun != p.gate.ended {
			t.Errorf("%d statements begun, %d ended", p.gate.begun, p.gate.ended)
		}
		p.gate.mu.Unlock()
		for i := 0; ; i++ {
			g, f := runtime.NumGoroutine(), descriptors()
			if g <= before && f <= fds {
				break
			}
			if i == 100 {
				buf := make([]byte, 64<<10)
				t.Errorf("goroutines %d → %d, descriptors %d → %d\n%s", before, g, fds, f, buf[:runtime.Stack(buf, true)])
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return p
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func (p *proxy) open(ctx context.Context, s *postgres.Startup) (*postgres.SessionConfig, *protocol.Refusal) {
	cfg := &postgres.SessionConfig{Gate: p.gate, User: s.User, Database: s.Database, Dial: p.dial,
		Setting: func(name, value string) *protocol.Refusal {
			if strings.EqualFold(name, "work_mem") {
				return &protocol.Refusal{Code: "42501", Message: "no work_mem"}
			}
			return nil
		}}
	if p.config != nil {
		if why := p.config(s, cfg); why != nil {
			return nil, why
		}
	}
	return cfg, nil
}

func (p *proxy) dsn(extra ...string) string {
	return fmt.Sprintf("postgres://app_rw:placeholder@%s/%s?sslmode=disable&%s", p.ln.Addr(), pgDatabase(p.t), strings.Join(extra, "&"))
}

var database struct {
	once sync.Once
	name string
}

func pgDatabase(t testing.TB) string {
	database.once.Do(func() {
		database.name = "wire"
		if err := server(t).CreateDatabase("wire"); err != nil {
			t.Fatal(err)
		}
	})
	return database.name
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}
