package postgres_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
	"sluicegate.io/sluice/test/pgtest"
)

// relaying starts a proxy that passes logins through to srv.
func relaying(t *testing.T, srv *pgtest.Server, mode string, weakest postgres.AuthMethod) *proxy {
	t.Helper()
	pem, err := os.ReadFile(srv.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	upstream, err := postgres.UpstreamTLS(mode, "localhost", roots)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := leaf(t)
	return start(t, srv.Addr(), func(p *proxy) {
		p.tls = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
		p.config = func(_ *postgres.Startup, c *postgres.SessionConfig) *protocol.Refusal {
			c.TLS, c.Weakest, c.Passthrough, c.Database = upstream, weakest, true, "postgres"
			// What Sluice holds must not be used.
			c.Auth = secret{"app_rw", "this is not asked for"}
			return nil
		}
	})
}

// psql asks who it is and returns the answer, or the first line of what went wrong.
func psql(t *testing.T, p *proxy, params, password string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, port, _ := net.SplitHostPort(p.ln.Addr().String())
	cmd := exec.CommandContext(ctx, "psql", "-XAtw", "-c", "select current_user", "host=127.0.0.1 port="+port+" user=app_rw dbname=postgres "+params)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatalf("psql: %v", err)
	}
	if password != "" && strings.Contains(string(out), password) {
		t.Errorf("psql was told the password: %s", out)
	}
	return strings.TrimSpace(string(out))
}

// Each way in which a server asks, with each way in which psql connects.
func TestPassthrough(t *testing.T) {
	const password = pgtest.DefaultPassword
	for _, method := range []string{"scram-sha-256", "md5", "password", "reject"} {
		srv := pgtest.Start(t, pgtest.Options{Auth: method, TLS: true})
		for _, mode := range []string{"disable", "require", "verify-full"} {
			for _, weakest := range []postgres.AuthMethod{postgres.AuthSCRAM, postgres.AuthMD5, postgres.AuthPassword} {
				if weakest > postgres.AuthSCRAM && (method == "scram-sha-256" || method == "reject") {
					continue // it makes no difference to these
				}
				p := relaying(t, srv, mode, weakest)
				for _, params := range []string{"sslmode=disable", "sslmode=prefer", "sslmode=require", "sslmode=require channel_binding=disable", "sslmode=require channel_binding=require"} {
					want := "app_rw"
					switch {
					case method == "reject":
						want = "pg_hba.conf rejects connection"
					case method == "scram-sha-256" && mode != "disable" && params == "sslmode=require":
						want = "SCRAM channel binding cannot pass Sluice"
					case method == "md5" && weakest < postgres.AuthMD5:
						want = "asks for an md5 password"
					case method == "password" && (weakest < postgres.AuthPassword || mode != "verify-full"):
						want = "asks for a clear-text password"
					case strings.HasSuffix(params, "binding=require"):
						want = "channel binding" // libpq itself says so, in one way or another
					}
					name := fmt.Sprintf("%s/%s/%d/%s", method, mode, weakest, params)
					if got := psql(t, p, params, password); !strings.Contains(got, want) || want == "app_rw" && got != want {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
					if want != "app_rw" {
						continue
					}
					if got := psql(t, p, params, "not-the-password"); !strings.Contains(got, `password authentication failed for user "app_rw"`) {
						t.Errorf("%s: with a wrong password: %q", name, got)
					}
				}
			}
		}
	}
}

// pgx says for itself that it could bind, and falls back as libpq does.
func TestPassthroughPgx(t *testing.T) {
	srv := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256", TLS: true})
	p := relaying(t, srv, "verify-full", postgres.AuthSCRAM)
	for params, ok := range map[string]bool{
		"sslmode=disable": true, "sslmode=require": false, "sslmode=require&channel_binding=disable": true,
		"sslmode=require&channel_binding=require": false,
	} {
		dsn := strings.Replace(strings.Replace(p.dsn(params), "sslmode=disable&", "", 1), "placeholder", pgtest.DefaultPassword, 1)
		conn, err := pgx.Connect(t.Context(), dsn)
		if (err == nil) != ok {
			t.Errorf("%s: %v", params, err)
		}
		if err == nil {
			var who string
			if err := conn.QueryRow(t.Context(), "select current_user").Scan(&who); err != nil || who != "app_rw" {
				t.Errorf("%s: %q, %v", params, who, err)
			}
			conn.Close(t.Context())
		}
	}
}

// A server that lets everybody in does so by who connects: over a unix socket that is Sluice.
func TestPassthroughUnasked(t *testing.T) {
	srv := pgtest.Start(t, pgtest.Options{TLS: true}) // trust
	p := relaying(t, srv, "disable", postgres.AuthMD5)
	if got := psql(t, p, "", "anything"); got != "app_rw" {
		t.Errorf("trust over TCP: %q", got)
	}
	socket := filepath.Join(srv.Dir, fmt.Sprintf(".s.PGSQL.%d", srv.Port))
	q := start(t, srv.Addr(), func(p *proxy) {
		p.dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		p.config = func(_ *postgres.Startup, c *postgres.SessionConfig) *protocol.Refusal {
			c.Passthrough, c.User, c.Database = true, pgtest.Superuser, "postgres"
			return nil
		}
	})
	if got := psql(t, q, "", "anything"); !strings.Contains(got, "without asking for the workload's credential") {
		t.Errorf("over a unix socket: %q", got)
	}
}

// What is no message of a login goes no further.
func TestPassthroughBadAnswers(t *testing.T) {
	sasl := func(mechanism, text string) []byte {
		return msg('p', mechanism, len(text), []byte(text))
	}
	servers := map[string]*pgtest.Server{}
	for _, method := range []string{"md5", "scram-sha-256"} {
		servers[method] = pgtest.Start(t, pgtest.Options{Auth: method, TLS: true})
	}
	proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, tt := range []struct {
		name, method string
		answers      [][]byte
		want         string
	}{
		{"another message", "md5", [][]byte{query("select 1")}, "08P01 invalid password packet"},
		{"clear password for md5", "md5", [][]byte{msg('p', "secret")}, "08P01 the answer to the database's"},
		{"two strings", "md5", [][]byte{msg('p', "md5"+strings.Repeat("0", 32), "x")}, "08P01 the answer"},
		{"too long", "md5", [][]byte{{'p', 0, 2, 0, 0}}, "08P01 invalid password packet"},
		{"wrong hash", "md5", [][]byte{msg('p', "md5"+strings.Repeat("0", 32))}, "28P01"},
		{"mechanism that was not offered", "scram-sha-256", [][]byte{sasl("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc")}, "08P01 malformed SCRAM"},
		{"another user to act as", "scram-sha-256", [][]byte{sasl("SCRAM-SHA-256", "n,a=postgres,n=,r=abc")}, "08P01 malformed SCRAM"},
		{"no nonce", "scram-sha-256", [][]byte{sasl("SCRAM-SHA-256", "n,,n=")}, "08P01 malformed SCRAM"},
		{"extension", "scram-sha-256", [][]byte{sasl("SCRAM-SHA-256", "n,,m=x,n=,r=abc")}, "08P01 malformed SCRAM"},
		{"length of more", "scram-sha-256", [][]byte{msg('p', "SCRAM-SHA-256", 100, []byte("n,,n=,r=abc"))}, "08P01 malformed SCRAM"},
		{"another nonce", "scram-sha-256", [][]byte{sasl("SCRAM-SHA-256", "n,,n=,r=abc"), msg('p', []byte("c=biws,r=abcd,p="+proof))}, "08P01 malformed SCRAM"},
		{"another header", "scram-sha-256", [][]byte{sasl("SCRAM-SHA-256", "n,,n=,r=abc"), msg('p', []byte("c=eSws,r=abc,p="+proof))}, "08P01 malformed SCRAM"},
		{"no proof", "scram-sha-256", [][]byte{sasl("SCRAM-SHA-256", "n,,n=,r=abc"), msg('p', []byte("c=biws,r=abc"))}, "08P01 malformed SCRAM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := relaying(t, servers[tt.method], "disable", postgres.AuthMD5)
			conn, err := net.Dial("tcp", p.ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r := &raw{t, conn}
			r.send(msg(0, 3<<16, "user", "app_rw", "database", "postgres", []byte{0}))
			for _, a := range tt.answers {
				if kind, got, err := r.next(); kind != 'R' {
					t.Fatalf("got %s %v", got, err)
				}
				r.send(a)
			}
			if _, got, err := r.next(); !strings.HasPrefix(got, "E FATAL "+tt.want) {
				t.Errorf("got %s %v, want %s", got, err, tt.want)
			}
		})
	}
}

// A client that goes away, or a server that never shows that it knows the password, ends a login.
func TestPassthroughEnds(t *testing.T) {
	srv := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256", TLS: true})
	p := relaying(t, srv, "disable", postgres.AuthMD5)
	conn, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{t, conn}
	r.send(msg(0, 3<<16, "user", "app_rw", "database", "postgres", []byte{0}))
	r.next()
	conn.Close()
	select {
	case err := <-p.errs:
		if err == nil || !strings.Contains(err.Error(), "the client closed the connection") {
			t.Errorf("after the client went: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the session of a client that went goes on")
	}
	impostor := listen(t, func(c net.Conn) {
		defer c.Close()
		r := &raw{t, c}
		c.Read(make([]byte, 1000))
		r.send(msg('R', 10, "SCRAM-SHA-256", []byte{0}))
		r.next()
		r.send(msg('R', 0))
		c.Read(make([]byte, 1))
	})
	q := start(t, impostor, func(p *proxy) {
		p.config = func(_ *postgres.Startup, c *postgres.SessionConfig) *protocol.Refusal {
			c.Passthrough = true
			return nil
		}
	})
	if got := psql(t, q, "sslmode=disable", "secret"); !strings.Contains(got, "could not prove that it knows the credential") {
		t.Errorf("a server that shows nothing: %q", got)
	}
}
