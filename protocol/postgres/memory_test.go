package postgres_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluicegate.io/sluice/protocol/postgres"
)

// scoped starts a proxy with so much memory, whose connections belong to the workload that
// the returned name says when they are made.
func scoped(t *testing.T, memory int64) (*proxy, *atomic.Value) {
	var scope atomic.Value
	scope.Store("a")
	p := start(t, server(t).Addr(), func(p *proxy) {
		p.srv = postgres.NewServer(postgres.Options{Goroutines: goroutines, Memory: memory})
		p.scope = func() string { return scope.Load().(string) }
		p.gate.quiet = true
	})
	return p, &scope
}

// TestMemoryOfNames prepares until there is no room.
func TestMemoryOfNames(t *testing.T) {
	p, scope := scoped(t, 8<<20)
	long := strings.Repeat("x", 200<<10)
	for _, tt := range []struct {
		name string
		one  func(i int) []byte
		free string
	}{
		{"Parse", func(i int) []byte { return join(parse(fmt.Sprintf("s%d", i), "select '"+long+"'"), syncMsg()) }, "deallocate all"},
		{"PREPARE", func(i int) []byte { return query(fmt.Sprintf("prepare s%d as select '%s'", i, long)) }, "deallocate all"},
		{"Bind", func(i int) []byte {
			return join(parse("", "select $1::text"), bind(fmt.Sprintf("p%d", i), "", long), syncMsg())
		}, "rollback"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scope.Store("a")
			r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
			defer r.conn.Close()
			r.send(query("begin")) // portals last as long
			r.until('Z')
			fitted := 0
			for i := range 60 {
				r.send(tt.one(i))
				if got := r.until('Z'); strings.Contains(got, "53200") {
					break
				} else if strings.Contains(got, "ERROR") {
					t.Fatal(got)
				}
				fitted++
			}
			if fitted < 5 || fitted > 20 {
				t.Errorf("%d of 200 KiB each have room in 4 MiB", fitted)
			}
			scope.Store("b")
			other := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
			defer other.conn.Close()
			other.send(join(parse("s", "select '"+long+"'"), syncMsg()))
			if got := other.until('Z'); !strings.Contains(got, "Z I") || strings.Contains(got, "53200") {
				t.Errorf("another workload: %s", got)
			}
			r.send(query("rollback"), query(tt.free), query("begin"))
			r.rounds(3)
			r.send(tt.one(0))
			if got := r.until('Z'); !strings.Contains(got, "Z T") {
				t.Errorf("when it is given up: %s", got)
			}
		})
	}
}

// TestMemoryOfMessages has clients announce long messages that they do not send.
func TestMemoryOfMessages(t *testing.T) {
	p, scope := scoped(t, 64<<20)
	text := query("select 1 " + strings.Repeat(" ", 8<<20))
	var held []*raw
	for range 8 {
		r := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
		defer r.conn.Close()
		r.send(text[:1000])
		held = append(held, r)
	}
	time.Sleep(100 * time.Millisecond)
	refused := 0
	for _, r := range held {
		r.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		b := make([]byte, 512)
		if n, _ := r.conn.Read(b); bytes.Contains(b[:n], []byte("C53200\x00")) {
			refused++
		}
	}
	if refused != 6 {
		t.Errorf("%d of 8 were refused; 2 need 32 MiB, which is the workload's half", refused)
	}
	scope.Store("b")
	other := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
	defer other.conn.Close()
	other.send(text)
	if got := other.until('Z'); !strings.Contains(got, "SELECT 1") {
		t.Errorf("another workload: %s", got)
	}
	for _, r := range held {
		r.conn.(*net.TCPConn).SetLinger(0)
		r.conn.Close()
	}
	scope.Store("a")
	again := dialRaw(t, p.ln.Addr().String(), pgDatabase(t))
	defer again.conn.Close()
	for range 20 {
		again.send(text)
		if got := again.until('Z'); strings.Contains(got, "SELECT 1") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("what the others had is not given back")
}
