package pgtest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"
)

// keeper is the shell that runs a server. It ends the server and removes its
// folder when its standard input closes, which also happens when the test
// process dies without a chance to clean up.
const keeper = `
"$1"/postgres -D "$2"/data >>"$2"/log 2>&1 & pid=$!
read -r _
kill -QUIT $pid 2>/dev/null
wait $pid
rm -rf "$2"
`

// start fills s.Dir and runs a server in it until it accepts connections. From
// then on s.stop ends it.
func (s *Server) start(bin string, own *owner, template string, o Options) error {
	// The free port is found by asking the kernel; someone else may take it
	// before the server does, so try a few times.
	var err error
	for range 5 {
		if err = s.fill(own, template, o); err != nil {
			return err
		}
		if err = s.run(bin, own); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	if o.Auth == "" || o.Auth == "trust" {
		return nil
	}
	return s.setPasswords(o.Auth)
}

// fill makes the folder what a server starts from. A server that did not start
// has taken the folder with it.
func (s *Server) fill(own *owner, template string, o Options) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if err := own.take(s.Dir, 0o755); err != nil {
		return err
	}
	if err := own.command("cp", "-a", "--reflink=auto", template, filepath.Join(s.Dir, "data")).run(); err != nil {
		return err
	}
	if err := own.mkdir(s.Temp); err != nil {
		return err
	}
	if o.TLS || o.TLSOnly {
		if err := s.certify(own, o.Names); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	if err := own.write(filepath.Join(s.Dir, "data", "pg_hba.conf"), hba(o)); err != nil {
		return err
	}
	var err error
	if s.Port, err = freePort(); err != nil {
		return err
	}
	return own.write(filepath.Join(s.Dir, "data", "pgtest.conf"), s.settings(o))
}

// run starts the keeper and waits until the server accepts connections.
func (s *Server) run(bin string, own *owner) error {
	cmd := own.command("sh", "-c", keeper, "sh", bin, s.Dir).cmd
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	s.stop = sync.OnceFunc(func() {
		in.Close()
		select {
		case <-exited:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
		}
		os.RemoveAll(s.Dir)
	})
	ready := filepath.Join(s.Dir, "data", "postmaster.pid")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if isReady(ready) {
			return nil
		}
		if strings.Contains(s.LogTail(10), "FATAL") {
			break
		}
	}
	err = fmt.Errorf("server did not start:\n%s", s.LogTail(10))
	s.stop() // waits for the keeper, which removes the folder
	return err
}

// isReady says whether the last line of postmaster.pid is the server's "ready".
func isReady(pidFile string) bool {
	f, err := os.Open(pidFile)
	if err != nil {
		return false
	}
	defer f.Close()
	var last string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		last = lines.Text()
	}
	return strings.TrimSpace(last) == "ready"
}

// hba returns the pg_hba.conf for o.
func hba(o Options) string {
	method := o.Auth
	if method == "" {
		method = "trust"
	}
	kind := "host"
	if o.TLSOnly {
		kind = "hostssl"
	}
	lines := append([]string{}, o.HBA...)
	lines = append(lines,
		"local all all trust",
		kind+" all all all "+method,
		kind+" replication all all "+method)
	return strings.Join(lines, "\n") + "\n"
}

// settings returns the part of postgresql.conf that is the server's own.
func (s *Server) settings(o Options) string {
	listen := o.Listen
	if listen == "" {
		listen = "127.0.0.1"
	}
	all := map[string]string{
		"port":                     fmt.Sprint(s.Port),
		"listen_addresses":         listen,
		"unix_socket_directories":  s.Dir,
		"fsync":                    "off",
		"full_page_writes":         "off",
		"synchronous_commit":       "off",
		"max_connections":          "300",
		"shared_preload_libraries": "pg_stat_statements",
		"password_encryption":      "scram-sha-256",
		"logging_collector":        "off",
		"log_destination":          "stderr",
		"autovacuum":               "off",
		"log_checkpoints":          "off",
	}
	if o.Auth == "md5" {
		all["password_encryption"] = "md5"
	}
	if s.CA != "" {
		all["ssl"] = "on"
		all["ssl_cert_file"] = filepath.Join(s.Dir, "server.pem")
		all["ssl_key_file"] = filepath.Join(s.Dir, "server.key")
	}
	for k, v := range o.Settings {
		all[k] = v
	}
	var lines []string
	for k, v := range all {
		lines = append(lines, fmt.Sprintf("%s = '%s'\n", k, strings.ReplaceAll(v, "'", "''")))
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// setPasswords gives every login role but the superuser its password.
func (s *Server) setPasswords(method string) error {
	encryption := "scram-sha-256"
	if method == "md5" {
		encryption = "md5"
	}
	names, err := s.Query("postgres", "SELECT quote_ident(rolname) FROM pg_roles WHERE rolcanlogin AND rolname <> '"+Superuser+"'")
	if err != nil {
		return err
	}
	sql := "SET password_encryption = '" + encryption + "';"
	for _, name := range names {
		sql += fmt.Sprintf("ALTER ROLE %s PASSWORD '%s';", name, strings.ReplaceAll(s.password, "'", "''"))
	}
	return s.TryExec("postgres", sql)
}

// freePort returns a port of loopback that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// command is an exec.Cmd of the owner, whose error shows what the command printed.
type command struct{ cmd *exec.Cmd }

func (c command) run() error {
	out, err := c.cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Errorf("%s: %w: %s", filepath.Base(c.cmd.Path), err, out)
	}
	return err
}
