package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/policy"
)

// hostile is a proxy that was taken over: it speaks the channel, and asks for what
// it likes.
type hostile struct {
	t *testing.T
	c *channel.Conn
}

func (h *hostile) ask(m channel.Message) channel.Message {
	h.t.Helper()
	if err := h.c.Send(m); err != nil {
		h.t.Fatal(err)
	}
	got, fd, err := h.c.Receive()
	if err != nil {
		h.t.Fatal(err)
	}
	if fd >= 0 {
		os.NewFile(uintptr(fd), "").Close()
	}
	return got
}

func startHub(t *testing.T) (*hub, *hostile, chan error) {
	t.Helper()
	conn, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := channel.New(theirs)
	if err != nil {
		t.Fatal(err)
	}
	first := &rules{set: load(t, twoDatabases)}
	h := newHub(conn, func() *rules { return first }, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- h.run(context.Background()) }()
	t.Cleanup(func() {
		c.Close()
		conn.Close()
		h.working.Wait()
	})
	return h, &hostile{t, c}, done
}

func TestProxyGetsOnlyWhatItIsDue(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h, p, _ := startHub(t)
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer other.Close()
	t.Setenv("SLUICETEST_PASSWORD", "held")
	held := credential.New("app", &credential.Env{Name: "SLUICETEST_PASSWORD"}, credential.Options{})
	g := &granted{destination: netip.MustParseAddrPort(l.Addr().String()),
		provers: map[string]prover{"": {held, policy.AuthMD5, true}}}
	if err := h.give(&channel.Accepted{Fate: channel.Serve, Database: "wide"}, g, int(pipe.Fd())); err != nil {
		t.Fatal(err)
	}
	m, _, err := p.c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	id := m.(*channel.Accepted).Conn

	dialled := func(d *channel.Dial) channel.Code { return p.ask(d).(*channel.Dialled).Code }
	proved := func(x *channel.Prove) channel.Code { return p.ask(x).(*channel.Proved).Code }
	if got := dialled(&channel.Dial{ID: 1, Reach: channel.ToDatabase, Conn: id}); got != channel.Done {
		t.Errorf("dial of a live connection = %v, want Done", got)
	}
	if got := dialled(&channel.Dial{ID: 2, Reach: channel.ToDatabase, Conn: id + 1}); got != channel.Refused {
		t.Errorf("dial of a connection that there is not = %v, want Refused", got)
	}
	if got := dialled(&channel.Dial{ID: 3, Conn: id}); got != channel.Refused {
		t.Errorf("dial of nothing = %v, want Refused", got)
	}
	if got := dialled(&channel.Dial{ID: 4, Reach: channel.ToIssuer, Index: 7}); got != channel.Refused {
		t.Errorf("dial of an issuer that there is not = %v, want Refused", got)
	}
	if got := proved(&channel.Prove{ID: 5, Conn: id, Method: channel.MD5, Salt: []byte("abcd")}); got != channel.Done {
		t.Errorf("proof = %v, want Done", got)
	}
	if got := proved(&channel.Prove{ID: 6, Conn: id, Method: channel.MD5, Salt: []byte("abc")}); got == channel.Done {
		t.Error("proof with a short salt")
	}
	if got := proved(&channel.Prove{ID: 7, Conn: id, Method: channel.Cleartext}); got == channel.Done {
		t.Error("the redirector told the password")
	}
	if got := proved(&channel.Prove{ID: 8, Conn: id}); got == channel.Done {
		t.Error("proof without a method")
	}
	if got := proved(&channel.Prove{ID: 8, Conn: id, Credential: "reader", Method: channel.MD5, Salt: []byte("abcd")}); got == channel.Done {
		t.Error("proof of a credential that is not for the connection")
	}
	if m := p.ask(&channel.ReadToken{ID: 9, Conn: id}).(*channel.Token); m.Code == channel.Done {
		t.Error("a token where there is none")
	}
	h.rules().set.Agent().Issuers = []policy.Issuer{{Issuer: "http://" + l.Addr().String()}}
	limited := false
	for i := range uint64(2 * dialBurst) {
		limited = limited || dialled(&channel.Dial{ID: 1000 + i, Reach: channel.ToIssuer}) == channel.Limited
	}
	if !limited {
		t.Error("dials of issuers are not bounded")
	}
	limited = false
	for i := range uint64(2 * proofBurst) {
		limited = limited || proved(&channel.Prove{ID: 100 + i, Conn: id, Method: channel.MD5, Salt: []byte("abcd")}) == channel.Limited
	}
	if !limited {
		t.Error("proofs are not bounded")
	}
	if err := p.c.Send(&channel.Closed{Conns: []uint64{id}}); err != nil {
		t.Fatal(err)
	}
	if got := dialled(&channel.Dial{ID: 10, Reach: channel.ToDatabase, Conn: id}); got != channel.Refused {
		t.Errorf("dial of a closed connection = %v, want Refused", got)
	}
}

// What is no message for the redirector ends the channel, and with it the proxy.
func TestProxyThatSpeaksNonsenseIsGivenUp(t *testing.T) {
	_, p, done := startHub(t)
	if err := p.c.Send(&channel.Drain{}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, channel.ErrMessage) {
			t.Errorf("run = %v, want ErrMessage", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the hub goes on")
	}
}

func TestHubEndsWithItsProxy(t *testing.T) {
	_, p, done := startHub(t)
	p.c.Close()
	if err := <-done; err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("run = %v, want nil", err)
	}
}

// A workload that opens connections without end is cut off before the proxy sees them.
func TestCrowd(t *testing.T) {
	h, p, _ := startHub(t)
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer other.Close()
	most := h.rules().set.Agent().WorkloadSessions + spareConns
	h.each[7] = most - 1
	give := func(cgroup uint64) error {
		return h.give(&channel.Accepted{CgroupID: cgroup}, &granted{}, int(pipe.Fd()))
	}
	if err := give(7); err != nil {
		t.Fatalf("the last one that fits: %v", err)
	}
	if err := give(7); !errors.Is(err, errCrowd) {
		t.Errorf("one more = %v, want errCrowd", err)
	}
	if err := give(8); err != nil {
		t.Errorf("another workload: %v", err)
	}
	m, _, err := p.c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	h.forget(m.(*channel.Accepted).Conn)
	h.forget(m.(*channel.Accepted).Conn) // said twice, counted once
	if h.each[7] != most-1 {
		t.Errorf("%d counted after one has gone, want %d", h.each[7], most-1)
	}
}
