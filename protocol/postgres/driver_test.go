package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/lib/pq"

	"sluicegate.io/sluice/test/pgtest"
)

func TestPgx(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			ctx := t.Context()
			conn := connect(t, p.dsn("default_query_exec_mode="+mode))
			if _, err := conn.Exec(ctx, "create temp table t(a int primary key, b text)"); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				var n int
				if err := conn.QueryRow(ctx, "select $1::int + 1", 41).Scan(&n); err != nil || n != 42 {
					t.Errorf("%d %v", n, err)
				}
			}
			batch := &pgx.Batch{}
			for i := range 300 {
				batch.Queue("insert into t values ($1, $2)", i, fmt.Sprint(i))
			}
			batch.Queue("select count(*) from t")
			if err := conn.SendBatch(ctx, batch).Close(); err != nil {
				t.Fatal(err)
			}
			n, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
				return []any{1000 + i, strings.Repeat("x", 100)}, nil
			}))
			if err != nil || n != 5000 {
				t.Errorf("copied %d %v", n, err)
			}
			var pe *pgconn.PgError
			_, err = conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) { return []any{1, "twice"}, nil }))
			if !errors.As(err, &pe) || pe.Code != "23505" {
				t.Errorf("got %v", err)
			}
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(ctx, "select /*deny*/ 1"); !errors.As(err, &pe) || pe.Code != "42501" || pe.Hint != "ask nicely" || pe.Detail != "rule t/deny" {
				t.Errorf("got %v", err)
			}
			if err := tx.Commit(ctx); !errors.Is(err, pgx.ErrTxCommitRollback) {
				t.Errorf("commit of a refused transaction: %v", err)
			}
			rows, err := conn.Query(ctx, "select a, b from t order by a")
			if err != nil {
				t.Fatal(err)
			}
			k := 0
			for rows.Next() {
				k++
			}
			if rows.Err() != nil || k != 5300 {
				t.Errorf("%d rows %v", k, rows.Err())
			}
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			if _, err := conn.Exec(short, "select pg_sleep(10)"); err == nil {
				t.Error("not cancelled")
			}
		})
	}
}

func TestPq(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	db, err := sql.Open("postgres", p.dsn())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	st, err := db.Prepare("select $1::text, generate_series(1, 3)")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := st.Query("x")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		n++
	}
	st.Close()
	if n != 3 || rows.Err() != nil {
		t.Errorf("%d %v", n, rows.Err())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := db.ExecContext(ctx, "select pg_sleep(10)"); err == nil || time.Since(begun) > 2*time.Second {
		t.Errorf("cancel: %v after %v", err, time.Since(begun))
	}
	if p.srv.Stats.Cancels.Load() == 0 {
		t.Error("no cancel was forwarded")
	}
}

func TestPsql(t *testing.T) {
	bin, err := pgtest.Bin()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, server(t).Addr(), nil)
	script := `\set ON_ERROR_STOP 0
select 1 as one;
\d pg_class
begin; select 1/0; commit;
create temp table t(a int);
\copy t from program 'seq 1 1000'
select sum(a) from t;
\copy t to '/dev/null'
select 2 \bind \g
\gdesc
select 'x' as "A" \gset
\echo :A
`
	run := func(dsn string) string {
		cmd := exec.Command(filepath.Join(bin, "psql"), "-X", "-q", dsn)
		cmd.Stdin = strings.NewReader(script)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	want := run(server(t).DSN("app_rw", pgDatabase(t)))
	if got := run(p.dsn()); got != want || !strings.Contains(got, "500500") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestCancel checks that only the right key of the right scope cancels.
func TestCancel(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	conn := connect(t, p.dsn())
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "select pg_sleep(3)")
		failed <- err
	}()
	time.Sleep(50 * time.Millisecond)
	key := conn.PgConn().SecretKey()
	send := func(pid uint32, key []byte) {
		c, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(msg(0, 1234<<16|5678, int(pid), key))
		io.Copy(io.Discard, c)
	}
	wrong := append([]byte(nil), key...)
	wrong[0] ^= 1
	send(conn.PgConn().PID(), wrong)
	send(conn.PgConn().PID()+1, key)
	select {
	case err := <-failed:
		t.Fatalf("cancelled by a wrong key: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	send(conn.PgConn().PID(), key)
	var pe *pgconn.PgError
	if err := <-failed; !errors.As(err, &pe) || pe.Code != "57014" {
		t.Errorf("got %v", err)
	}
	if n := p.srv.Stats.CancelsIgnored.Load(); n != 2 {
		t.Errorf("%d ignored", n)
	}
}

func TestServerDies(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	t.Run("terminated", func(t *testing.T) {
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(query("select pg_backend_pid()"))
		pid := 0
		for line := range strings.Lines(r.until('Z')) {
			fmt.Sscanf(strings.TrimLeft(strings.TrimPrefix(line, "D "), "\x00\x01\x02\x03\x04\x05\x06\x07 "), "%d", &pid)
		}
		if err := server(t).TryExec(pgDatabase(t), fmt.Sprintf("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_rw' and pid = %d", pid)); err != nil {
			t.Fatal(err)
		}
		if got := r.until('Z'); !strings.HasPrefix(got, "E FATAL 57P01") || !strings.HasSuffix(got, "EOF") {
			t.Errorf("got %s", got)
		}
	})
	t.Run("middle of a result", func(t *testing.T) {
		var up *os.File
		p := start(t, server(t).Addr(), func(p *proxy) {
			dial := p.dial
			p.dial = func(ctx context.Context) (c net.Conn, err error) {
				c, err = dial(ctx)
				up, _ = c.(*net.TCPConn).File()
				return
			}
		})
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(query("select repeat('x', 100) from generate_series(1, 10000000)"))
		r.next()
		r.next()
		syscall.Shutdown(int(up.Fd()), syscall.SHUT_RDWR)
		up.Close()
		if got := r.until('Z'); !strings.Contains(got, "08006") && !strings.HasSuffix(got, "EOF") && !strings.Contains(got, "error") {
			t.Errorf("got %s", got[len(got)-200:])
		}
	})
	t.Run("agent stops", func(t *testing.T) {
		p := start(t, server(t).Addr(), nil)
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		p.cancel()
		if got := r.until('Z'); got != "E FATAL 57P01 terminating connection: Sluice is stopping\nEOF" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("client stops reading", func(t *testing.T) {
		p := start(t, server(t).Addr(), func(p *proxy) { p.gate.quiet = true })
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(query("select repeat('x', 1000) from generate_series(1, 10000000)"))
		time.Sleep(300 * time.Millisecond)
		p.cancel()
	})
	t.Run("client leaves a limited statement", func(t *testing.T) {
		p := start(t, server(t).Addr(), nil)
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(query("/*millis=60000*/ select pg_sleep(60)"))
		time.Sleep(50 * time.Millisecond)
		r.conn.(*net.TCPConn).SetLinger(0)
		r.conn.Close()
		select {
		case <-p.errs:
		case <-time.After(5 * time.Second):
			t.Error("the session did not end")
		}
	})
	t.Run("half-closed", func(t *testing.T) {
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(query("select pg_sleep(0.1), 7"))
		r.conn.(*net.TCPConn).CloseWrite()
		if got := r.until('X'); !strings.Contains(got, "C SELECT 1") || !strings.HasSuffix(got, "EOF") {
			t.Errorf("got %s", got)
		}
	})
}

// TestReset resets the client's connection after each prefix of an exchange.
func TestReset(t *testing.T) {
	p := start(t, server(t).Addr(), func(p *proxy) { p.gate.quiet = true })
	for _, e := range exchanges {
		if len(e.send) > 400 {
			continue
		}
		for cut := 1; cut < len(e.send); cut += 1 + len(e.send)/12 {
			r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
			r.send(e.send[:cut])
			if cut%2 == 0 {
				r.conn.(*net.TCPConn).SetLinger(0)
			}
			r.conn.Close()
		}
	}
}
