package e2e_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/test/sluicetest"
)

// pretender is a database server that lets everybody in and answers each query
// with what answer says, until its own end.
func pretender(t *testing.T, answer func(sql string) []byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pretend(c, answer)
		}
	}()
	return l.Addr().String()
}

func pretend(c net.Conn, answer func(sql string) []byte) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head[:4]); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head))-4); err != nil {
		return
	}
	ready := frame('Z', "I")
	hello := frame('R', "\x00\x00\x00\x00")
	for _, s := range []string{"server_version\x0015.0\x00", "server_encoding\x00UTF8\x00", "client_encoding\x00UTF8\x00", "standard_conforming_strings\x00on\x00"} {
		hello = append(hello, frame('S', s)...)
	}
	hello = append(append(hello, frame('K', "\x00\x00\x00\x01\x00\x00\x00\x02")...), ready...)
	c.Write(hello)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		if head[0] == 'Q' {
			c.Write(answer(strings.TrimRight(string(body), "\x00")))
		} else if head[0] == 'S' {
			c.Write(ready)
		} else if head[0] == 'X' {
			return
		}
	}
}

// TestHostileServer has a server answer catalog queries with what they cannot have.
// Other sessions must go on: one process serves them all.
func TestHostileServer(t *testing.T) {
	ready := string(frame('Z', "I"))
	done := string(frame('C', "SELECT 1\x00")) + ready
	answers := map[string]string{
		"row of no columns":   string(frame('D', "\x00\x00")) + done,
		"row without header":  string(frame('D', "\x00\x01\x00\x00\x00\x01x")) + done,
		"row too short":       string(frame('D', "\x00\x05")) + done,
		"negative count":      string(frame('D', "\xff\xff")) + done,
		"NULL":                string(frame('D', "\x00\x01\xff\xff\xff\xff")) + done,
		"value too long":      string(frame('D', "\x00\x01\x7f\xff\xff\xff")) + done,
		"columns cut":         string(frame('T', "\xff\xff")) + done,
		"empty row":           string(frame('D', "")) + done,
		"two ends":            done + done,
		"copy":                string(frame('H', "\x00\x00\x00")) + done,
		"empty error":         string(frame('E', "")) + ready,
		"huge":                "D\x7f\xff\xff\xff",
		"negative":            "D\xff\xff\xff\xff",
		"ready of no status":  string(frame('Z', "")),
		"status":              string(frame('S', "client_encoding\x00SJIS\x00")) + done,
		"status of no value":  string(frame('S', "client_encoding")) + done,
		"authentication":      string(frame('R', "\x00\x00\x00\x03")) + done,
		"notice of nothing":   string(frame('N', "")) + done,
		"unknown":             string(frame('!', "")) + done,
		"notification":        string(frame('A', "")) + done,
		"many columns of row": string(frame('D', "\x00\x63"+strings.Repeat("\xff\xff\xff\xff", 99))) + done,
	}
	server := setUp(t)
	var databases []sluicetest.Database
	names := map[string]string{}
	for name, answer := range answers {
		address := pretender(t, func(string) []byte { return []byte(answer) })
		names[name] = address
		databases = append(databases, sluicetest.Database{Name: "d" + address[strings.LastIndexByte(address, ':')+1:], Endpoint: address, Username: "app_rw", Password: "x"})
	}
	s := sluicetest.Start(t, sluicetest.Options{Databases: append(databases, sluicetest.Shop(server.server)), Policy: sluicetest.CorpusPolicy})
	steady := session(t, s, server.server.Addr(), server.db)
	for name, address := range names {
		t.Run(name, func(t *testing.T) {
			conn, err := s.Dial(context.Background(), address)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			w := dial(t, s, address)
			if a := w.login("app_rw", "postgres", "x"); a.closed {
				t.Fatalf("login: %v", a)
			}
			w.SetDeadline(time.Now().Add(20 * time.Second))
			if a := w.query("SELECT name FROM app.customers"); a.rows > 0 || a.code() == "" {
				t.Errorf("got %v", a)
			}
			if a := steady.query("SELECT name FROM app.customers WHERE id = 1"); a.rows != 1 {
				t.Fatalf("another session does not go on: %v", a)
			}
		})
	}
}
