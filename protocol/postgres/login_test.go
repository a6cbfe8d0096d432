package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
	"sluicegate.io/sluice/test/pgtest"
)

// secret is an Authenticator that simply has the password.
type secret struct{ user, password string }

func (s secret) SCRAM(_ context.Context, salt []byte, iterations int, message []byte) (proof, signature []byte, err error) {
	salted, err := pbkdf2.Key(sha256.New, s.password, salt, iterations, sha256.Size)
	if err != nil {
		return nil, nil, err
	}
	client := mac(salted, "Client Key")
	stored := sha256.Sum256(client)
	proof = mac(stored[:], string(message))
	for i := range proof {
		proof[i] ^= client[i]
	}
	return proof, mac(mac(salted, "Server Key"), string(message)), nil
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

func (s secret) MD5(_ context.Context, salt [4]byte) (string, error) {
	inner := md5.Sum([]byte(s.password + s.user))
	outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt[:]...))
	return "md5" + hex.EncodeToString(outer[:]), nil
}

func (s secret) Cleartext(context.Context) (string, error) { return s.password, nil }

// verifier returns what a SCRAM server keeps of password.
func verifier(password string) *postgres.Verifier {
	salt := []byte("0123456789abcdef")
	salted, _ := pbkdf2.Key(sha256.New, password, salt, 4096, sha256.Size)
	stored := sha256.Sum256(mac(salted, "Client Key"))
	return &postgres.Verifier{Salt: salt, Iterations: 4096, StoredKey: stored[:], ServerKey: mac(salted, "Server Key")}
}

func TestLogin(t *testing.T) {
	const password = pgtest.DefaultPassword
	for _, method := range []string{"scram-sha-256", "md5", "password", "trust", "reject"} {
		srv := pgtest.Start(t, pgtest.Options{Auth: method, TLS: true})
		for _, mode := range []string{"disable", "require", "verify-ca", "verify-full"} {
			t.Run(method+"/"+mode, func(t *testing.T) {
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
				secretly := secret{"app_rw", password}
				p := start(t, srv.Addr(), func(p *proxy) {
					p.config = func(s *postgres.Startup, c *postgres.SessionConfig) *protocol.Refusal {
						c.TLS, c.Auth, c.Weakest = upstream, secretly, postgres.AuthPassword
						c.Database = "postgres"
						return nil
					}
				})
				conn, err := pgx.Connect(t.Context(), p.dsn())
				clear := method == "password" && (mode == "disable" || mode == "require") // not verified
				if method == "reject" || clear {
					var pe *pgconn.PgError
					if !errors.As(err, &pe) || !strings.HasPrefix(pe.Code, "28") || strings.Contains(err.Error(), password) {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				var ssl bool
				if err := conn.QueryRow(t.Context(), "select ssl from pg_stat_ssl where pid = pg_backend_pid()").Scan(&ssl); err != nil || ssl != (mode != "disable") {
					t.Errorf("ssl %v, %v", ssl, err)
				}
				conn.Close(t.Context())
				if method == "trust" {
					return
				}
				secretly.password = "wrong-and-secret"
				_, err = pgx.Connect(t.Context(), p.dsn())
				var pe *pgconn.PgError
				if !errors.As(err, &pe) || pe.Code != "28P01" && pe.Code != "28000" || strings.Contains(err.Error(), "wrong-and-secret") || !strings.Contains(err.Error(), "Sluice") {
					t.Errorf("with a wrong password: %v", err)
				}
			})
		}
	}
}

func TestVerifyFails(t *testing.T) {
	srv := pgtest.Start(t, pgtest.Options{TLS: true})
	pem, _ := os.ReadFile(srv.CA)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, tt := range []struct {
		mode, host string
		roots      *x509.CertPool
		ok         bool
	}{
		{"verify-full", "other.example", roots, false},
		{"verify-ca", "other.example", roots, true},
		{"verify-ca", "localhost", x509.NewCertPool(), false},
		{"verify-full", "localhost", x509.NewCertPool(), false},
		{"require", "other.example", x509.NewCertPool(), true},
	} {
		cfg, err := postgres.UpstreamTLS(tt.mode, tt.host, tt.roots)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			t.Fatal(err)
		}
		c, err := postgres.Connect(t.Context(), conn, postgres.ClientConfig{User: "app_rw", Database: "postgres", TLS: cfg})
		if (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.mode, tt.host, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

func TestClient(t *testing.T) {
	srv := server(t)
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c, err := postgres.Connect(t.Context(), conn, postgres.ClientConfig{User: "app_rw", Database: pgDatabase(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	count := func(v [][]byte) error { n++; return nil }
	if err := c.Query(t.Context(), "select g, null from generate_series(1, 100000) g", count); err != nil || n != 100000 {
		t.Errorf("%d rows, %v", n, err)
	}
	var why *protocol.Refusal
	if err := c.Query(t.Context(), "select 1/0", count); !errors.As(err, &why) || why.Code != "22012" {
		t.Errorf("got %v", err)
	}
	if err := c.Query(t.Context(), "select 1; select 2", nil); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Query(ctx, "select pg_sleep(10)", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// leaf makes a self-signed certificate for 127.0.0.1.
func leaf(t testing.TB) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sluice"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestClientTLS(t *testing.T) {
	cert, pool := leaf(t)
	for _, tt := range []struct {
		name   string
		params string
		auth   postgres.ClientAuth
		ok     bool
	}{
		{"prefer", "sslmode=prefer", postgres.ClientAuth{}, true},
		{"require", "sslmode=require", postgres.ClientAuth{}, true},
		{"direct", "sslmode=require&sslnegotiation=direct", postgres.ClientAuth{}, true},
		{"disable", "sslmode=disable", postgres.ClientAuth{}, true},
		{"scram", "sslmode=disable", postgres.ClientAuth{SCRAM: verifier("placeholder")}, true},
		{"scram over tls", "sslmode=require", postgres.ClientAuth{SCRAM: verifier("placeholder")}, true},
		{"scram bound", "sslmode=require&channel_binding=require", postgres.ClientAuth{SCRAM: verifier("placeholder")}, true},
		{"scram wrong", "sslmode=require", postgres.ClientAuth{SCRAM: verifier("other")}, false},
		{"token", "sslmode=require", postgres.ClientAuth{Token: func(_ context.Context, s string) *protocol.Refusal {
			if s == "placeholder" {
				return nil
			}
			return &protocol.Refusal{Code: "28000", Message: "bad token"}
		}}, true},
		{"token refused", "sslmode=require", postgres.ClientAuth{Token: func(_ context.Context, s string) *protocol.Refusal {
			return &protocol.Refusal{Code: "28000", Message: "token expired"}
		}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, server(t).Addr(), func(p *proxy) {
				p.tls = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
				p.config = func(_ *postgres.Startup, c *postgres.SessionConfig) *protocol.Refusal {
					c.ClientAuth = tt.auth
					return nil
				}
			})
			cfg, err := pgx.ParseConfig(strings.Replace(p.dsn(), "sslmode=disable&", tt.params, 1))
			if err != nil {
				t.Fatal(err)
			}
			if cfg.TLSConfig != nil {
				cfg.TLSConfig.RootCAs, cfg.TLSConfig.InsecureSkipVerify, cfg.TLSConfig.ServerName = pool, false, "127.0.0.1"
			}
			conn, err := pgx.ConnectConfig(t.Context(), cfg)
			if (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				return
			}
			var n int
			if err := conn.QueryRow(t.Context(), "select sum(g) from generate_series(1,$1::int) g", 100000).Scan(&n); err != nil || n != 5000050000 {
				t.Errorf("%d %v", n, err)
			}
			conn.Close(t.Context())
		})
	}
}

func TestStartup(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	db := pgDatabase(t)
	for _, tt := range []struct {
		name string
		send []byte
		want string // of the answer's start
	}{
		{"2.0", msg(0, 2<<16, "user", "u", []byte{0}), "E FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2"},
		{"3.9", msg(0, 3<<16|9, "user", "app_rw", "database", db, "_pq_.what", "x", []byte{0}), "v 0003000200000001"},
		{"3.2", msg(0, 3<<16|2, "user", "app_rw", "database", db, []byte{0}), "R 00000000"},
		{"no user", msg(0, 3<<16, "database", db, []byte{0}), "E FATAL 28000 no PostgreSQL user name"},
		{"no terminator", msg(0, 3<<16, "user", "app_rw"), "E FATAL 08P01 invalid startup packet layout"},
		{"short", []byte{0, 0, 0, 4, 0, 3, 0, 0}, "E FATAL 08P01 invalid length of startup packet"},
		{"long", []byte{0, 1, 0, 0, 0, 3, 0, 0}, "E FATAL 08P01 invalid length of startup packet"},
		{"replication", msg(0, 3<<16, "user", "app_rw", "replication", "database", []byte{0}), "E FATAL 42501 replication"},
		{"client encoding", msg(0, 3<<16, "user", "app_rw", "database", db, "client_encoding", "GBK", []byte{0}), "E FATAL 42501 the startup parameter client_encoding"},
		{"options encoding", msg(0, 3<<16, "user", "app_rw", "database", db, "options", "-c client-encoding=sjis", []byte{0}), "E FATAL 42501 the startup parameter client_encoding"},
		{"options flag", msg(0, 3<<16, "user", "app_rw", "database", db, "options", "-d 5", []byte{0}), "E FATAL 42501 only -c"},
		{"refused setting", msg(0, 3<<16, "user", "app_rw", "database", db, "options", "--work-mem=1GB", []byte{0}), "E FATAL 42501 no work_mem"},
		{"no database", msg(0, 3<<16, "user", "app_rw", "database", "nothing", []byte{0}), "E FATAL 3D000"},
		{"gss", msg(0, 1234<<16|5680), "N"},
		{"ssl", msg(0, 1234<<16|5679), "N"},
		{"http", []byte("GET / HTTP/1.1\r\n\r\n"), "E FATAL 08P01 invalid length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", p.ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r := &raw{t, conn}
			r.send(tt.send)
			if tt.want == "N" {
				var b [1]byte
				if conn.Read(b[:]); b[0] != 'N' {
					t.Errorf("got %q", b)
				}
				r.send(msg(0, 3<<16, "user", "app_rw", "database", db, []byte{0}))
				if got := r.until('Z'); !strings.HasSuffix(got, "Z I") {
					t.Errorf("got %s", got)
				}
				return
			}
			if _, got, err := r.next(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s %v", got, err)
			}
		})
	}
	t.Run("settings arrive", func(t *testing.T) {
		conn := connect(t, p.dsn("options=-c%20search_path%3Dapp%20-c%20geqo%3Doff&application_name=me"))
		var a, b, c string
		if err := conn.QueryRow(t.Context(), "select current_setting('search_path'), current_setting('geqo'), current_setting('application_name')").Scan(&a, &b, &c); err != nil || a+b+c != "appoffme" {
			t.Errorf("%s %s %s %v", a, b, c, err)
		}
	})
}

func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	p := start(t, addr, nil)
	_, err = pgx.Connect(t.Context(), p.dsn())
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != "08001" || !strings.Contains(pe.Message, "connection refused") {
		t.Errorf("got %v", err)
	}
	silent := listen(t, func(c net.Conn) { defer c.Close(); c.Read(make([]byte, 1)) })
	q := start(t, silent, nil)
	if _, err = pgx.Connect(t.Context(), q.dsn()); !errors.As(err, &pe) || pe.Code != "08006" {
		t.Errorf("got %v", err)
	}
}
