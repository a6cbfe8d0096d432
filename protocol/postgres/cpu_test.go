//go:build bench

package postgres_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sluicegate.io/sluice/test/pgtest"
)

// TestProcessorTime compares the processor time that a transaction costs in a
// session and in a bare relay, which other load on the machine disturbs less
// than it does throughput. It runs only if SLUICE_BENCH is set to seconds.
func TestProcessorTime(t *testing.T) {
	seconds := os.Getenv("SLUICE_BENCH")
	if seconds == "" {
		t.Skip("SLUICE_BENCH is not set")
	}
	bin, err := pgtest.Bin()
	if err != nil {
		t.Fatal(err)
	}
	srv, db := server(t), pgDatabase(t)
	host, port, _ := net.SplitHostPort(srv.Addr())
	pgbench := filepath.Join(bin, "pgbench")
	if out, err := exec.Command(pgbench, "-h", host, "-p", port, "-U", "app_su", "-i", "-q", db).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, mode := range []string{"prepared", "simple"} {
		for _, way := range []struct{ name, addr string }{{"relay", relay(t, srv.Addr())}, {"session", trivial(t, srv.Addr())}} {
			host, port, _ := net.SplitHostPort(way.addr)
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			before := processor()
			out, err := exec.Command(pgbench, "-h", host, "-p", port, "-U", "app_su", "-n", "-S", "-M", mode, "-c", "8", "-j", "1", "-T", seconds, db).CombinedOutput()
			spent := processor() - before
			runtime.ReadMemStats(&m1)
			m := tps.FindSubmatch(out)
			if err != nil || m == nil {
				t.Fatalf("%v\n%s", err, out)
			}
			rate, _ := strconv.ParseFloat(string(m[1]), 64)
			secs, _ := strconv.ParseFloat(seconds, 64)
			fmt.Printf("%-9s %-8s %6.0f tps  %5.1f µs, %.2f allocations a transaction\n", mode, way.name, rate,
				spent.Seconds()*1e6/(rate*secs), float64(m1.Mallocs-m0.Mallocs)/(rate*secs))
		}
	}
}

// processor is the processor time that this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestIdle measures what an idle session costs in memory.
func TestIdle(t *testing.T) {
	srv := server(t)
	p := start(t, srv.Addr(), nil)
	const n = 80
	var before, after runtime.MemStats
	for i := range n + 1 {
		if i == 1 { // the first one fills caches of the test's own
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(all("select 1"), syncMsg())
		r.until('Z')
	}
	time.Sleep(50 * time.Millisecond)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse) / n
	t.Logf("%d bytes a session, of that stacks %d", each, int64(after.StackInuse-before.StackInuse)/n)
	if each > 64<<10 {
		t.Errorf("%d bytes an idle session", each)
	}
}
