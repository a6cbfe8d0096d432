//go:build bench

package postgres_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
	"strconv"
	"testing"

	"sluicegate.io/sluice/test/pgtest"
)

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// TestThroughput compares a session with a bare relay. It runs only if
// SLUICE_BENCH is set to the seconds of one measurement.
func TestThroughput(t *testing.T) {
	seconds := os.Getenv("SLUICE_BENCH")
	if seconds == "" {
		t.Skip("SLUICE_BENCH is not set")
	}
	bin, err := pgtest.Bin()
	if err != nil {
		t.Fatal(err)
	}
	srv := server(t)
	db := pgDatabase(t)
	pgbench := filepath.Join(bin, "pgbench")
	host, port, _ := net.SplitHostPort(srv.Addr())
	if out, err := exec.Command(pgbench, "-h", host, "-p", port, "-U", "app_su", "-i", "-q", db).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ways := []struct{ name, addr string }{{"direct", srv.Addr()}, {"relay", relay(t, srv.Addr())}, {"session", trivial(t, srv.Addr())}}
	for _, mode := range []string{"prepared", "extended", "simple"} {
		for _, c := range []int{8, 32} {
			best := map[string]float64{}
			for range 2 {
				for _, way := range ways {
					host, port, _ := net.SplitHostPort(way.addr)
					out, err := exec.Command(pgbench, "-h", host, "-p", port, "-U", "app_su", "-n", "-S", "-M", mode,
						"-c", strconv.Itoa(c), "-j", "2", "-T", seconds, db).CombinedOutput()
					m := tps.FindSubmatch(out)
					if err != nil || m == nil {
						t.Fatalf("%s: %v\n%s", way.name, err, out)
					}
					v, _ := strconv.ParseFloat(string(m[1]), 64)
					best[way.name] = max(best[way.name], v)
				}
			}
			fmt.Printf("%-9s c=%-3d direct %6.0f  relay %6.0f  session %6.0f  of relay %.2f\n", mode, c,
				best["direct"], best["relay"], best["session"], best["session"]/best["relay"])
		}
	}
}

func relay(t testing.TB, addr string) string {
	return listen(t, func(client net.Conn) {
		defer client.Close()
		up, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer up.Close()
		go func() { io.Copy(up, client); up.(*net.TCPConn).CloseWrite() }()
		io.Copy(client, up)
	})
}

func trivial(t testing.TB, addr string) string {
	srv := postgres.NewServer(postgres.Options{})
	return listen(t, func(client net.Conn) {
		srv.Serve(context.Background(), postgres.Accepted{Conn: client, Open: func(_ context.Context, s *postgres.Startup) (*postgres.SessionConfig, *protocol.Refusal) {
			return &postgres.SessionConfig{Gate: nothing{}, User: s.User, Database: s.Database,
				Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }}, nil
		}})
	})
}
