package postgres_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Sessions whose judgement takes long keep no other from its answer, however
// many they are, and end with their clients: also with one that had said all it
// had to say before anybody knew that it would take long.
func TestSlowSessions(t *testing.T) {
	p := start(t, server(t).Addr(), nil)
	busy := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
	var stuck []*raw
	for i := range 6 {
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(query(fmt.Sprintf("select /*slow*/ %d", i)))
		if i%2 == 1 {
			r.conn.(*net.TCPConn).CloseWrite()
		}
		stuck = append(stuck, r)
	}
	for i := range 50 {
		began := time.Now()
		busy.send(query(fmt.Sprintf("select %d", i)))
		if got := busy.until('Z'); !strings.Contains(got, "SELECT 1") {
			t.Fatalf("got %s", got)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("waited %v for others", took)
		}
	}
	for _, r := range stuck {
		r.conn.Close()
	}
	for range 250 {
		if strings.Count(p.gate.log(), "slow over") == len(stuck) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("calls of clients that are gone go on:\n%s", p.gate.log())
}

// Two clients that do not read hold up nobody, and get all of it when they do.
func TestBackPressure(t *testing.T) {
	p := start(t, server(t).Addr(), func(p *proxy) { p.gate.quiet = true })
	const rows = 100_000
	var full []*raw
	for range 2 {
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		r.send(query(fmt.Sprintf("select repeat('x', 200) from generate_series(1, %d)", rows)))
		full = append(full, r)
	}
	busy := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
	for range 20 {
		busy.send(all("select 1"), syncMsg())
		if got := busy.until('Z'); !strings.Contains(got, "SELECT 1") {
			t.Fatalf("got %s", got)
		}
	}
	for _, r := range full {
		if got := r.until('Z'); strings.Count(got, "\nD ") != rows || !strings.Contains(got, fmt.Sprintf("SELECT %d", rows)) {
			t.Errorf("%d of %d rows", strings.Count(got, "\nD "), rows)
		}
	}
}
