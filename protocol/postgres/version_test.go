package postgres_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// newer is a server of a version that nobody here has installed. It lets everybody in,
// lets queries wait for their cancel, and tells of the CancelRequests that it gets.
type newer struct {
	version string
	key     []byte
	cancels chan []byte
	cancel  chan struct{}
}

func (n *newer) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	body := make([]byte, binary.BigEndian.Uint32(head)-8)
	if _, err := io.ReadFull(c, body); err != nil {
		return
	}
	if binary.BigEndian.Uint32(head[4:]) == 1234<<16|5678 {
		n.cancels <- body
		n.cancel <- struct{}{}
		return
	}
	c.Write(join(msg('R', 0), msg('S', "server_version", n.version), msg('S', "client_encoding", "UTF8"),
		msg('S', "standard_conforming_strings", "on"), msg('K', 4711, n.key), msg('Z', []byte("I"))))
	for {
		if _, err := io.ReadFull(c, head[:5]); err != nil || head[0] == 'X' {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
			return
		}
		if head[0] == 'Q' {
			<-n.cancel
			c.Write(join(msg('E', append([]byte("SERROR\x00VERROR\x00C57014\x00Mcanceled\x00"), 0)), msg('Z', []byte("I"))))
		}
	}
}

// TestVersions asks for each version of the protocol. A client gets long cancel keys
// if it can read them and the server has them; the server's own stays here.
func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		server    string
		version   int
		options   []any
		negotiate string // version and options that are not known, in NegotiateProtocolVersion
		key       int    // bytes
	}{
		{"18.1", 3 << 16, nil, "", 4},
		{"18.1", 3<<16 | 2, nil, "", 32},
		{"18.1", 3<<16 | 2, []any{"_pq_.speed", "high", "_pq_.x", ""}, "3.2 _pq_.speed _pq_.x", 32},
		{"18.1", 3<<16 | 9999, nil, "3.2", 32}, // as clients grease it
		{"18.1", 3<<16 | 1, nil, "", 4},
		{"18.1", 3 << 16, []any{"_pq_.x", "1"}, "3.0 _pq_.x", 4},
		{"15.9", 3<<16 | 2, nil, "", 4},
	} {
		t.Run(fmt.Sprintf("%s/%d.%d/%d", tt.server, tt.version>>16, tt.version&0xffff, len(tt.options)), func(t *testing.T) {
			s := &newer{version: tt.server, key: bytes.Repeat([]byte("0123456789abcdef"), 2), cancels: make(chan []byte, 1), cancel: make(chan struct{}, 1)}
			if strings.HasPrefix(tt.server, "15") {
				s.key = s.key[:4]
			}
			p := start(t, listen(t, s.serve), nil)
			conn, err := net.Dial("tcp", p.ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r := &raw{t, conn}
			r.send(msg(0, append(append([]any{tt.version, "user", "app_rw", "database", "x"}, tt.options...), []byte{0})...))
			negotiated, pid, key := hello(t, conn)
			if negotiated != tt.negotiate {
				t.Errorf("negotiated %q, want %q", negotiated, tt.negotiate)
			}
			if len(key) != tt.key || bytes.Contains(s.key, key) {
				t.Errorf("the client's key is %x, want %d bytes of its own", key, tt.key)
			}
			r.send(query("select 1"))
			send := func(pid uint32, key []byte) {
				t.Helper()
				c, err := net.Dial("tcp", p.ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.Write(msg(0, 1234<<16|5678, int(pid), key))
				io.Copy(io.Discard, c)
			}
			for p.srv.Stats.BytesToServer.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			// Neither a part of the key, nor more than it, nor the server's.
			for _, wrong := range [][]byte{key[:4], append(bytes.Clone(key), 0), make([]byte, len(key)), s.key} {
				if !bytes.Equal(wrong, key) {
					send(pid, wrong)
				}
			}
			if n := len(s.cancels); n != 0 {
				t.Fatalf("%d wrong keys were passed on", n)
			}
			send(pid, key)
			if got, want := <-s.cancels, append(binary.BigEndian.AppendUint32(nil, 4711), s.key...); !bytes.Equal(got, want) {
				t.Errorf("the server was sent %x, want %x", got, want)
			}
			if got := r.until('Z'); !strings.Contains(got, "57014") {
				t.Errorf("the query ended with %s", got)
			}
		})
	}
}

// hello reads up to the first ReadyForQuery.
func hello(t *testing.T, conn net.Conn) (negotiated string, pid uint32, key []byte) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(conn, body); err != nil {
			t.Fatal(err)
		}
		switch head[0] {
		case 'v':
			version, count := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
			options := strings.Split(strings.TrimSuffix(string(body[8:]), "\x00"), "\x00")
			if count == 0 {
				options = nil
			}
			if len(options) != int(count) {
				t.Errorf("%d options announced: %q", count, options)
			}
			negotiated = strings.Join(append([]string{fmt.Sprintf("%d.%d", version>>16, version&0xffff)}, options...), " ")
		case 'K':
			pid, key = binary.BigEndian.Uint32(body), body[4:]
		case 'E':
			t.Fatalf("error: %s", hex.Dump(body))
		case 'Z':
			return negotiated, pid, key
		}
	}
}
