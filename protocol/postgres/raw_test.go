package postgres_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// raw is a client that speaks bytes.
type raw struct {
	t    testing.TB
	conn net.Conn
}

func msg(kind byte, parts ...any) []byte {
	b := []byte{kind, 0, 0, 0, 0}
	if kind == 0 {
		b = b[1:]
	}
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			b = append(append(b, v...), 0)
		case []byte:
			b = append(b, v...)
		case byte:
			b = append(b, v)
		case int16:
			b = binary.BigEndian.AppendUint16(b, uint16(v))
		case int32:
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		}
	}
	at := 1
	if kind == 0 {
		at = 0
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

func query(s string) []byte       { return msg('Q', s) }
func parse(name, s string) []byte { return msg('P', name, s, int16(0)) }
func bind(portal, st string, params ...string) []byte {
	args := []any{portal, st, int16(0), int16(len(params))}
	for _, p := range params {
		args = append(args, len(p), []byte(p))
	}
	return msg('B', append(args, int16(0))...)
}
func describe(kind byte, name string) []byte { return msg('D', kind, name) }
func execute(portal string, rows int) []byte { return msg('E', portal, rows) }
func closeMsg(kind byte, name string) []byte { return msg('C', kind, name) }
func syncMsg() []byte                        { return msg('S') }
func flushMsg() []byte                       { return msg('H') }
func copyData(s string) []byte               { return msg('d', []byte(s)) }
func copyDone() []byte                       { return msg('c') }
func copyFail(s string) []byte               { return msg('f', s) }
func terminate() []byte                      { return msg('X') }

// all is P, B, E of one statement.
func all(s string) []byte {
	return join(parse("", s), bind("", ""), execute("", 0))
}

func join(list ...[]byte) []byte {
	var b []byte
	for _, m := range list {
		b = append(b, m...)
	}
	return b
}

// dialRaw connects and reads up to the first ReadyForQuery.
func dialRaw(t testing.TB, addr, database string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &raw{t, conn}
	r.send(msg(0, 3<<16, "user", "app_rw", "database", database, []byte{0}))
	if got := r.until('Z'); !strings.HasSuffix(got, "Z I") {
		t.Fatalf("startup: %s", got)
	}
	return r
}

func (r *raw) send(b ...[]byte) {
	r.t.Helper()
	r.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := r.conn.Write(join(b...)); err != nil {
		r.t.Fatalf("send: %v", err)
	}
}

// next reads one message and tells it in words.
func (r *raw) next() (byte, string, error) {
	var head [5]byte
	r.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(r.conn, head[:]); err != nil {
		return 0, "", err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	if _, err := io.ReadFull(r.conn, body); err != nil {
		return 0, "", err
	}
	switch head[0] {
	case 'E', 'N':
		f := fields(body)
		return head[0], strings.TrimSpace(fmt.Sprintf("%c %s %s %s %s", head[0], f['V'], f['C'], f['M'], f['P'])), nil
	case 'Z', 'C', 'D', 'd':
		return head[0], fmt.Sprintf("%c %s", head[0], strings.Map(func(r rune) rune {
			if r < 32 {
				return -1
			}
			return r
		}, string(body))), nil
	case 'T':
		var b strings.Builder
		for rest := string(body[2:]); rest != ""; {
			name, more, _ := strings.Cut(rest, "\x00")
			fmt.Fprintf(&b, "T %s %x", name, more[4:18]) // without the table's oid
			rest = more[18:]
		}
		return head[0], b.String(), nil
	case 'A':
		return head[0], fmt.Sprintf("A %q", body[4:]), nil
	case 'K', 'S':
		return head[0], string(head[0]), nil
	}
	return head[0], fmt.Sprintf("%c %x", head[0], body), nil
}

func fields(body []byte) map[byte]string {
	m := map[byte]string{}
	for len(body) > 1 && body[0] != 0 {
		s, _, _ := strings.Cut(string(body[1:]), "\x00")
		m[body[0]] = s
		body = body[len(s)+2:]
	}
	return m
}

// until reads up to a message of kind, or the end.
func (r *raw) until(kind byte) string {
	r.t.Helper()
	var lines []string
	for {
		k, s, err := r.next()
		if err == io.EOF {
			return strings.Join(append(lines, "EOF"), "\n")
		} else if err != nil {
			return strings.Join(append(lines, "error "+err.Error()), "\n")
		}
		lines = append(lines, s)
		if k == kind {
			return strings.Join(lines, "\n")
		}
	}
}

// rounds reads up to the nth ReadyForQuery, or the end.
func (r *raw) rounds(n int) string {
	var lines []string
	for range n {
		s := r.until('Z')
		lines = append(lines, s)
		if strings.HasSuffix(s, "EOF") || strings.Contains(s, "\nerror ") {
			break
		}
	}
	return strings.Join(lines, "\n")
}
