package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/redirect"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// TestUnixSocket reaches a database by its unix socket: judged, masked and recorded, with
// the credential that Sluice holds, and not past it.
func TestUnixSocket(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Auth: "scram-sha-256", HBA: []string{"local all app_rw scram-sha-256"}})
	db := server.Database(t)
	shop := sluicetest.Shop(server)
	socket := fmt.Sprintf("%s/.s.PGSQL.%d", server.Dir, server.Port)
	shop.Endpoint = "unix:" + socket
	shop.TLS = "verify-full" // nobody is between: not on a unix socket
	s := sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{shop}, Policy: sluicetest.CorpusPolicy})
	if !redirect.HasUnix() {
		out, err := s.Command(t.Context(), "true").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "this kernel does not redirect unix sockets") {
			t.Errorf("an endpoint that this kernel can't redirect: %v %s", err, out)
		}
		return
	}
	psql := func(host, sql string) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		conn := fmt.Sprintf("host=%s port=%d dbname=%s user=whoever password=placeholder", host, server.Port, db)
		out, err := s.Command(ctx, "psql", "-XAt", "-v", "VERBOSITY=verbose", conn, "-c", sql).CombinedOutput()
		return string(out), err
	}
	if out, err := psql(server.Dir, "SELECT name, ssn FROM app.customers WHERE id = 1"); err != nil || !strings.Contains(out, "|*") {
		t.Errorf("masked: %v %s", err, out)
	}
	if out, err := psql(server.Dir, "SELECT current_user, inet_server_addr() IS NULL"); err != nil || !strings.Contains(out, "app_rw|t") {
		t.Errorf("by the socket, as the role that Sluice holds: %v %s", err, out)
	}
	if out, err := psql(server.Dir, "SELECT * FROM app.secrets"); err == nil || !strings.Contains(out, "42501") {
		t.Errorf("denied: %v %s", err, out)
	}
	// Other clients ask for TLS even here: the server has none, and neither have we.
	if out, err := s.Command(t.Context(), "python3", "-c", `import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"\0\0\0\10\4\322\26\57"); print("answer", s.recv(1))`, socket).CombinedOutput(); err != nil || !strings.Contains(string(out), "answer b'N'") {
		t.Errorf("SSLRequest: %v %s", err, out)
	}
	// The socket under another name is refused, or it was said that it is not held.
	link := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(server.Dir, link); err != nil {
		t.Fatal(err)
	}
	out, err := psql(link, "SELECT 1")
	if err == nil || !strings.Contains(out, "Connection refused") {
		if !strings.Contains(out, "NOT ENFORCED: unix:"+socket) {
			t.Errorf("by a link: %v %s", err, out)
		}
		if !strings.Contains(out, "app_rw") && !strings.Contains(out, "whoever") {
			t.Errorf("by a link the server itself should have answered: %v %s", err, out)
		}
	}
	// Not enrolled, it is as ever.
	if out, err := exec.Command("psql", "-XAt", server.SocketDSN(db), "-c", "SELECT ssn FROM app.customers WHERE id = 1").CombinedOutput(); err != nil || strings.Contains(string(out), "*") {
		t.Errorf("outside: %v %s", err, out)
	}
	recorded, err := s.Run(t.Context(), "sessions", "--output", "json")
	if err != nil || !strings.Contains(string(recorded), `"unix:`+socket+`"`) {
		t.Errorf("recorded: %v %s", err, recorded)
	}
}
