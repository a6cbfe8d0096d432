// Package pgtest starts real PostgreSQL servers for tests.
//
// A server is the machine's own PostgreSQL (Debian's packages), run by an
// unprivileged user from a throw-away data directory, on a free port of
// loopback and a unix socket in the same directory. The data directory is a
// copy of a template made once a machine, so a start takes well under a second.
// A server ends with its test, and also when the test process is killed.
//
// The template holds the roles and the schema of package corpus, in a database
// of its own that each [Server.Database] is a copy of.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Superuser is the role that owns the cluster. It logs in over the unix socket
// without a password, whatever Options.Auth is.
const Superuser = "postgres"

// Template is the database that holds the corpus schema. Nothing may stay
// connected to it: use [Server.Database] for a copy.
const Template = "sluice_corpus"

// DefaultPassword is what every login role gets where Options.Password is empty.
const DefaultPassword = "held-by-sluice-alone"

// Options choose how a server differs from the plain one: trust on loopback, no
// TLS, the corpus in place.
type Options struct {
	Auth     string            // method for TCP in pg_hba.conf: trust (default), scram-sha-256, md5, password, reject
	Password string            // of every login role; default DefaultPassword
	TLS      bool              // accept TLS with a certificate of Server.CA for localhost, 127.0.0.1, ::1 and Names
	TLSOnly  bool              // TLS, and refuse everything else
	Names    []string          // further DNS names or addresses in the certificate
	Listen   string            // addresses to listen on, comma separated; default 127.0.0.1
	HBA      []string          // whole pg_hba.conf lines that come before the others
	Settings map[string]string // further postgresql.conf settings
	Log      io.Writer         // gets the server's log; default: a file in Dir
}

// A Server is one running PostgreSQL.
type Server struct {
	Port int
	Dir  string // holds data/, the unix socket and ca.pem; removed at the end
	CA   string // file with the CA of the server's certificate, "" without TLS
	Temp string // a folder that the server may write to
	User string // operating system user that runs it

	password string
	stop     func()
	made     atomic.Int64
}

// Start runs a server until t ends. It fails the test if there is no PostgreSQL.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", s.LogTail(20))
		}
		s.Close()
	})
	return s
}

// New runs a server until Close.
func New(o Options) (*Server, error) {
	bin, err := Bin()
	if err != nil {
		return nil, err
	}
	own, err := account()
	if err != nil {
		return nil, err
	}
	template, err := ensureTemplate(bin, own)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	dir, err := own.tempDir()
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, Temp: filepath.Join(dir, "tmp"), User: own.name, password: o.Password, stop: func() { os.RemoveAll(dir) }}
	if s.password == "" {
		s.password = DefaultPassword
	}
	if err := s.start(bin, own, template, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the server and removes its directory.
func (s *Server) Close() { s.stop() }

// DSN returns a connection URL over TCP for user and database, with params such
// as "sslmode=require" or "password=x". The default sslmode is disable.
func (s *Server) DSN(user, database string, params ...string) string {
	query := url.Values{"sslmode": {"disable"}}
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		query.Set(key, value)
	}
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: s.Addr(), Path: database, RawQuery: query.Encode()}
	return u.String()
}

// Password is what the login roles have; with trust the server does not ask for it.
func (s *Server) Password() string { return s.password }

// Addr is the server's "127.0.0.1:port".
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// SocketDSN returns a keyword connection string for the superuser over the unix socket.
func (s *Server) SocketDSN(database string) string {
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s", s.Dir, s.Port, Superuser, database)
}

// Exec runs SQL as the superuser in database and fails the test if it fails.
func (s *Server) Exec(t testing.TB, database, sql string) {
	t.Helper()
	if err := s.TryExec(database, sql); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

// TryExec is Exec for those without a test.
func (s *Server) TryExec(database, sql string) error {
	_, err := s.Query(database, sql)
	return err
}

// Query runs SQL as the superuser in database and returns the values of the last
// result as text, row by row, columns joined by "|".
func (s *Server) Query(database, sql string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.SocketDSN(database))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	var rows []string
	for _, row := range results[len(results)-1].Rows {
		var values []string
		for _, v := range row {
			values = append(values, string(v))
		}
		rows = append(rows, strings.Join(values, "|"))
	}
	return rows, nil
}

// Database makes a fresh copy of the corpus database, drops it when t ends, and
// returns its name.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("corpus%d", s.made.Add(1))
	if err := s.CreateDatabase(name); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.DropDatabase(name); err != nil {
			t.Logf("pgtest: %v", err)
		}
	})
	return name
}

// CreateDatabase makes a fresh copy of the corpus database called name, in which
// the application's role may make schemas, as such roles usually may.
func (s *Server) CreateDatabase(name string) error {
	if err := s.TryExec("postgres", fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, Template)); err != nil {
		return err
	}
	return s.TryExec("postgres", fmt.Sprintf("GRANT CREATE ON DATABASE %s TO app_rw", name))
}

// DropDatabase removes a database and whoever is connected to it.
func (s *Server) DropDatabase(name string) error {
	return s.TryExec("postgres", fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name))
}

// LogTail returns the last n lines of the server's log.
func (s *Server) LogTail(n int) string {
	b, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// ErrNoPostgres means that no server is installed where Debian puts it.
var ErrNoPostgres = errors.New("no PostgreSQL server under /usr/lib/postgresql (scripts/setup.sh installs it)")

// Bin returns the folder of initdb and postgres. PostgreSQL 15 is preferred,
// since the corpus was proven on it; else the newest is taken.
func Bin() (string, error) {
	const debian15 = "/usr/lib/postgresql/15/bin"
	if _, err := exec.LookPath(filepath.Join(debian15, "postgres")); err == nil {
		return debian15, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", ErrNoPostgres
	}
	return filepath.Dir(found[len(found)-1]), nil
}
