package postgres_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"sluicegate.io/sluice/protocol"
)

// nothing is the cheapest Gate there can be.
type nothing struct{}

var anything sync.Map

func (nothing) Judge(_ context.Context, q *protocol.Query) *protocol.Judgement {
	if j, ok := anything.Load(q.Text); ok {
		return j.(*protocol.Judgement)
	}
	j := &protocol.Judgement{Text: q.Text, Plans: []protocol.Plan{{Verdict: protocol.Allow, Returns: q.Text[0] == 'S'}}}
	anything.Store(q.Text, j)
	return j
}
func (nothing) Begin(context.Context, *protocol.Run) *protocol.Refusal { return nil }
func (nothing) Refused(string, *protocol.Refusal)                      {}
func (nothing) Shape(*protocol.Run, int, []protocol.ResultColumn) *protocol.Refusal {
	return nil
}
func (nothing) Rows(*protocol.Run, int, []byte, int)     {}
func (nothing) End(*protocol.Run, int, protocol.Outcome) {}

// listen serves loopback connections with serve until the test ends.
func listen(t testing.TB, serve func(net.Conn)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return ln.Addr().String()
}
