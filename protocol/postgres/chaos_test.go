package postgres_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// faults is a network that misbehaves: a relay between two ends.
type faults struct {
	piece  int           // largest write; 0: as it comes
	delay  time.Duration // before each write
	frames int           // after so many messages of the target ...
	stall  bool          // ... nothing passes any more; else both ends are reset
}

// relay listens for connections to target. Everything that it starts ends with the test.
func (f faults) relay(t testing.TB, target string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	done := make(chan struct{})
	t.Cleanup(func() { close(done); ln.Close(); running.Wait() })
	running.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", target)
			if err != nil {
				a.Close()
				continue
			}
			running.Go(func() { f.carry(done, a.(*net.TCPConn), b.(*net.TCPConn)) })
		}
	})
	return ln.Addr().String()
}

// carry is one connection: a's bytes to b, and b's messages to a.
func (f faults) carry(done chan struct{}, a, b *net.TCPConn) {
	var both sync.WaitGroup
	stop := func() { a.SetLinger(0); b.SetLinger(0); a.Close(); b.Close() }
	ended := make(chan struct{})
	both.Go(func() {
		select {
		case <-done:
		case <-ended:
		}
		stop()
	})
	var ways sync.WaitGroup
	left := make(chan struct{})
	ways.Go(func() { defer close(left); f.copy(b, a); b.CloseWrite() })
	ways.Go(func() {
		if f.frames == 0 {
			f.copy(a, b)
			a.CloseWrite()
			return
		}
		for range f.frames {
			var head [5]byte
			if _, err := io.ReadFull(b, head[:]); err != nil {
				return
			}
			rest := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
			if _, err := io.ReadFull(b, rest); err != nil {
				return
			}
			if _, err := a.Write(append(head[:], rest...)); err != nil {
				return
			}
		}
		if !f.stall {
			stop()
			return
		}
		select {
		case <-done:
		case <-left:
		}
	})
	ways.Wait()
	close(ended)
	both.Wait()
}

func (f faults) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 64<<10)
	random := rand.New(rand.NewSource(1))
	for {
		n, err := from.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			k := len(b)
			if f.piece > 0 {
				k = min(k, 1+random.Intn(f.piece))
			}
			if f.delay > 0 {
				time.Sleep(f.delay)
			}
			if _, err := to.Write(b[:k]); err != nil {
				return
			}
			b = b[k:]
		}
		if err != nil {
			return
		}
	}
}

// script is a session with something of everything, one message each.
func script() [][]byte {
	return [][]byte{
		msg(0, 3<<16, "user", "app_rw", "database", "wire", []byte{0}),
		query("create temporary table chaos(a int, b text)"),
		query("select generate_series(1,3)"),
		parse("s", "select 1"), bind("", "s"), describe('P', ""), execute("", 0), syncMsg(),
		query("copy chaos from stdin"), copyData("1\tone\n"), copyData("2\ttwo\n"), copyDone(),
		query("copy chaos to stdout"),
		query("begin"), query("select 1/0"), query("rollback"),
		all("select repeat('x', 100000)"), flushMsg(), syncMsg(),
		terminate(),
	}
}

// backends waits until the server has no session of the test's database left that began
// since.
func backends(t *testing.T, since time.Time) {
	t.Helper()
	var left string
	for range 100 {
		got, err := server(t).Query("postgres", `select concat_ws(' ', pid, state, wait_event, age(clock_timestamp(), backend_start), query) from pg_stat_activity
			where datname = 'wire' and backend_type = 'client backend' and backend_start >= '`+since.Format(time.RFC3339Nano)+"'")
		if err != nil {
			t.Fatal(err)
		}
		if left = strings.Join(got, "\n"); left == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("left on the server:\n%s", left)
}

// speak sends messages and reads to the end, which comes within the deadline.
func speak(t *testing.T, addr string, messages [][]byte, reset bool) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	for _, m := range messages {
		if _, err := conn.Write(m); err != nil {
			break
		}
	}
	if reset {
		time.Sleep(time.Millisecond)
		conn.(*net.TCPConn).SetLinger(0)
		return ""
	}
	got, err := io.ReadAll(conn)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("no end after %d bytes", len(got))
	}
	return string(got)
}

// TestChaosResets resets the connection at the border of each message, on either side, and
// checks that nothing hangs or stays: start looks for goroutines and descriptors.
func TestChaosResets(t *testing.T) {
	whole := script()
	began := time.Now()
	t.Run("client", func(t *testing.T) {
		p := start(t, server(t).Addr(), nil)
		for k := 1; k <= len(whole); k++ {
			speak(t, p.ln.Addr().String(), whole[:k], true)
		}
		if got := speak(t, p.ln.Addr().String(), whole, false); !strings.Contains(got, "two") {
			t.Errorf("a session behind them: %q", got[:min(200, len(got))])
		}
		backends(t, began)
	})
	t.Run("server", func(t *testing.T) {
		for k := 1; k <= 60; k += 1 + k/20 {
			addr := faults{frames: k}.relay(t, server(t).Addr())
			p := start(t, addr, nil)
			speak(t, p.ln.Addr().String(), whole, false)
		}
		backends(t, began)
	})
}

// TestChaosHalfOpen has the other side fall silent.
func TestChaosHalfOpen(t *testing.T) {
	for _, k := range []int{1, 5, 14, 17, 25} {
		t.Run(fmt.Sprint("server after ", k), func(t *testing.T) {
			addr := faults{frames: k, stall: true}.relay(t, server(t).Addr())
			p := start(t, addr, nil)
			speak(t, p.ln.Addr().String(), script(), true)
		})
	}
	t.Run("a client that does not read", func(t *testing.T) {
		began := time.Now()
		p := start(t, server(t).Addr(), nil)
		conn, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range [][]byte{script()[0], query("select repeat('x', 1000) from generate_series(1, 1000000)")} {
			if _, err := conn.Write(m); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(200 * time.Millisecond)
		if got := speak(t, p.ln.Addr().String(), script(), false); !strings.Contains(got, "two") {
			t.Errorf("another session meanwhile: %q", got[:min(200, len(got))])
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		backends(t, began)
	})
}

// TestChaosIntegrity sends data both ways in small pieces, and compares what arrives.
func TestChaosIntegrity(t *testing.T) {
	for _, tt := range []struct {
		name  string
		f     faults
		bytes int
	}{
		{"single bytes", faults{piece: 1}, 100 << 10},
		{"small pieces", faults{piece: 700}, 8 << 20},
		{"late pieces", faults{piece: 64 << 10, delay: time.Millisecond}, 4 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) { integrity(t, tt.f, tt.bytes) })
	}
}

func integrity(t *testing.T, f faults, size int) {
	up := f.relay(t, server(t).Addr())
	p := start(t, up, nil)
	down := f.relay(t, p.ln.Addr().String())
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute)
	defer stop()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://app_rw:x@%s/wire?sslmode=disable", down))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create temporary table chaos(n int, b bytea)"); err != nil {
		t.Fatal(err)
	}
	random, sent := rand.New(rand.NewSource(2)), sha256.New()
	left, n := size, 0
	rows := pgx.CopyFromFunc(func() ([]any, error) {
		if left <= 0 {
			return nil, nil
		}
		b := make([]byte, 1+random.Intn(9000))
		random.Read(b)
		left, n = left-len(b), n+1
		sent.Write(b)
		return []any{n, b}, nil
	})
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"chaos"}, []string{"n", "b"}, rows); err != nil {
		t.Fatal(err)
	}
	for _, format := range []int16{pgx.TextFormatCode, pgx.BinaryFormatCode} {
		got := sha256.New()
		all, err := conn.Query(ctx, "select b from chaos order by n", pgx.QueryResultFormats{format})
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for all.Next() {
			var b []byte
			if err := all.Scan(&b); err != nil {
				t.Fatal(err)
			}
			got.Write(b)
			count++
		}
		if err := all.Err(); err != nil {
			t.Fatal(err)
		}
		if count != n || string(got.Sum(nil)) != string(sent.Sum(nil)) {
			t.Errorf("format %d: %d rows of %d, and not the bytes that were sent", format, count, n)
		}
	}
}

// TestChaosVolume moves three times 256 MiB a round, SLUICE_CHAOS_ROUNDS of them: 14 are
// 10 GiB, which `make soak` does. One of 16 MiB else.
func TestChaosVolume(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("SLUICE_CHAOS_ROUNDS"))
	if err != nil {
		integrity(t, faults{}, 16<<20)
		return
	}
	for i := range rounds {
		integrity(t, faults{piece: 1 << (10 + i)}, 256<<20)
	}
}
