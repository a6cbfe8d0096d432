package postgres_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/protocol/postgres"
)

// bare returns conn as the agent hands connections over.
func bare(conn net.Conn) net.Conn {
	defer conn.Close()
	f, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		panic(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		panic(err)
	}
	return postgres.NewConn(fd)
}

func pair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := bare(b)
	t.Cleanup(func() { a.Close(); c.Close() })
	return a, c
}

// A Conn is like any other, whether what is asked of it is there or has to be waited for.
func TestConn(t *testing.T) {
	a, c := pair(t)
	go func() {
		a.Write([]byte("here"))
		time.Sleep(50 * time.Millisecond)
		a.Write([]byte("later"))
	}()
	time.Sleep(20 * time.Millisecond)
	b := make([]byte, 9)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "herelater" {
		t.Fatalf("read %q, %v", b, err)
	}
	big := make([]byte, 8<<20)
	read := make(chan struct{})
	go func() { io.Copy(io.Discard, io.LimitReader(a, int64(len(big)))); close(read) }()
	if n, err := c.Write(big); n != len(big) || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	<-read
	a.Close()
	if n, err := c.Read(b); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if c.Close() != nil {
		t.Error("not closed")
	}
	if _, err := c.Read(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestConnDeadline(t *testing.T) {
	for _, tt := range []struct {
		name string
		when func(net.Conn)
	}{
		{"before it waits", func(c net.Conn) { c.SetReadDeadline(time.Now().Add(30 * time.Millisecond)) }},
		{"while it waits", func(c net.Conn) {
			time.AfterFunc(30*time.Millisecond, func() { c.SetDeadline(time.Unix(1, 0)) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := pair(t)
			tt.when(c)
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}

func TestConnEndsAtOnce(t *testing.T) {
	a, c := pair(t)
	a.Close()
	time.Sleep(10 * time.Millisecond)
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if err := c.(*postgres.Conn).CloseWrite(); err != nil {
		t.Errorf("a half of it is missing: %v", err)
	}
}
