//go:build bench

package postgres_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
