package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/test/oidc"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// doors are a server behind three Databases, one for each clientAuth, by the last
// number of its address.
type doors struct {
	fixture
	provider *oidc.Provider
}

var door = map[string]string{"trust": "127.0.0.1", "scram": "127.0.0.2", "token": "127.0.0.3"}

const placeholder = "known-to-sluice"

func openDoors(t *testing.T) *doors {
	t.Helper()
	d := &doors{provider: oidc.Start(t)}
	d.server = pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256", Listen: "127.0.0.1,127.0.0.2,127.0.0.3"})
	d.db, d.metrics = d.server.Database(t), freeAddress(t)
	file := filepath.Join(t.TempDir(), "placeholder")
	if err := os.WriteFile(file, []byte(placeholder+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var databases []sluicetest.Database
	for name, address := range door {
		db := sluicetest.Shop(d.server)
		db.Name, db.Endpoint = name, net.JoinHostPort(address, strconv.Itoa(d.server.Port))
		db.Extra += "  clientAuth: " + name + "\n"
		if name == "scram" {
			db.Extra += "  clientPasswordFile: " + file + "\n"
		}
		databases = append(databases, db)
	}
	d.sluice = sluicetest.Start(t, sluicetest.Options{Databases: databases, Policy: sluicetest.CorpusPolicy,
		Agent: fmt.Sprintf("metrics: {listen: \"%s\"}\n  oidc: [{issuer: \"%s\", audience: %s, caFile: %s}]",
			d.metrics, d.provider.URL, oidc.Audience, d.provider.CAFile)})
	return d
}

// python connects with a driver of Python, as a program under Sluice.
func (d *doors) python(t *testing.T, driver, address, password, sslmode string, more ...string) string {
	t.Helper()
	args := append([]string{"login.py", driver, address, strconv.Itoa(d.server.Port), d.db, password, sslmode}, more...)
	return d.command(t, "/usr/bin/python3", nil, args...)
}

func (d *doors) psql(t *testing.T, address, password, params string) string {
	t.Helper()
	out := d.command(t, "psql", []string{"PGPASSWORD=" + password}, "-XAtwc", read,
		fmt.Sprintf("host=%s port=%d user=app_rw dbname=%s %s", address, d.server.Port, d.db, params))
	if out == "Alice" {
		return "ok Alice"
	}
	return out
}

// command returns what a program under Sluice printed, in one line. What Sluice prints at the
// same time is kept out of it.
func (d *doors) command(t *testing.T, name string, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := d.sluice.Command(ctx, "/bin/sh", append([]string{"-c", `exec "$@" 2>&1`, "sh", name}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		t.Fatalf("%s: %v\n%s", name, err, log.String())
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, " ")
}

// pgx connects in this process, on a socket that a workload dialled.
func (d *doors) pgx(address, password, params string) string {
	dsn := fmt.Sprintf("postgres://app_rw:%s@%s:%d/%s?%s", password, address, d.server.Port, d.db, params)
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err.Error()
	}
	cfg.DialFunc = func(ctx context.Context, _, addr string) (net.Conn, error) { return d.sluice.Dial(ctx, addr) }
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, cfg)
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code + " " + e.Message
	} else if err != nil {
		return err.Error()
	}
	defer c.Close(ctx)
	var name string
	if err := c.QueryRow(ctx, read).Scan(&name); err != nil {
		return err.Error()
	}
	return "ok " + name
}

// TestClientAuth has drivers as they are log in at each door, with what opens it and
// with what does not.
func TestClientAuth(t *testing.T) {
	d := openDoors(t)
	good := d.provider.Token(t, nil)
	forged := d.provider.Forged(t, nil)
	expired := d.provider.Token(t, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	real := d.server.Password() // which the server would take, and the door does not
	const ok, wrong, bad = "ok Alice", "password authentication failed", "token was refused"
	for _, tt := range []struct {
		door, password, sslmode, binding, want string
	}{
		{"trust", "anything", "prefer", "", ok},
		{"trust", "", "require", "", ok},
		{"trust", "anything", "require", "require", "channel binding"},
		{"scram", placeholder, "disable", "", ok},
		{"scram", placeholder, "prefer", "", ok},
		{"scram", placeholder, "require", "prefer", ok},
		{"scram", placeholder, "require", "require", ok},
		{"scram", placeholder, "require", "disable", ok},
		{"scram", real, "disable", "", wrong},
		{"scram", real, "require", "require", wrong},
		{"scram", good, "require", "", wrong},
		{"token", good, "require", "", ok},
		{"token", good, "disable", "", ok},
		{"token", expired, "require", "", bad},
		{"token", forged, "require", "", bad},
		{"token", real, "require", "", bad},
		{"token", placeholder, "disable", "", bad},
	} {
		name := fmt.Sprintf("%s/%s/%s/%.8s", tt.door, tt.sslmode, tt.binding, tt.password)
		check := func(driver, got string) {
			t.Helper()
			if got != tt.want && (tt.want == ok || !strings.Contains(got, tt.want)) {
				t.Errorf("%s: %s: got %q, want %q", name, driver, got, tt.want)
			}
			if len(tt.password) > 15 && strings.Contains(got, tt.password) {
				t.Errorf("%s: %s was told the password", name, driver)
			}
		}
		address, params, query := door[tt.door], "sslmode="+tt.sslmode, "sslmode="+tt.sslmode
		var more []string
		if tt.binding != "" {
			params, query = params+" channel_binding="+tt.binding, query+"&channel_binding="+tt.binding
			more = []string{"channel_binding=" + tt.binding}
		}
		check("psql", d.psql(t, address, tt.password, params))
		check("psycopg3", d.python(t, "psycopg", address, tt.password, tt.sslmode, more...))
		check("psycopg2", d.python(t, "psycopg2", address, tt.password, tt.sslmode, more...))
		got := d.pgx(address, tt.password, query)
		check("pgx", got)
		if code := map[string]string{wrong: "28P01", bad: "28000"}[tt.want]; !strings.HasPrefix(got, code) {
			t.Errorf("%s: pgx got %q, want SQLSTATE %s", name, got, code)
		}
		if tt.binding == "" {
			got := d.python(t, "asyncpg", address, tt.password, tt.sslmode)
			check("asyncpg", got)
			if class := map[string]string{wrong: "InvalidPasswordError 28P01", bad: "InvalidAuthorizationSpecificationError 28000"}[tt.want]; !strings.HasPrefix(got, class) {
				t.Errorf("%s: asyncpg got %q, want %s", name, got, class)
			}
		}
	}
}

// TestForeignCredential presents real credentials of others where they open nothing:
// the workload stays who it is, and each is recorded and counted.
func TestForeignCredential(t *testing.T) {
	d := openDoors(t)
	d.server.Exec(t, "postgres", "ALTER ROLE app_su PASSWORD 'of-the-superuser'")
	dsn := func(door, password string) *pgx.ConnConfig {
		cfg, err := pgx.ParseConfig(fmt.Sprintf("postgres://app_su:%s@%s:%d/%s?sslmode=disable", password, door, d.server.Port, d.db))
		if err != nil {
			t.Fatal(err)
		}
		cfg.DialFunc = func(ctx context.Context, _, addr string) (net.Conn, error) { return d.sluice.Dial(ctx, addr) }
		return cfg
	}
	ctx := context.Background()
	// Where nothing is asked, the claim to be a superuser changes nothing.
	c, err := pgx.ConnectConfig(ctx, dsn(door["trust"], "of-the-superuser"))
	if err != nil {
		t.Fatal(err)
	}
	var user string
	if err := c.QueryRow(ctx, "SELECT current_user::text").Scan(&user); err != nil || user != "app_rw" {
		t.Errorf("logged in as %q, %v", user, err)
	}
	if _, err := c.Exec(ctx, "SELECT v FROM app.secrets"); err == nil {
		t.Error("a superuser's name reads what is not granted")
	}
	c.Close(ctx)
	for _, door := range []string{door["scram"], door["token"]} {
		if c, err := pgx.ConnectConfig(ctx, dsn(door, "of-the-superuser")); err == nil {
			c.Close(ctx)
			t.Errorf("a superuser's password opens %s", door)
		}
	}
	eventually(t, "both are counted", func() bool { return d.counted(t, "sluice_foreign_credentials_total") == 2 })
	found := map[string]string{}
	eventually(t, "both are recorded", func() bool {
		dir := filepath.Join(d.sluice.State, "sessions")
		sessions, err := record.Sessions(dir, record.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sessions {
			for e, err := range record.Read(dir, s.ID) {
				if err == nil && e.Notice != nil && e.Notice.Type == "foreign-credential" {
					found[s.Start.Database] = e.Notice.Facts["user"]
				}
			}
		}
		return len(found) == 2
	})
	if found["scram"] != "app_su" || found["token"] != "app_su" {
		t.Errorf("recorded %v", found)
	}
	if strings.Contains(d.sluice.Log(), "of-the-superuser") {
		t.Error("the log has the password")
	}
}

// authority returns what `sluice ca export` says, once there is an agent.
func authority(t *testing.T, s *sluicetest.Sluice) *x509.CertPool {
	t.Helper()
	out, err := s.Run(context.Background(), "ca", "export")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(out) {
		t.Fatalf("no certificate in %q", out)
	}
	return pool
}

// TestDirectTLS begins with a ClientHello, as clients of PostgreSQL 17 may: with ALPN
// it is served, without it is not.
func TestDirectTLS(t *testing.T) {
	d := openDoors(t)
	goesOn(t, d.sluice, d.server.Addr(), d.db)
	pool := authority(t, d.sluice)
	for _, tt := range []struct {
		name  string
		alpn  []string
		sni   string
		serve bool
	}{
		{"postgresql", []string{"postgresql"}, "127.0.0.1", true},
		{"by name", []string{"postgresql"}, "shop-db.internal", true}, // the leaf carries what the client asks for
		{"of several", []string{"h2", "postgresql"}, "127.0.0.1", true},
		{"without", nil, "127.0.0.1", false},
		{"another", []string{"h2"}, "127.0.0.1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := d.sluice.Dial(context.Background(), d.server.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			secured := tls.Client(c, &tls.Config{RootCAs: pool, ServerName: tt.sni, NextProtos: tt.alpn})
			err = secured.Handshake()
			if err == nil && !tt.serve {
				_, err = secured.Read(make([]byte, 1))
				if err == nil {
					t.Error("served")
				}
				return
			}
			if (err == nil) != tt.serve {
				t.Fatalf("handshake: %v", err)
			}
			if err != nil {
				return
			}
			if p := secured.ConnectionState().NegotiatedProtocol; p != "postgresql" {
				t.Errorf("negotiated %q", p)
			}
			w := newWire(t, secured)
			if a := w.login("app_rw", d.db, "placeholder"); a.closed || len(a.codes) > 0 {
				t.Fatalf("login: %v", a)
			}
			if a := w.query(read); a.rows != 1 {
				t.Errorf("query: %v", a)
			}
		})
	}
}
