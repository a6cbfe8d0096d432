package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"sluicegate.io/sluice/test/pgtest"
)

const database = "bench"

// path is one way from a client to the database.
type path struct {
	name    string
	port    int
	pids    string // of what is between, as for processorTime; "": nothing is
	command func(ctx context.Context, name string, args ...string) *exec.Cmd
}

// stage is the server, the data, and everything between clients and it.
type stage struct {
	self   string
	dir    string
	server *pgtest.Server
	paths  []path
	config string
	pooled bool // the case is for the configuration that has a pool
	binary string
	stops  []func()
}

func (st *stage) close() {
	for i := len(st.stops) - 1; i >= 0; i-- {
		st.stops[i]()
	}
}

// setUp starts the server, fills it, and starts PgBouncer and the relay.
func setUp(ctx context.Context, s settings) (st *stage, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("needs root, as Sluice does")
	}
	st = &stage{binary: s.binary}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	if st.self, err = os.Executable(); err != nil {
		return st, err
	}
	if st.dir, err = os.MkdirTemp("", "sluicetest-bench-"); err != nil {
		return st, err
	}
	st.stops = append(st.stops, func() { os.RemoveAll(st.dir) })
	if err := os.Chmod(st.dir, 0o755); err != nil {
		return st, err
	}
	st.server, err = pgtest.New(pgtest.Options{Settings: map[string]string{
		"max_connections": "1200", "shared_buffers": "512MB", "max_wal_size": "4GB", "shared_preload_libraries": "",
	}})
	if err != nil {
		return st, err
	}
	st.stops = append(st.stops, st.server.Close)
	fmt.Fprintln(os.Stderr, "bench: filling the database")
	if err := st.fill(ctx); err != nil {
		return st, err
	}
	bouncer, bouncerPID, err := st.startPgBouncer(ctx)
	if err != nil {
		return st, fmt.Errorf("pgbouncer: %w", err)
	}
	relay, relayPID, err := st.startRelay(ctx)
	if err != nil {
		return st, fmt.Errorf("relay: %w", err)
	}
	if err := st.writeConfig(); err != nil {
		return st, err
	}
	plain := exec.CommandContext
	st.paths = []path{
		{"direct", st.server.Port, "", plain},
		{"pgbouncer", bouncer, strconv.Itoa(bouncerPID), plain},
		{"relay", relay, strconv.Itoa(relayPID), plain},
		{"sluice", st.server.Port, above, st.throughSluice},
	}
	return st, nil
}

func (st *stage) fill(ctx context.Context) error {
	if err := st.server.TryExec("postgres", "CREATE DATABASE "+database+" OWNER app_rw"); err != nil {
		return err
	}
	if err := st.server.TryExec(database, `
		CREATE SCHEMA bench AUTHORIZATION app_rw;
		SET ROLE app_rw;
		CREATE TABLE bench.rows AS SELECT g AS id, 'name '||g AS name, g * 1.5 AS amount, now() AS at FROM generate_series(1, 2000000) g;
		CREATE TABLE bench.people AS SELECT g AS id, 'name '||g AS name, lpad(g::text, 11, '0') AS note,
			'000-'||lpad((g % 100)::text, 2, '0')||'-'||lpad((g % 10000)::text, 4, '0') AS ssn, g * 0.5 AS balance
			FROM generate_series(1, 500000) g;
		ANALYZE bench.rows; ANALYZE bench.people;`); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "pgbench", "-i", "-q", "-s", "10", "--unlogged-tables")
	cmd.Env = st.environment(path{port: st.server.Port})
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench -i: %w: %s", err, out)
	}
	return nil
}

// environment is what a client gets: an ordinary connection in PG* variables.
func (st *stage) environment(p path) []string {
	return append(os.Environ(), "PGHOST=127.0.0.1", "PGPORT="+strconv.Itoa(p.port), "PGUSER=app_rw",
		"PGDATABASE="+database, "PGPASSWORD=placeholder", "PGSSLMODE=disable")
}

// startPgBouncer runs Debian's PgBouncer, pooling whole sessions.
func (st *stage) startPgBouncer(ctx context.Context) (port, pid int, err error) {
	if port, err = freePort(); err != nil {
		return 0, 0, err
	}
	users := filepath.Join(st.dir, "users.txt")
	config := filepath.Join(st.dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
%s = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = session
max_client_conn = 2000
default_pool_size = 100
server_lifetime = 3600
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
`, database, st.server.Port, port, users)
	if err := os.WriteFile(users, []byte("\"app_rw\" \"\"\n"), 0o644); err != nil {
		return 0, 0, err
	}
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return 0, 0, err
	}
	pid, err = st.daemon(ctx, port, "setpriv", "--reuid", st.server.User, "--regid", st.server.User, "--clear-groups",
		"/usr/sbin/pgbouncer", "-q", config)
	return port, pid, err
}

func (st *stage) startRelay(ctx context.Context) (port, pid int, err error) {
	if port, err = freePort(); err != nil {
		return 0, 0, err
	}
	relay := filepath.Join(st.dir, "relay")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", relay, "./test/bench/relay").CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("build: %w: %s", err, out)
	}
	pid, err = st.daemon(ctx, port, relay, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), st.server.Addr())
	return port, pid, err
}

// daemon runs a program until the end of the stage, and waits for its port.
func (st *stage) daemon(ctx context.Context, port int, name string, args ...string) (pid int, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	st.stops = append(st.stops, func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return cmd.Process.Pid, c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, fmt.Errorf("%s does not listen on port %d", filepath.Base(name), port)
}

// writeConfig makes the configuration with everything on: a policy, a masked
// column and recording. Records reach the disk within a second, as PostgreSQL's
// own commits do here.
func (st *stage) writeConfig() error {
	st.config = filepath.Join(st.dir, "sluice.yaml")
	password := filepath.Join(st.dir, "password")
	if err := os.WriteFile(password, []byte(st.server.Password()+"\n"), 0o600); err != nil {
		return err
	}
	text := func(pool string) string {
		return fmt.Sprintf(`apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: bench}
spec:
  protocol: postgres
  endpoints: ["%s"]
  tls: {mode: disable}
  credential: {username: app_rw, passwordFile: %s}
  pool: {mode: %s}
  sensitive:
    - {tag: ssn, columns: ["bench.people.ssn"], mask: {keepLast: 4}}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: bench}
spec:
  subjects: [{any: true}]
  databases: [bench]
  rules:
    - {name: read, effect: allow, actions: [select], on: ["bench.*", "public.*"]}
---
apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: bench}
spec:
  record: {sync: interval}
`, st.server.Addr(), password, pool)
	}
	if err := os.WriteFile(st.config, []byte(text("none")), 0o644); err != nil {
		return err
	}
	return os.WriteFile(st.config+".pool", []byte(text("session")), 0o644)
}

func (st *stage) throughSluice(ctx context.Context, name string, args ...string) *exec.Cmd {
	config := st.config
	if st.pooled {
		config += ".pool"
	}
	all := append([]string{"exec", "--config", config, "--state", filepath.Join(st.dir, "state"), "--", name}, args...)
	cmd := exec.CommandContext(ctx, st.binary, all...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
