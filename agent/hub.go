package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/redirect"
)

// Bounds of what a proxy may ask for, whoever it has become.
const (
	maxAsked    = 512 // requests in work at once
	dialTimeout = 20 * time.Second
	askTimeout  = 20 * time.Second
	// A proxy that starts, or takes a configuration, on a node that is busy. Connections wait
	// for the first one meanwhile.
	configTimeout = 2 * time.Minute
	// A session dials once, and again for each cancel and for catalogs.
	dialBurst, dialsPerSecond = 64, 8
	// Each login takes one proof.
	proofBurst, proofsPerSecond = 64, 8
	// Connections of a workload beyond its sessions: what begins, cancels and ends.
	// More are closed without a word, before the proxy spends anything on them.
	spareConns = 128
)

// hub is the redirector's end of one proxy process: what it was given, and what it
// may therefore ask for. Nothing of it outlives the process.
type hub struct {
	conn  *channel.Conn
	log   *slog.Logger
	rules func() *rules
	ready chan *channel.Ready

	mu      sync.Mutex
	next    uint64
	conns   map[uint64]*granted
	each    map[uint64]int         // connections by enrolled cgroup
	issuers bucket                 // dials of issuers
	denied  func(cgroup, n uint64) // nil: nobody wants to know

	asked   chan struct{}
	working sync.WaitGroup
}

// granted is what an accepted connection entitles the proxy to.
type granted struct {
	destination netip.AddrPort
	unix        redirect.UnixEndpoint // "": destination
	cgroup      uint64
	netns       *os.File
	provers     map[string]prover // by name of the credential
	token       *identity.Source  // nil: none
	dials       bucket
	proofs      bucket
}

// prover is a credential that a connection may use, and how.
type prover struct {
	*credential.Prover
	weakest  policy.AuthMethod
	verified bool // the server shows who it is
}

// allows reports whether m may be answered. It is the redirector's own word on what
// the proxy has decided too.
func (p *prover) allows(m *channel.Prove) bool {
	switch m.Method {
	case channel.SCRAM:
		return p.verified || m.Iterations >= credential.LeastIterations
	case channel.MD5:
		return p.weakest >= policy.AuthMD5
	case channel.Cleartext:
		return p.weakest >= policy.AuthPassword && p.verified
	}
	return false
}

// bucket bounds a rate.
type bucket struct {
	level float64
	last  time.Time
}

func (b *bucket) take(burst, perSecond float64) bool {
	now := time.Now()
	if b.last.IsZero() {
		b.level = burst
	} else {
		b.level = min(burst, b.level+now.Sub(b.last).Seconds()*perSecond)
	}
	b.last = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

func newHub(conn *channel.Conn, rules func() *rules, log *slog.Logger) *hub {
	return &hub{conn: conn, log: log, rules: rules, ready: make(chan *channel.Ready, 1),
		conns: make(map[uint64]*granted), each: make(map[uint64]int), asked: make(chan struct{}, maxAsked)}
}

// give hands an accepted connection to the proxy. The caller closes fd.
func (h *hub) give(a *channel.Accepted, g *granted, fd int) error {
	h.mu.Lock()
	if h.each[a.CgroupID] >= h.rules().set.Agent().WorkloadSessions+spareConns {
		h.mu.Unlock()
		return errCrowd
	}
	h.each[a.CgroupID]++
	g.cgroup = a.CgroupID
	h.next++
	a.Conn = h.next
	h.conns[a.Conn] = g
	h.mu.Unlock()
	a.Trim()
	if err := h.conn.Send(a, fd); err != nil {
		h.forget(a.Conn)
		return err
	}
	return nil
}

// forget ends what a connection entitled to.
func (h *hub) forget(id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.conns[id]
	if g == nil {
		return
	}
	delete(h.conns, id)
	if g.token != nil {
		go g.token.Close() // who reads it may be held up by what the workload mounted there
	}
	if h.each[g.cgroup]--; h.each[g.cgroup] <= 0 {
		delete(h.each, g.cgroup)
	}
}

// run serves the proxy's requests until its end of the channel is closed.
func (h *hub) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer h.working.Wait()
	defer cancel()
	for {
		m, fd, err := h.conn.Receive()
		if fd >= 0 {
			unix.Close(fd) // no message to us has one
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		if err := h.message(ctx, m); err != nil {
			return err
		}
	}
}

func (h *hub) message(ctx context.Context, m channel.Message) error {
	switch m := m.(type) {
	case *channel.Ready:
		select {
		case h.ready <- m:
		default: // nobody asked
		}
	case *channel.Closed:
		for _, id := range m.Conns {
			h.forget(id)
		}
	case *channel.Denied:
		for i, id := range m.Cgroups {
			if h.denied != nil {
				h.denied(id, uint64(m.Counts[i]))
			}
		}
	case *channel.Dial:
		h.work(func() { h.dial(ctx, m) })
	case *channel.Prove:
		h.work(func() { h.prove(ctx, m) })
	case *channel.ReadToken:
		h.work(func() { h.readToken(m) })
	default:
		return fmt.Errorf("%w: %T is not for the redirector", channel.ErrMessage, m)
	}
	return nil
}

// work does f beside others. The proxy waits once too many are under way.
func (h *hub) work(f func()) {
	h.asked <- struct{}{}
	h.working.Go(func() {
		defer func() { <-h.asked }()
		f()
	})
}

func (h *hub) send(m channel.Message, files ...int) {
	if err := h.conn.Send(m, files...); err != nil && !errors.Is(err, unix.EPIPE) {
		h.log.Warn("proxy not reached", "error", err)
	}
}

// of returns what connection id entitles to, nil for nothing, and whether f allows it.
func (h *hub) of(id uint64, f func(*granted) bool) (*granted, channel.Code) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.conns[id]
	switch {
	case g == nil:
		return nil, channel.Refused
	case !f(g):
		return nil, channel.Limited
	}
	return g, channel.Done
}

func (h *hub) dial(ctx context.Context, m *channel.Dial) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	fd, err := -1, error(nil)
	code := channel.Refused
	switch m.Reach {
	case channel.ToDatabase:
		var g *granted
		g, code = h.of(m.Conn, func(g *granted) bool { return g.dials.take(dialBurst, dialsPerSecond) })
		switch {
		case g == nil:
		case g.unix != "":
			fd, err = redirect.DialUnix(ctx, g.netns, g.unix)
		default:
			fd, err = redirect.Dial(ctx, g.netns, g.destination)
		}
	case channel.ToIssuer:
		issuers := h.rules().set.Agent().Issuers
		if int(m.Index) >= len(issuers) {
			break
		}
		h.mu.Lock()
		due := h.issuers.take(dialBurst, dialsPerSecond)
		h.mu.Unlock()
		if code = channel.Limited; due {
			code = channel.Done
			fd, err = dialIssuer(ctx, issuers[m.Index].Issuer)
		}
	}
	answer := &channel.Dialled{ID: m.ID, Code: code}
	if err != nil {
		answer.Code, answer.Text = channel.Failed, err.Error()
		if ctx.Err() != nil {
			answer.Code = channel.Timeout
		}
	}
	if answer.Code != channel.Done {
		h.send(answer)
		return
	}
	h.send(answer, fd)
	unix.Close(fd)
}

// dialIssuer connects to the host of an issuer's URL, which is configuration.
func dialIssuer(ctx context.Context, issuer string) (int, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return -1, fmt.Errorf("dial issuer: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	addr, err := netip.ParseAddrPort(apiAddress(u.Hostname()))
	if err != nil {
		addr, err = resolveOne(ctx, u.Hostname(), port)
	}
	if err != nil {
		return -1, fmt.Errorf("dial issuer: %w", err)
	}
	return redirect.Dial(ctx, nil, addr)
}

func (h *hub) prove(ctx context.Context, m *channel.Prove) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer := &channel.Proved{ID: m.ID}
	g, code := h.of(m.Conn, func(g *granted) bool { return g.proofs.take(proofBurst, proofsPerSecond) })
	if g == nil {
		answer.Code = code
		h.send(answer)
		return
	}
	p, ok := g.provers[m.Credential]
	if !ok || !p.allows(m) {
		answer.Code, answer.Text = channel.Failed, "this proof is not for this connection, as the redirector knows it"
		if ok && m.Method == channel.SCRAM {
			answer.Text = fmt.Sprintf("a server that is not verified asks for a proof by %d iterations, and %d are the least", m.Iterations, credential.LeastIterations)
		}
		h.log.Warn("proof refused", "method", m.Method, "credential", m.Credential, "reason", answer.Text)
		h.send(answer)
		return
	}
	var err error
	switch m.Method {
	case channel.SCRAM:
		answer.Proof, answer.Signature, err = p.SCRAM(ctx, m.Salt, int(m.Iterations), m.AuthMessage)
	case channel.MD5:
		if len(m.Salt) != 4 {
			err = credential.ErrServer
			break
		}
		answer.Answer, err = p.MD5(ctx, [4]byte(m.Salt))
	case channel.Cleartext:
		answer.Answer, err = p.Cleartext(ctx)
	default:
		err = credential.ErrServer
	}
	answer.Code = channel.Done
	if err != nil {
		*answer = channel.Proved{ID: m.ID, Text: err.Error()}
		h.log.Warn("no proof of a credential", "error", err)
	}
	h.send(answer)
}

func (h *hub) readToken(m *channel.ReadToken) {
	answer := &channel.Token{ID: m.ID}
	g, code := h.of(m.Conn, func(g *granted) bool { return g.token != nil && g.proofs.take(proofBurst, proofsPerSecond) })
	if g == nil {
		answer.Code = code
		h.send(answer)
		return
	}
	raw, version, err := g.token.Read()
	var f *os.File
	if err == nil {
		f, err = channel.Memory("token", raw)
	}
	if err != nil {
		answer.Text = err.Error()
		h.send(answer)
		return
	}
	defer f.Close()
	answer.Code, answer.Version = channel.Done, version
	h.send(answer, int(f.Fd()))
}

// configure gives the proxy a configuration and waits for its word.
func (h *hub) configure(ctx context.Context, r *rules) error {
	f, err := channel.Memory("config", r.bundle)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := h.conn.Send(&channel.Config{Generation: r.generation}, int(f.Fd())); err != nil {
		return err
	}
	timeout := time.NewTimer(configTimeout)
	defer timeout.Stop()
	for {
		select {
		case m := <-h.ready:
			switch {
			case m.Generation != r.generation:
				continue
			case m.Code == channel.Done:
				return nil
			}
			return errors.New(m.Text)
		case <-timeout.C:
			return errors.New("the proxy does not answer")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
