package agent

import (
	"context"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/agent/ca"
	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/sandbox"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol/postgres"
)

// The descriptors that the proxy inherits.
const (
	channelFD = 3 + iota
	_         // its own directory
	_         // directory of recordings
	endFD
)

// As paths, which is how the packages below want a directory.
const (
	privateDir = "/proc/self/fd/4"
	recordsDir = "/proc/self/fd/5"
)

// ProxyOptions are the arguments of the proxy process.
type ProxyOptions struct {
	Level  string // of its log
	Format string // of its log: text or json
	Sealed bool   // the second of its two steps, see package sandbox
}

// Proxy is the unprivileged process. The redirector starts it; nobody else has a use
// for it. It returns when the redirector closes the channel.
func Proxy(o ProxyOptions) error {
	if !o.Sealed {
		// Descriptors that our parent was given by its own are nothing for us.
		if err := unix.CloseRange(endFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
			return fmt.Errorf("close inherited descriptors: %w", err)
		}
		args := []string{"sluice", "proxy", "--level", o.Level, "--format", o.Format, "--sealed"}
		return sandbox.Enter(sandbox.Options{ReadWrite: []string{privateDir, recordsDir}, ReadOnly: libraries(), Optional: true}, args, runtimeEnv())
	}
	if err := sandbox.Seal(); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.Level)); err != nil {
		level = slog.LevelWarn
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, options)
	if o.Format == "json" {
		handler = slog.NewJSONHandler(os.Stderr, options)
	}
	p := &proxy{log: slog.New(handler).With("process", "proxy")}
	conn, err := channel.New(os.NewFile(channelFD, "channel"))
	if err != nil {
		return err
	}
	p.conn, p.requests = conn, newRequests(conn, &p.traffic.Unanswered)
	return p.run()
}

// libraries are what a binary needs to start that is linked dynamically, as that of
// `go test` is. The one that `make build` makes needs none.
func libraries() []string {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}
		}
	}
	return nil
}

// proxy is the state of the proxy process.
type proxy struct {
	log      *slog.Logger
	conn     *channel.Conn
	requests *requests
	traffic  tally.Traffic
	store    *record.Store
	server   *session.Server
	verifier atomic.Pointer[identity.Verifier]
	believed []policy.Issuer // what verifier was made of
	roots    [][]byte
	facts    atomic.Pointer[channel.Facts]
	draining atomic.Bool
	catalogs latest
	over     over

	ctx     context.Context
	cancel  context.CancelFunc
	serving sync.WaitGroup // sessions
	working sync.WaitGroup // the rest
	web     []*http.Server
}

// run serves what the redirector hands over.
func (p *proxy) run() error {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	defer p.end()
	for {
		m, fd, err := p.conn.Receive()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.message(m, fd); err != nil {
			return err
		}
	}
}

// end ends all sessions and closes what they wrote to.
func (p *proxy) end() {
	p.cancel()
	p.requests.close()
	p.conn.Close()
	for _, w := range p.web {
		w.Close()
	}
	p.serving.Wait()
	p.working.Wait()
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.log.Error("recordings not closed", "error", err)
		}
	}
}

// message acts on what the redirector says. It must not wait for anything that
// takes another message to come.
func (p *proxy) message(m channel.Message, fd int) error {
	switch m := m.(type) {
	case *channel.Config:
		return p.configure(m, fd)
	case *channel.Accepted:
		p.accepted(m, fd)
	case *channel.Dialled:
		p.requests.answered(m.ID, answer{m, fd})
	case *channel.Proved:
		p.requests.answered(m.ID, answer{m, fd})
	case *channel.Token:
		p.requests.answered(m.ID, answer{m, fd})
	case *channel.Listener:
		return p.listen(m, fd)
	case *channel.Report:
		data, err := channel.ReadMemory(fd)
		if err != nil {
			return err
		}
		f := new(channel.Facts)
		if err := json.Unmarshal(data, f); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		p.facts.Store(f)
		p.tellDenied()
	case *channel.Drain:
		p.drain(m.Grace)
	default:
		return fmt.Errorf("%w: %T is not for the proxy", channel.ErrMessage, m)
	}
	return nil
}

// configure puts a configuration in force, or says why not.
func (p *proxy) configure(m *channel.Config, fd int) error {
	answer := &channel.Ready{Generation: m.Generation, Code: channel.Done}
	data, err := channel.ReadMemory(fd)
	if err != nil {
		return err
	}
	if err := p.adopt(data); err != nil {
		answer.Code, answer.Text = channel.Failed, err.Error()
	}
	return p.conn.Send(answer)
}

func (p *proxy) adopt(data []byte) error {
	var b channel.Bundle
	if err := json.Unmarshal(data, &b); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	files := make([]policy.File, len(b.Files))
	for i, f := range b.Files {
		files[i] = policy.File{Name: f.Name, Data: f.Data, Object: f.Object}
	}
	set, err := policy.Load(files)
	if err != nil {
		return err
	}
	if b.Issuers != nil {
		set.Agent().Issuers = nil // that of the cluster is not in the files
		for _, i := range b.Issuers {
			set.Agent().Issuers = append(set.Agent().Issuers, policy.Issuer(i))
		}
	}
	r := &session.Rules{Set: set, Material: b.Material, MaskKey: b.MaskKey, Placeholders: map[string]*postgres.Verifier{}}
	for name, v := range b.Verifiers {
		r.Placeholders[name] = &postgres.Verifier{Salt: v.Salt, Iterations: v.Iterations, StoredKey: v.StoredKey, ServerKey: v.ServerKey}
	}
	for _, db := range set.Databases() {
		file := db.TLS.CA()
		if db.TLS.CASecret != nil && b.Material[file] == nil {
			continue // it can't be read now: its sessions are refused
		}
		if file != "" && !x509.NewCertPool().AppendCertsFromPEM(b.Material[file]) {
			return fmt.Errorf("%s: %s holds no certificate", db.Pos, file)
		}
	}
	verifier, err := p.issuers(set, b.Material)
	if err != nil {
		return err
	}
	if err := p.test(set); err != nil {
		return err
	}
	if p.server == nil {
		if err := p.open(set); err != nil {
			return err
		}
	}
	p.verifier.Store(verifier)
	if verifier != nil {
		r.Verify = verifier.Verify
	}
	p.server.Swap(r)
	return nil
}

// issuers returns what believes tokens, nil if no issuer is configured.
func (p *proxy) issuers(set *policy.Set, material map[string][]byte) (*identity.Verifier, error) {
	configured := set.Agent().Issuers
	var trusted [][]byte
	var all []identity.Issuer
	for n, i := range configured {
		name := i.CAFile
		if name == "" {
			name = session.SystemRoots
		}
		trusted = append(trusted, material[name])
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(material[name])
		all = append(all, identity.Issuer{URL: i.Issuer, Audiences: []string{i.Audience}, Required: i.Claims, Groups: i.Groups,
			Client: p.requests.issuerClient(n, roots)})
	}
	if old := p.verifier.Load(); reflect.DeepEqual(configured, p.believed) && reflect.DeepEqual(trusted, p.roots) {
		return old, nil // with the keys that it has: an issuer may be down when something else changes
	}
	v := (*identity.Verifier)(nil)
	if len(configured) > 0 {
		var err error
		if v, err = identity.NewVerifier(all, identity.Options{}); err != nil {
			return nil, err
		}
	}
	p.believed, p.roots = configured, trusted
	return v, nil
}

// open makes what lives as long as the process.
func (p *proxy) open(set *policy.Set) error {
	rec := set.Agent().Record
	o := record.Options{Interval: rec.Interval, Rows: int(rec.Rows), RowBytes: int(rec.Bytes),
		MaxBytes: rec.MaxBytes, MaxAge: rec.Retain, Log: p.log}
	if rec.Sync == policy.SyncAlways {
		o.Sync = record.Always
	}
	if rec.Rows == 0 || rec.Bytes == 0 {
		o.Rows = -1
	}
	var err error
	if p.store, err = record.Open(recordsDir, o); err != nil {
		return fmt.Errorf("open recordings: %w", err)
	}
	authority, err := ca.Open(privateDir, ca.Options{})
	if err != nil {
		return err
	}
	p.server = session.NewServer(session.Options{Redirector: p.requests, Store: p.store, Traffic: &p.traffic,
		Log: p.log, Leaf: authority.Leaf, Loaded: p.loaded})
	p.working.Go(func() { p.server.Run(p.ctx) })
	return nil
}

// accepted serves one connection.
func (p *proxy) accepted(m *channel.Accepted, fd int) {
	if p.server == nil || p.draining.Load() {
		unix.Close(fd)
		p.closed(m.Conn)
		return
	}
	var conn net.Conn = postgres.NewConn(fd)
	if m.Fate == channel.Pass { // nothing is read of it here
		var err error
		if conn, err = netConn(fd); err != nil {
			p.log.Warn("connection not usable", "error", err)
			p.closed(m.Conn)
			return
		}
	}
	c := session.Conn{
		ID: m.Conn, Net: conn, Database: m.Database, Host: m.Host, Destination: m.Destination, Unix: m.Unix, Netns: m.Netns, Client: m.Client,
		Refused: m.Reason, CgroupID: m.CgroupID, Token: m.Token, Passwords: m.Passwords,
		Process:  policy.Process{PID: m.PID, UID: m.UID, User: m.User, Exe: m.Exe, Cgroup: m.Cgroup},
		Workload: workloadOf(m),
	}
	if m.Fate == channel.Refuse && c.Refused == "" {
		c.Refused = "the connection was refused"
	}
	p.serving.Go(func() {
		defer p.closed(m.Conn)
		if m.Fate == channel.Pass {
			p.server.Relay(p.ctx, c)
			return
		}
		p.server.Serve(p.ctx, c)
	})
}

// listen serves on a socket that the redirector opened.
func (p *proxy) listen(m *channel.Listener, fd int) error {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	w := &http.Server{Handler: p.handler(m.Purpose), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug)}
	if m.Purpose == channel.ForAdmin {
		l = &peers{Listener: l, p: p}
	}
	p.web = append(p.web, w)
	p.working.Go(func() { w.Serve(l) })
	return nil
}

// drain takes no new sessions, waits for those that go on, and ends the process.
func (p *proxy) drain(grace time.Duration) {
	if p.draining.Swap(true) {
		return
	}
	p.working.Go(func() {
		done := make(chan struct{})
		go func() { p.serving.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(grace):
			p.log.Info("sessions ended by shutdown")
		case <-p.ctx.Done():
		}
		p.cancel()
		p.serving.Wait()
		p.conn.Close() // ends run, and tells the redirector
	})
}
