package postgres_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
	"sluicegate.io/sluice/test/pgtest"
)

// pooled is a proxy whose sessions of the server outlive their clients.
func pooled(t testing.TB, addr string, change func(*proxy)) *proxy {
	p := start(t, addr, func(p *proxy) {
		key := func() string { return "one" }
		p.config = func(_ *postgres.Startup, cfg *postgres.SessionConfig) *protocol.Refusal {
			cfg.Pool = &postgres.Pool{Key: key, Name: "test", Idle: time.Minute, Age: time.Hour, Max: 10, Total: 100}
			return nil
		}
		if change != nil {
			change(p)
		}
	})
	t.Cleanup(p.srv.FlushPool) // before start looks for what is left
	return p
}

// settled waits until every session that is kept has been reset, and tells how many
// are kept.
func (p *proxy) settled() int64 {
	p.t.Helper()
	st := &p.srv.Stats
	for range 500 {
		if st.Sessions.Load() == 0 && p.srv.PoolSettled() {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return st.PoolIdle.Load()
}

func (p *proxy) discards() map[string]int64 {
	all := map[string]int64{}
	for i := range p.srv.Stats.PoolDiscards {
		if n := p.srv.Stats.PoolDiscards[i].Load(); n > 0 {
			all[postgres.Discard(i).String()] = n
		}
	}
	return all
}

func backend(t testing.TB, c *pgx.Conn) uint32 {
	t.Helper()
	var pid uint32
	if err := c.QueryRow(context.Background(), "select pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func leave(t testing.TB, c *pgx.Conn) {
	t.Helper()
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A second client alike gets the session of the first, and what the server said at the
// login, with a key of its own.
func TestPoolServesTheNext(t *testing.T) {
	p := pooled(t, server(t).Addr(), nil)
	a := connect(t, p.dsn())
	first, status, key := backend(t, a), a.PgConn().ParameterStatus("server_version"), a.PgConn().SecretKey()
	leave(t, a)
	if n := p.settled(); n != 1 {
		t.Fatalf("%d sessions are kept: %v", n, p.discards())
	}
	b := connect(t, p.dsn())
	if second := backend(t, b); second != first || b.PgConn().PID() != first {
		t.Errorf("the second client has backend %d, told %d, the first had %d", second, b.PgConn().PID(), first)
	}
	if got := b.PgConn().ParameterStatus("server_version"); got != status || got == "" {
		t.Errorf("server_version %q, the first saw %q", got, status)
	}
	if fmt.Sprint(b.PgConn().SecretKey()) == fmt.Sprint(key) {
		t.Error("the cancel key of the first client is that of the second")
	}
	c := connect(t, p.dsn()) // while it is in use
	if third := backend(t, c); third == first {
		t.Error("two clients at once have one backend")
	}
}

// Nothing of the first client's session is seen by the second one.
func TestPoolResets(t *testing.T) {
	s := server(t)
	s.Exec(t, pgDatabase(t), `create sequence if not exists pool_seq; grant all on sequence pool_seq to app_rw;
		do $$ begin if not exists (select from pg_roles where rolname = 'pool_other') then create role pool_other; end if; end $$;
		grant pool_other to app_rw`)
	p := pooled(t, s.Addr(), nil)
	const unset = "<unset>"
	for _, tt := range []struct{ name, first, look string }{
		{"setting", "set statement_timeout = '7s'", "show statement_timeout"},
		{"search path", "set search_path = pg_catalog", "show search_path"},
		{"date style", "set datestyle = 'German, DMY'", "show datestyle"},
		{"time zone", "set timezone = 'Asia/Tokyo'", "show timezone"},
		{"name", "set application_name = 'first'", "show application_name"},
		{"isolation", "set session characteristics as transaction isolation level serializable", "show transaction_isolation"},
		{"read only", "set default_transaction_read_only = on", "show transaction_read_only"},
		{"role", "set role pool_other", "select current_user || ' ' || current_setting('role')"},
		{"prepared", "prepare pool_p as select 1", "select count(*)::text from pg_prepared_statements"},
		{"cursor", "begin; declare pool_c cursor with hold for select 1; commit", "select count(*)::text from pg_cursors"},
		{"temporary table", "create temp table pool_t (a int)", "select coalesce(to_regclass('pg_temp.pool_t')::text, '" + unset + "')"},
		{"listen", "listen pool_channel", "select count(*)::text from pg_listening_channels()"},
		{"advisory lock", "select pg_advisory_lock(4711)", "select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"},
		{"sequence", "select nextval('pool_seq')", "select case when (select last_value from pool_seq) > 0 then 'x' end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fresh := connect(t, s.DSN("app_rw", pgDatabase(t))+"&application_name=&timezone=UTC")
			backend(t, fresh) // which pgx prepares
			want := text(t, fresh, tt.look)
			a := connect(t, p.dsn("application_name=", "timezone=UTC"))
			pid := backend(t, a)
			if _, err := a.Exec(context.Background(), tt.first, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			leave(t, a)
			p.settled()
			b := connect(t, p.dsn("application_name=", "timezone=UTC"))
			if backend(t, b) != pid {
				t.Fatalf("another session serves: %v", p.discards())
			}
			if got := text(t, b, tt.look); got != want {
				t.Errorf("the second client sees %q, a fresh one %q", got, want)
			}
			if tt.name == "sequence" {
				if _, err := b.Exec(context.Background(), "select currval('pool_seq')"); code(err) != "55000" {
					t.Errorf("currval of the first client: %v", err)
				}
			}
			leave(t, b)
			p.settled()
		})
	}
}

func text(t testing.TB, c *pgx.Conn, sql string) string {
	t.Helper()
	var v string
	if err := c.QueryRow(context.Background(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func code(err error) string {
	if e, ok := err.(*pgconn.PgError); ok {
		return e.Code
	}
	return ""
}

// What a client leaves in the middle is closed, and what may have left something.
func TestPoolDiscards(t *testing.T) {
	p := pooled(t, server(t).Addr(), nil)
	ctx := context.Background()
	for _, tt := range []struct {
		name, why string
		do        func(*pgx.Conn)
	}{
		{"state", "state", func(c *pgx.Conn) { c.Exec(ctx, "select /*stays*/ setseed(0.5)") }},
		{"only prepared", "state", func(c *pgx.Conn) { c.Prepare(ctx, "x", "select /*stays*/ 1") }},
		{"by EXECUTE", "state", func(c *pgx.Conn) {
			c.Exec(ctx, "prepare x as select /*stays*/ 1", pgx.QueryExecModeSimpleProtocol)
		}},
		{"open transaction", "midway", func(c *pgx.Conn) { c.Exec(ctx, "begin") }},
		{"failed transaction", "midway", func(c *pgx.Conn) { c.Exec(ctx, "begin"); c.Exec(ctx, "select 1/0") }},
		{"cancelled", "cancelled", func(c *pgx.Conn) {
			go func() { time.Sleep(100 * time.Millisecond); c.PgConn().CancelRequest(ctx) }()
			if _, err := c.Exec(ctx, "select pg_sleep(10)"); code(err) != "57014" {
				t.Errorf("not cancelled: %v", err)
			}
		}},
		{"row limit", "cancelled", func(c *pgx.Conn) {
			c.Exec(ctx, "select /*rows=10*/ g from generate_series(1, 1000000) g", pgx.QueryExecModeSimpleProtocol)
		}},
		{"time limit", "cancelled", func(c *pgx.Conn) {
			if _, err := c.Exec(ctx, "select /*millis=50*/ pg_sleep(10)"); code(err) != "57014" {
				t.Errorf("not limited: %v", err)
			}
		}},
		{"notified", "reset", func(c *pgx.Conn) {
			c.Exec(ctx, "listen pool_n")
			server(t).Exec(t, pgDatabase(t), "notify pool_n")
			time.Sleep(50 * time.Millisecond)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := p.discards()[tt.why]
			c := connect(t, p.dsn())
			tt.do(c)
			c.Close(ctx)
			if n := p.settled(); n != 0 && tt.name != "notified" {
				t.Errorf("%d sessions are kept", n)
			}
			if tt.name == "notified" && p.srv.Stats.PoolIdle.Load() == 1 {
				// It was told to the first client, which is as good.
				d := connect(t, p.dsn())
				if n, err := d.WaitForNotification(short(t)); err == nil {
					t.Errorf("the second client is told %v", n)
				}
				p.srv.FlushPool()
				return
			}
			if got := p.discards()[tt.why]; got != before+1 {
				t.Errorf("discarded: %v", p.discards())
			}
		})
	}
}

func short(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// Clients that just go, at whatever point.
func TestPoolClientGone(t *testing.T) {
	p := pooled(t, server(t).Addr(), nil)
	for _, tt := range []struct {
		name string
		send []byte
		kept int64
	}{
		{"idle", nil, 1},
		{"in a query", query("select pg_sleep(0.2)"), 0},
		{"in a COPY", query("copy (select 1) to stdout; begin; create temp table x (a int); copy x from stdin"), 0},
		{"in a message", query("select 1")[:9], 0},
		{"in a batch", join(parse("", "select 1"), flushMsg()), 0},
		{"with Terminate behind a query", join(query("select pg_sleep(0.1)"), terminate()), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, p.dsn())
			hijacked, err := c.PgConn().Hijack()
			if err != nil {
				t.Fatal(err)
			}
			hijacked.Conn.Write(tt.send)
			time.Sleep(50 * time.Millisecond)
			hijacked.Conn.Close()
			if n := p.settled(); n != tt.kept {
				t.Errorf("%d sessions are kept, want %d; discarded: %v", n, tt.kept, p.discards())
			}
			p.srv.FlushPool()
		})
	}
}

// Who differs in anything shares nothing.
func TestPoolKey(t *testing.T) {
	s := server(t)
	if err := s.CreateDatabase("wire2"); err != nil && !strings.Contains(err.Error(), "exists") {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var subject string
	var settings []postgres.Setting
	p := pooled(t, s.Addr(), func(p *proxy) {
		config := p.config
		p.config = func(st *postgres.Startup, cfg *postgres.SessionConfig) *protocol.Refusal {
			config(st, cfg)
			mu.Lock()
			defer mu.Unlock()
			mine := subject
			cfg.Pool.Key = func() string { return mine }
			cfg.Settings = settings
			return nil
		}
	})
	base := p.dsn("application_name=x")
	for _, tt := range []struct {
		name, dsn, subject string
		settings           []postgres.Setting
		alike              bool
	}{
		{"nothing", base, "", nil, true},
		{"subject", base, "other", nil, false},
		{"audit", base, "", []postgres.Setting{{Name: "application_name", Value: "bob"}}, false},
		{"application name", p.dsn("application_name=y"), "", nil, false},
		{"one more setting", base + "&timezone=UTC", "", nil, false},
		{"options", base + "&options=-c%20datestyle%3DGerman", "", nil, false},
		{"user", strings.Replace(base, "app_rw", "agent_col", 1), "", nil, false},
		{"database", strings.Replace(base, "/wire?", "/wire2?", 1), "", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.srv.FlushPool()
			mu.Lock()
			subject, settings = "", nil
			mu.Unlock()
			a := connect(t, base)
			pid := backend(t, a)
			leave(t, a)
			p.settled()
			mu.Lock()
			subject, settings = tt.subject, tt.settings
			mu.Unlock()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			b, err := pgx.Connect(ctx, tt.dsn)
			if err != nil {
				t.Fatal(err)
			}
			if (backend(t, b) == pid) != tt.alike {
				t.Errorf("shared is %v", !tt.alike)
			}
			leave(t, b)
			p.settled()
		})
	}
}

// A session that the server closes while it waits is not handed out, and neither is one
// that is too old or belongs to rules that are gone.
func TestPoolForgets(t *testing.T) {
	s := server(t)
	var age atomic.Int64
	age.Store(int64(time.Hour))
	p := pooled(t, s.Addr(), func(p *proxy) {
		config := p.config
		p.config = func(st *postgres.Startup, cfg *postgres.SessionConfig) *protocol.Refusal {
			config(st, cfg)
			cfg.Pool.Age, cfg.Pool.Idle, cfg.Pool.Max = time.Duration(age.Load()), time.Second, 2
			return nil
		}
	})
	keep := func() uint32 {
		c := connect(t, p.dsn())
		pid := backend(t, c)
		leave(t, c)
		p.settled()
		return pid
	}
	wait := func(why string) {
		t.Helper()
		before := p.discards()[why]
		for range 600 {
			if p.discards()[why] > before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("not discarded as %s: %v", why, p.discards())
	}
	pid := keep()
	go s.TryExec("postgres", fmt.Sprintf("select pg_terminate_backend(%d)", pid))
	wait("lost")
	if next := keep(); next == pid {
		t.Error("a session that the server has closed serves")
	}
	wait("idle")
	pid = keep()
	age.Store(1)
	if keep() == pid {
		t.Error("a session that is too old serves")
	}
	age.Store(int64(time.Hour))
	pid = keep()
	p.srv.FlushPool()
	if keep() == pid {
		t.Error("a session of rules that are gone serves")
	}
	c := connect(t, p.dsn())
	backend(t, c)
	p.srv.FlushPool()
	leave(t, c)
	if n := p.settled(); n != 0 {
		t.Errorf("%d sessions are kept that began under other rules", n)
	}
	var all []*pgx.Conn
	for range 5 {
		all = append(all, connect(t, p.dsn()))
	}
	for _, c := range all {
		leave(t, c)
	}
	if n := p.settled(); n != 2 {
		t.Errorf("%d sessions alike are kept, want 2", n)
	}
}

// The server restarts while sessions wait: the next client gets a login of its own.
func TestPoolServerRestarts(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	p := pooled(t, s.Addr(), nil)
	dsn := strings.Replace(p.dsn(), "/wire?", "/postgres?", 1)
	for range 3 {
		c := connect(t, dsn)
		backend(t, c)
		leave(t, c)
		if n := p.settled(); n != 1 {
			t.Fatalf("%d sessions are kept: %v", n, p.discards())
		}
		// What a restart is to those that wait.
		if _, err := s.Query("postgres", "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app_rw'"); err != nil {
			t.Fatal(err)
		}
	}
}

// A database with a trigger for logins is not for pooling.
func TestPoolLoginTrigger(t *testing.T) {
	s := server(t)
	if err := s.CreateDatabase("pool_login"); err != nil && !strings.Contains(err.Error(), "exists") {
		t.Fatal(err)
	}
	err := s.TryExec("pool_login", `create or replace function hello() returns event_trigger language plpgsql as 'begin end';
		drop event trigger if exists hello; create event trigger hello on login execute function hello()`)
	if err != nil {
		t.Logf("this server has no trigger for logins, so there is nothing to tell apart: %v", err)
		return
	}
	p := pooled(t, s.Addr(), nil)
	c := connect(t, strings.Replace(p.dsn(), "/wire?", "/pool_login?", 1))
	backend(t, c)
	leave(t, c)
	if n := p.settled(); n != 0 || p.discards()["trigger"] != 1 {
		t.Errorf("%d sessions are kept, discarded: %v", n, p.discards())
	}
}

// With TLS on either side.
func TestPoolTLS(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{TLS: true})
	upstream, err := postgres.UpstreamTLS("require", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := leaf(t)
	for _, tt := range []struct{ client, server bool }{{true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("client %v server %v", tt.client, tt.server), func(t *testing.T) {
			p := pooled(t, s.Addr(), func(p *proxy) {
				config := p.config
				p.config = func(st *postgres.Startup, cfg *postgres.SessionConfig) *protocol.Refusal {
					config(st, cfg)
					if tt.server {
						cfg.TLS = upstream
					}
					return nil
				}
				if tt.client {
					p.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
				}
			})
			dsn := strings.Replace(p.dsn(), "/wire?", "/postgres?", 1)
			if tt.client {
				dsn = strings.Replace(dsn, "sslmode=disable", "sslmode=require", 1)
			}
			var pid uint32
			for i := range 5 {
				c := connect(t, dsn)
				if now := backend(t, c); i > 0 && now != pid {
					t.Fatalf("client %d has another session: %v", i, p.discards())
				} else {
					pid = now
				}
				leave(t, c)
				p.settled()
			}
		})
	}
}

// Many clients leave things behind, and look whether they find any.
func TestPoolVirgins(t *testing.T) {
	p := pooled(t, server(t).Addr(), nil)
	const virgin = `select concat_ws(' ', current_setting('statement_timeout'), current_setting('search_path'), current_user,
		(select count(*) from pg_prepared_statements where name not like 'sluice%'), (select count(*) from pg_cursors where name like 'soak%'),
		(select count(*) from pg_listening_channels()), (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
		to_regclass('pg_temp.soak'), current_setting('datestyle'), current_setting('default_transaction_isolation'))`
	fresh := connect(t, server(t).DSN("app_rw", pgDatabase(t)))
	want := text(t, fresh, virgin)
	dirt := []string{
		"set statement_timeout = '9s'", "set search_path = pg_catalog, pg_temp", "prepare soak as select 1",
		"begin; declare soak cursor with hold for select generate_series(1, 10); commit", "listen soak",
		"select pg_advisory_lock(1 + (random() * 1e6)::int)", "create temp table soak (a int)", "set datestyle = 'SQL'",
		"begin", "begin; select 1/0", "select /*rows=3*/ generate_series(1, 100000)", "select /*stays*/ set_config('soak.it', '1', false)",
		"copy (select generate_series(1, 1000)) to stdout", "set default_transaction_isolation = 'serializable'", "select 1",
	}
	var wg sync.WaitGroup
	end := time.Now().Add(3 * time.Second)
	for worker := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(worker), 7))
			for n := 0; time.Now().Before(end); n++ {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				c, err := pgconn.Connect(ctx, p.dsn())
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				rows, err := c.Exec(ctx, virgin).ReadAll()
				if err != nil || len(rows) != 1 || string(rows[0].Rows[0][0]) != want {
					t.Errorf("client %d of worker %d sees %q, %v; want %q", n, worker, rows[0].Rows, err, want)
				}
				for range rnd.IntN(3) {
					sql := dirt[rnd.IntN(len(dirt))]
					if rnd.IntN(6) == 0 { // and goes without waiting
						hijacked, err := c.Hijack()
						if err == nil {
							hijacked.Conn.Write(query(sql))
							hijacked.Conn.Close()
						}
						break
					}
					if rnd.IntN(8) == 0 {
						go c.CancelRequest(ctx)
					}
					c.Exec(ctx, sql).ReadAll()
				}
				if !c.IsClosed() {
					c.Close(ctx)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	p.settled()
	st := &p.srv.Stats
	t.Logf("hits %d, misses %d, discarded %v", st.PoolHits.Load(), st.PoolMisses.Load(), p.discards())
	if st.PoolHits.Load() < 20 {
		t.Errorf("only %d clients were served by a kept session", st.PoolHits.Load())
	}
}

// A login that begins in a role of its own does so with every client.
func TestPoolRoleOfLogin(t *testing.T) {
	s := server(t)
	s.Exec(t, pgDatabase(t), `do $$ begin if not exists (select from pg_roles where rolname = 'pool_login') then
		create role pool_inner; create role pool_login login; grant pool_inner to pool_login; end if; end $$;
		alter role pool_login set role = 'pool_inner'`)
	p := pooled(t, s.Addr(), nil)
	dsn := strings.Replace(p.dsn(), "app_rw", "pool_login", 1)
	for i := range 4 {
		c := connect(t, dsn)
		if got := text(t, c, "select session_user || ' ' || current_user || ' ' || current_setting('role')"); got != "pool_login pool_inner pool_inner" {
			t.Errorf("client %d: %s", i, got)
		}
		if _, err := c.Exec(context.Background(), []string{"reset all", "set role none", "set session authorization default", "select 1"}[i], pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Error(err)
		}
		leave(t, c)
		p.settled()
	}
	if n := p.srv.Stats.PoolHits.Load(); n != 3 {
		t.Errorf("%d of 4 clients had a kept session", n)
	}
}

// The search path that a session begins with need not be asked for again, unless names
// may have come to resolve differently.
func TestPoolPath(t *testing.T) {
	var names atomic.Int64
	p := pooled(t, server(t).Addr(), func(p *proxy) {
		config := p.config
		p.config = func(st *postgres.Startup, cfg *postgres.SessionConfig) *protocol.Refusal {
			config(st, cfg)
			cfg.Pool.Names = func() any { return names.Load() }
			return nil
		}
	})
	ctx := context.Background()
	for i, tt := range []struct {
		names int64
		first string // runs before
		asked bool
	}{
		{1, "", true}, {1, "", false}, {1, "set search_path = pg_catalog", true}, {1, "", false},
		{2, "set search_path = pg_catalog", true}, {2, "", true}, {2, "", false}, {3, "", true},
	} {
		names.Store(tt.names)
		c := connect(t, p.dsn())
		if tt.first != "" {
			if _, err := c.Exec(ctx, tt.first, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
		}
		sql := fmt.Sprintf("select /*named*/ %d", i)
		if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		want := "[pg_catalog public]"
		if tt.first != "" {
			want = "[pg_catalog]"
		}
		log := p.gate.log()
		if !strings.Contains(log, "judge "+sql+" path="+want) {
			t.Errorf("client %d: judged under another path than %s:\n%s", i, want, log)
		}
		if asked := strings.Contains(log, "judge "+sql+" path=[]"); asked != tt.asked {
			t.Errorf("client %d: asked is %v", i, asked)
		}
		leave(t, c)
		if p.settled() != 1 {
			t.Fatalf("not kept: %v", p.discards())
		}
	}
}
