package postgres_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/protocol/postgres"
)

// tolerant is a Gate that allows everything without parsing it.
type tolerant struct{ nothing }

func (tolerant) Judge(_ context.Context, q *protocol.Query) *protocol.Judgement {
	return &protocol.Judgement{Text: q.Text, Named: len(q.Text)%5 == 4, Plans: []protocol.Plan{{Verdict: protocol.Allow, Returns: true,
		Sensitive: len(q.Text)%3 == 2, Limits: protocol.Limits{Rows: 3}, Columns: []protocol.Column{{Scan: true}}}}}
}

func (tolerant) Value(_ *protocol.Run, _, _ int, v []byte) ([]byte, bool) {
	return []byte("x"), len(v)%2 == 0
}

// meet has a client send toServer, and a server that says toClient behind a login.
func meet(toServer, toClient []byte, hello bool) {
	meetAs(toServer, toClient, hello, func(*postgres.SessionConfig) {})
}

// meetAs is meet with another configuration of the session.
func meetAs(toServer, toClient []byte, hello bool, change func(*postgres.SessionConfig)) {
	client, near := net.Pipe()
	far, server := net.Pipe()
	srv := postgres.NewServer(postgres.Options{StartupTimeout: time.Second, ConnectTimeout: time.Second, MaxStatement: 1 << 16, MaxRow: 1 << 16})
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(context.Background(), postgres.Accepted{Conn: near, Open: func(context.Context, *postgres.Startup) (*postgres.SessionConfig, *protocol.Refusal) {
			c := &postgres.SessionConfig{Gate: tolerant{}, User: "u", Database: "d", Auth: secret{"u", "p"},
				Dial: func(context.Context) (net.Conn, error) { return far, nil }}
			change(c)
			return c, nil
		}})
	}()
	both := make(chan struct{}, 2)
	go func() {
		defer func() { server.Close(); both <- struct{}{} }()
		server.SetDeadline(time.Now().Add(2 * time.Second))
		go io.Copy(io.Discard, server)
		if hello {
			server.Write(join(msg('R', 0), msg('K', 1, 2), msg('Z', byte('I'))))
		}
		if len(toClient) > 0 { // a pipe waits for a reader of nothing, too
			server.Write(toClient)
		}
		time.Sleep(time.Millisecond)
	}()
	go func() {
		defer func() { client.Close(); both <- struct{}{} }()
		client.SetDeadline(time.Now().Add(2 * time.Second))
		go io.Copy(io.Discard, client)
		client.Write(toServer)
		time.Sleep(time.Millisecond)
	}()
	<-both
	<-both
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		panic("the session does not end")
	}
	far.Close()
}

var fuzzStartup = msg(0, 3<<16, "user", "u", []byte{0})

func FuzzStartup(f *testing.F) {
	f.Add(fuzzStartup)
	f.Add(msg(0, 1234<<16|5679))
	f.Add(msg(0, 1234<<16|5678, 1, 2))
	f.Add(msg(0, 3<<16|2, "user", "u", "options", `-c a=b --c=d\ e`, "_pq_.x", "y", []byte{0}))
	f.Fuzz(func(t *testing.T, b []byte) { meet(b, nil, true) })
}

func FuzzFrontend(f *testing.F) {
	for _, e := range exchanges {
		f.Add(e.send)
	}
	f.Fuzz(func(t *testing.T, b []byte) { meet(join(fuzzStartup, b), nil, true) })
}

func FuzzBackend(f *testing.F) {
	row := msg('D', int16(1), 1, []byte("x"))
	shape := msg('T', int16(1), "c", 0, int16(0), 25, int16(-1), -1, int16(0))
	f.Add(all("select 1"), join(msg('1'), msg('2'), shape, row, row, row, row, msg('C', "SELECT 4"), msg('Z', byte('I'))))
	f.Add(query("select 1"), join(shape, row, msg('C', "SELECT 1"), msg('Z', byte('I'))))
	f.Add(query("copy"), join(msg('G', byte(0), int16(0)), msg('E', byte('S'), "ERROR", byte('C'), "22012", byte('P'), "3", byte(0)), msg('Z', byte('I'))))
	f.Add(query("x"), join(msg('S', "client_encoding", "SJIS"), msg('A', 1, "c", "p"), msg('N', byte('M'), "m", byte(0))))
	f.Fuzz(func(t *testing.T, client, server []byte) { meet(join(fuzzStartup, client), server, true) })
}

func FuzzLogin(f *testing.F) {
	f.Add(join(msg('R', 10, "SCRAM-SHA-256", byte(0)), msg('R', 11, []byte("r=x,s=YQ==,i=4096")), msg('R', 12, []byte("v=YQ==")), msg('R', 0)))
	f.Add(msg('R', 10, "CRAM-SHA-256", "", []byte("r"))) // mechanisms behind the end
	f.Add(msg('R', 10, []byte("SCRAM-SHA-256")))         // mechanisms without an end
	f.Add(join(msg('R', 5, []byte("salt")), msg('R', 0), msg('K', 1, 2), msg('Z', byte('I'))))
	f.Add(msg('E', byte('S'), "FATAL", byte('C'), "28P01", byte('M'), "no", byte(0)))
	f.Fuzz(func(t *testing.T, b []byte) { meet(fuzzStartup, b, false) })
}

// FuzzClientLogin has clients guess at a placeholder: whatever they send, the
// database is not even dialled.
func FuzzClientLogin(f *testing.F) {
	first := msg('p', "SCRAM-SHA-256", 12, []byte("n,,n=,r=abcd"))
	f.Add(first)
	f.Add(join(first, msg('p', []byte("c=biws,r=abcd,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))))
	f.Add(msg('p', "SCRAM-SHA-256-PLUS", 33, []byte("p=tls-server-end-point,,n=,r=abcd")))
	f.Add(msg('p', "placeholder"))
	held := verifier("placeholder")
	f.Fuzz(func(t *testing.T, b []byte) {
		meetAs(join(fuzzStartup, b), nil, false, func(c *postgres.SessionConfig) {
			c.ClientAuth.SCRAM = held
			c.Dial = func(context.Context) (net.Conn, error) { panic("a client that proved nothing was let in") }
		})
	})
}

// FuzzPassthrough has both sides send what they like while a login is relayed.
func FuzzPassthrough(f *testing.F) {
	first := msg('p', "SCRAM-SHA-256", 12, []byte("n,,n=,r=abcd"))
	final := msg('p', []byte("c=biws,r=abcdef,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))
	server := join(msg('R', 10, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", []byte{0}), msg('R', 11, []byte("r=abcdef,s=YQ==,i=4096")),
		msg('R', 12, []byte("v=YQ==")), msg('R', 0), msg('K', 1, 2), msg('Z', []byte("I")))
	f.Add(join(first, final, query("select 1")), server)
	f.Add(msg('p', "md5"+"0123456789abcdef0123456789abcdef"), join(msg('R', 5, []byte("salt")), msg('R', 0), msg('Z', []byte("I"))))
	f.Add(msg('p', "secret"), msg('R', 3))
	f.Fuzz(func(t *testing.T, client, server []byte) {
		meetAs(join(fuzzStartup, client), server, false, func(c *postgres.SessionConfig) {
			c.Passthrough, c.Weakest, c.Auth = true, postgres.AuthPassword, nil
		})
	})
}
