package postgres_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSmuggle hides a statement that the gate denies where a proxy and a server might read
// the bytes differently. None may have run in the end, and the proxy serves on.
func TestSmuggle(t *testing.T) {
	cert, _ := leaf(t)
	p := start(t, server(t).Addr(), func(p *proxy) {
		p.gate.quiet = true
		p.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	})
	srv, db := server(t), pgDatabase(t)
	ran := func() []string {
		t.Helper()
		got, err := srv.Query(db, "select a from smuggled")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	text := "insert into smuggled values (1)"
	q := query("/*deny*/" + text)
	long := bytes.Repeat([]byte{'x'}, 17<<20) // more than is read as a whole
	resize := func(b []byte, n uint32) []byte {
		b = bytes.Clone(b)
		binary.BigEndian.PutUint32(b[1:], n)
		return b
	}
	startup := msg(0, 3<<16, "user", "app_rw", "database", db, []byte{0})
	ssl := msg(0, 1234<<16|5679)
	copyIn := query("copy lines from stdin")
	srv.Exec(t, db, "create table lines(a text); create table smuggled(a int); grant all on lines, smuggled to public")
	tests := []struct {
		name  string
		send  []byte
		first bool // it is the first that is sent
	}{
		{"behind a NUL", msg('Q', []byte("select 1\x00/*deny*/"+text+"\x00")), false},
		{"behind a NUL, and no end", msg('Q', []byte("select 1\x00/*deny*/"+text)), false},
		{"no NUL at the end", msg('Q', []byte("/*deny*/"+text)), false},
		{"Parse behind a NUL", join(msg('P', "", []byte("select 1\x00/*deny*/"+text+"\x00\x00\x00")), bind("", ""), execute("", 0), syncMsg()), false},
		{"Parse with a count that is not there", join(msg('P', "", "/*deny*/"+text, int16(7)), bind("", ""), execute("", 0), syncMsg()), false},
		{"in a name", join(parse("/*deny*/"+text, "select 1"), bind("", "/*deny*/"+text), execute("", 0), syncMsg()), false},
		{"in the tail of a Sync", join(msg('S', q), q), false},
		{"in the tail of a Flush", msg('H', q), false},
		{"in the tail of an Execute", join(parse("", "select 1"), bind("", ""), msg('E', "", 0, q), syncMsg()), false},
		{"in the tail of a Describe", join(parse("", "select 1"), msg('D', byte('S'), "", q), syncMsg()), false},
		{"in the tail of a Bind", join(parse("", "select 1"), msg('B', "", "", int16(0), int16(0), int16(0), q), execute("", 0), syncMsg()), false},
		{"in a parameter with a size below -1", join(parse("", "select $1::text"), msg('B', "", "", int16(0), int16(1), -2, q, int16(0)), execute("", 0), syncMsg()), false},
		{"in a parameter that is longer than its message", join(parse("", "select $1::text"), msg('B', "", "", int16(0), int16(1), 1<<30, int16(0)), q, syncMsg()), false},
		{"in CopyData where no COPY is", join(copyData(string(q)), syncMsg()), false},
		{"in CopyData of a COPY that failed", join(copyIn, copyData("ok\n"), copyFail("no"), copyData(string(q)), copyDone(), syncMsg()), false},
		{"in CopyData behind a COPY that the server ends", join(query("copy lines(nothing) from stdin"), copyData(string(q)), copyDone()), false},
		{"a Query while the server reads data", join(copyIn, q, copyDone()), false},
		{"in the tail of CopyDone", join(copyIn, msg('c', q), q), false},
		{"in a message that is too long", msg('Q', long, q, "/*deny*/"+text), false},
		{"in a Bind that is too long", join(parse("", "select 1"), msg('B', long, q), q, syncMsg()), false},
		{"in what is dropped up to Sync", join(parse("", "selec"), msg('B', long[:1<<20], q), msg('Q', long[:1<<20], q), syncMsg()), false},
		{"a length of 0", join(resize(q, 0), q), false},
		{"a length of 3", join(resize(q, 3), q), false},
		{"a length below 0", join(resize(q, 1<<32-1), q), false},
		{"a length of 2 GiB", join(resize(q, 1<<31-1), q), false},
		{"a length that ends in the text", join(resize(q, 9), q), false},
		{"a type that is none", join(msg('?', q), q), false},
		{"a type of the server", join(msg('T', q), msg('Z', byte('I')), q), false},
		{"a type of zero", join([]byte{0}, q, q), false},
		{"a password behind the login", join(msg('p', q), q), false},
		{"an SSLRequest behind the login", join(ssl, q), false},
		{"a function call", join(msg('F', 1598, int16(0), int16(0), int16(0)), q), false},
		{"behind Terminate", join(terminate(), q), false},
		{"before the login is done", join(startup, q), true},
		{"a startup packet behind another", join(startup, startup, q), true},
		{"in clear text behind an SSLRequest", join(ssl, startup, q), true},
		{"in a startup packet", join(msg(0, 3<<16, "user", "app_rw", "database", db, "options", "-c x="+string(q), []byte{0}), q), true},
		{"behind the end of a startup packet", join(msg(0, 3<<16, "user", "app_rw", "database", db, []byte{0}, q), q), true},
		{"behind a CancelRequest", join(msg(0, 1234<<16|5678, 1, 2), startup, q), true},
		{"behind a GSSENCRequest", join(msg(0, 1234<<16|5680), startup, q), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{0, 1, 7} { // bytes of a segment
				if size > 0 && len(tt.send) > 1<<20 {
					continue
				}
				conn, err := net.Dial("tcp", p.ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				r := &raw{t, conn}
				if !tt.first {
					r.send(startup)
					r.until('Z')
				}
				go func() {
					defer conn.(*net.TCPConn).CloseWrite()
					conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
					for b := tt.send; len(b) > 0; {
						n := len(b)
						if size > 0 {
							n = min(n, size)
						}
						if _, err := conn.Write(b[:n]); err != nil {
							return
						}
						b = b[n:]
					}
				}()
				conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
					t.Errorf("in pieces of %d: the session does not end", size)
				}
				conn.Close()
				if got := ran(); len(got) > 0 {
					srv.Exec(t, db, "truncate smuggled")
					t.Fatalf("in pieces of %d: it ran", size)
				}
			}
		})
	}
	r := dialRaw(t, p.ln.Addr().String(), db)
	r.send(query(text))
	if got := r.until('Z'); len(ran()) != 1 {
		t.Errorf("what is not denied, and not hidden, did not run: %s", got)
	}
	srv.Exec(t, db, "drop table smuggled, lines")
}
