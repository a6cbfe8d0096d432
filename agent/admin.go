package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/agent/metrics"
	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/protocol/postgres"
)

// Status is what `sluice status` shows.
type Status struct {
	Facts    *channel.Facts    `json:"agent"`
	Sessions []session.Session `json:"sessions"`
	Ready    bool              `json:"ready"`
	Problems []string          `json:"problems,omitempty"` // why it is not
	Observe  []string          `json:"observe,omitempty"`  // databases and policies that do not enforce
	// Misfits is what the configuration says that does not fit a database, as its
	// catalog shows it: masks that can't apply, patterns that match nothing.
	Misfits map[string][]string `json:"misfits,omitempty"`
}

// handler serves metrics and health, or the admin socket.
func (p *proxy) handler(purpose channel.Purpose) http.Handler {
	shown := metrics.Handler(p.sources(), p.conditions)
	if purpose == channel.ForMetrics {
		return shown
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", shown)
	mux.Handle("/healthz", shown)
	mux.Handle("/readyz", shown)
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, p.status()) })
	mux.HandleFunc("GET /v1/sessions", p.sessions)
	mux.HandleFunc("GET /v1/replay/{id}", p.replay)
	mux.HandleFunc("GET /v1/tail", p.tail)
	return mux
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func (p *proxy) status() *Status {
	s := &Status{Facts: p.facts.Load(), Sessions: p.server.Sessions(), Ready: true, Misfits: p.server.Problems()}
	for _, c := range p.conditions() {
		if err := c.Check(); err != nil {
			s.Ready = false
			s.Problems = append(s.Problems, c.Name+": "+err.Error())
		}
	}
	if r := p.server.Rules(); r != nil {
		for _, db := range r.Set.Databases() {
			if db.Enforce != 0 {
				s.Observe = append(s.Observe, "Database "+db.Name)
			}
		}
		for _, pol := range r.Set.Policies() {
			if pol.Enforce != 0 {
				s.Observe = append(s.Observe, "Policy "+pol.Name)
			}
		}
	}
	return s
}

func (p *proxy) sessions(w http.ResponseWriter, r *http.Request) {
	all, err := record.Sessions(recordsDir, record.Filter{Limit: 10_000})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, all)
}

func (p *proxy) replay(w http.ResponseWriter, r *http.Request) {
	s, err := record.Find(recordsDir, r.PathValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	stream(w, func(yield func(*record.Event, error) bool) { record.Read(recordsDir, s.ID)(yield) })
}

func (p *proxy) tail(w http.ResponseWriter, r *http.Request) {
	var id record.ID
	if text := r.URL.Query().Get("session"); text != "" {
		s, err := record.Find(recordsDir, text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		id = s.ID
	}
	stream(w, record.Tail(r.Context(), recordsDir, id))
}

// stream sends one event a line.
func stream(w http.ResponseWriter, events func(func(*record.Event, error) bool)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	for e, err := range events {
		if err != nil || enc.Encode(e) != nil || flush.Flush() != nil {
			return
		}
	}
}

// conditions must hold for the agent to be ready.
func (p *proxy) conditions() []metrics.Condition {
	all := []metrics.Condition{
		{Name: "policy", Check: func() error {
			if p.server == nil || p.server.Rules() == nil {
				return errors.New("no configuration in force")
			}
			return nil
		}},
		{Name: "record", Check: func() error { return p.store.Health() }},
		{Name: "redirect", Check: func() error {
			f := p.facts.Load()
			switch {
			case f == nil:
				return errors.New("the redirector has not reported yet")
			case len(f.Problems) > 0:
				return fmt.Errorf("%d problems, the first: %s", len(f.Problems), f.Problems[0])
			}
			return nil
		}},
		{Name: "drain", Check: func() error {
			if p.draining.Load() {
				return errors.New("shutting down")
			}
			return nil
		}},
	}
	if f := p.facts.Load(); f != nil {
		for _, name := range slices.Sorted(maps.Keys(f.Failing)) {
			all = append(all, metrics.Condition{Name: name, Check: func() error { return errors.New(f.Failing[name]) }})
		}
	}
	return all
}

// sources are what metrics read.
func (p *proxy) sources() metrics.Sources {
	facts := func() *channel.Facts {
		if f := p.facts.Load(); f != nil {
			return f
		}
		return &channel.Facts{}
	}
	s := metrics.Sources{
		Traffic:  func() *tally.Traffic { p.count(); return &p.traffic },
		Record:   func() record.Stats { return p.store.Stats() },
		Catalogs: func() map[string]time.Time { return p.server.Catalogs() },
		Version:  func() string { return facts().Version },
		Identity: func() identity.Stats {
			if v := p.verifier.Load(); v != nil {
				return v.Stats()
			}
			return identity.Stats{}
		},
		Restarts: func() uint64 { return facts().Restarts },
		Kernel: func() metrics.Kernel {
			f := facts()
			k := metrics.Kernel{Maps: map[string]metrics.Fill{}, Refusals: f.Refusals, Problems: len(f.Problems)}
			for name, fill := range f.Maps {
				k.Maps[name] = metrics.Fill{Used: fill[0], Max: fill[1]}
			}
			for _, w := range f.Workloads {
				if w.Enrolled {
					k.Enrolled++
				}
			}
			return k
		},
		Policy: func() metrics.Policy {
			f := facts()
			return metrics.Policy{Loaded: f.Loaded, Reloads: f.Reloads, Failures: f.Failures}
		},
		Credentials: func() map[string]credential.Stats {
			all := map[string]credential.Stats{}
			for name, s := range facts().Proofs {
				all[name] = credential.Stats(s)
			}
			return all
		},
	}
	return s
}

// count copies the counters of the codec and of the cache to where metrics look.
func (p *proxy) count() {
	w, c := p.server.Wire(), p.server.Cache()
	p.traffic.FromWorkload.Store(uint64(w.BytesFromClient.Load()))
	p.traffic.ToWorkload.Store(uint64(w.BytesToClient.Load()))
	p.traffic.FromServer.Store(uint64(w.BytesFromServer.Load()))
	p.traffic.ToServer.Store(uint64(w.BytesToServer.Load()))
	p.traffic.Limited.Store(uint64(w.Limited.Load()))
	p.traffic.Violations.Store(uint64(w.Violations.Load()))
	p.traffic.Cancels.Store(uint64(w.Cancels.Load()))
	p.traffic.PoolIdle.Store(w.PoolIdle.Load())
	p.traffic.PoolHits.Store(uint64(w.PoolHits.Load()))
	p.traffic.PoolMisses.Store(uint64(w.PoolMisses.Load()))
	for why := range w.PoolDiscards {
		if n := w.PoolDiscards[why].Load(); n > 0 {
			p.traffic.PoolDiscards.Set(postgres.Discard(why).String(), uint64(n))
		}
	}
	p.traffic.JudgementHits.Store(c.Hits)
	p.traffic.JudgementMisses.Store(c.Misses)
}

// peers accepts only those who may administer: the kernel tells who they are.
type peers struct {
	net.Listener
	p *proxy
}

// Accept implements net.Listener.
func (l *peers) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peer(c); err == nil && l.p.admits(uid) {
			return c, nil
		}
		c.Close()
	}
}

func peer(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("no descriptor")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, failed
}

// admits reports whether a process may use the admin socket: root's may, and those
// of the accounts that kind Agent names, whose ids the redirector looked up.
func (p *proxy) admits(c *unix.Ucred) bool {
	if c.Uid == 0 {
		return true
	}
	f := p.facts.Load()
	if f == nil {
		return false
	}
	for _, uid := range f.AdminUsers {
		if uid == c.Uid {
			return true
		}
	}
	for _, gid := range f.AdminGroups {
		if gid == c.Gid {
			return true
		}
	}
	return false
}
