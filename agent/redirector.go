package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/agent/enroll/cluster"
	"sluicegate.io/sluice/agent/enroll/pods"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/redirect"
)

// Options say what an agent runs with. Config and State are required.
type Options struct {
	Config  string // file or directory of resources
	State   string // directory; "": as kind Agent says
	Started string // file that [Started] looks at; "": nobody asks
	Version string
	Log     *slog.Logger // default: discard
}

// healthEvery is how often the kernel is asked what it runs.
const healthEvery = 5 * time.Second

// maxAccepting bounds the connections that are looked up at once.
const maxAccepting = 256

// rules are a configuration in force, as the redirector needs it.
type rules struct {
	generation uint64
	set        *policy.Set
	bundle     []byte
	candidate  *cluster.Candidate // nil without a cluster
	matcher    *matcher
	provers    map[credentialKey]*credential.Prover
	loaded     time.Time
}

// redirector is the privileged process.
type redirector struct {
	o        Options
	log      *slog.Logger
	mount    string // of cgroup2
	state    state
	uid, gid uint32
	maskKey  []byte
	kernel   *redirect.Kernel
	set      *enroll.Set
	cluster  *cluster.Source               // nil: none
	pods     atomic.Pointer[pods.Registry] // nil: no pods are enrolled
	refusals refusals
	noCA     atomic.Pointer[map[string]string] // by Database: why its caSecret can't be read
	rules    atomic.Pointer[rules]
	hub      atomic.Pointer[hub] // nil: no proxy
	started  time.Time
	restarts atomic.Uint64
	reloads  atomic.Uint64
	failures atomic.Uint64
	refused  atomic.Pointer[string] // why the last configuration was
	generate atomic.Uint64
	swap     sync.Mutex // one configuration change at a time
	telling  sync.Mutex
	stopping atomic.Bool
	ailing   map[string]bool   // problems that were logged; under telling
	failed   map[string]string // what failing said last; under telling

	accepting   chan struct{}
	handling    sync.WaitGroup
	listeners   []listening
	names       []string // of sockets, to be removed
	prepared    *process // the proxy of an agent that stands by
	startedFile *os.File // held from when this agent serves or stands by
	line        *os.File // held while this agent waits to take over
	// succession is the file that an agent holds which waits to take over from this one; "":
	// there is none for what this one does.
	succession string
	grace      time.Duration // for what is open when the proxy is told to end; leave changes it before
	serving    chan struct{} // closed when no other agent holds the kernel
	ready      chan struct{} // closed when the first proxy is configured
	ending     chan struct{} // closed when run ends what serves
	once       sync.Once
}

// listening is a socket that the proxy accepts on.
type listening struct {
	purpose channel.Purpose
	file    *os.File
}

// newRedirector reads the configuration and prepares the state directory.
func newRedirector(o Options) (*redirector, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("an agent needs root: it loads BPF programs and enters network namespaces")
	}
	r := &redirector{o: o, log: o.Log, started: time.Now(),
		accepting: make(chan struct{}, maxAccepting), serving: make(chan struct{}), ready: make(chan struct{}), ending: make(chan struct{})}
	set, files, err := LoadConfig(o.Config)
	if err != nil {
		return nil, err
	}
	if o.State != "" {
		if o.State, err = filepath.Abs(o.State); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
	}
	if r.mount, err = enroll.Mount(); err != nil {
		return nil, err
	}
	a := set.Agent()
	if r.uid, r.gid, err = account(a.User); err != nil {
		return nil, err
	}
	dir, records := StateDirs(set, o.State)
	if r.state, err = prepare(dir, records, r.uid, r.gid); err != nil {
		return nil, err
	}
	if r.maskKey, err = maskKey(dir); err != nil {
		return nil, err
	}
	first, err := r.compile(context.Background(), set, files)
	if err != nil {
		return nil, err
	}
	r.rules.Store(first)
	return r, nil
}

// StateDirs returns the state directory and that of recordings; state overrides
// what the configuration says.
func StateDirs(set *policy.Set, state string) (dir, records string) {
	a := set.Agent()
	dir, records = a.State, a.Record.Directory
	if state != "" {
		if records == filepath.Join(a.State, "sessions") {
			records = filepath.Join(state, "sessions")
		}
		dir = state
	}
	return dir, records
}

// compile makes the redirector's view of a configuration.
func (r *redirector) compile(ctx context.Context, set *policy.Set, files []policy.File) (*rules, error) {
	if err := podIssuer(set.Agent()); err != nil {
		return nil, err
	}
	b, err := bundle(set, files, r.maskKey)
	if err != nil {
		return nil, err
	}
	r.authorities(ctx, set, b)
	data, err := marshalBundle(b)
	if err != nil {
		return nil, err
	}
	old := r.rules.Load()
	n := &rules{generation: r.generate.Add(1), set: set, bundle: data, loaded: time.Now(),
		provers: make(map[credentialKey]*credential.Prover)}
	var was *matcher
	if old != nil {
		was = old.matcher
	}
	n.matcher = newMatcher(set, was)
	if err := socketsUsable(set); err != nil {
		return nil, err
	}
	r.provide(n, old)
	return n, nil
}

// capture tells the kernel what to redirect. It comes before anything is enrolled:
// what a process has open to an endpoint is destroyed as it is enrolled, and only that.
func (r *redirector) capture(ctx context.Context) error {
	r.rules.Load().matcher.poll(ctx)
	m := r.rules.Load().matcher
	if err := r.kernel.SetEndpoints(m.endpoints()); err != nil {
		return fmt.Errorf("capture endpoints: %w", err)
	}
	if err := r.kernel.SetUnix(m.unix()); err != nil {
		return fmt.Errorf("capture endpoints: %w", err)
	}
	return nil
}

// enroll makes the set of workloads, for the endpoints that are captured.
func (r *redirector) enroll() error {
	r.set = enroll.New(r.mount, r.kernel, enroll.Options{Log: r.log, Accept: r.accept, AcceptUnix: r.acceptUnix})
	return r.set.Unix(r.rules.Load().matcher.unix())
}

// run serves with an opened kernel, which captures endpoints, until ctx is done. What is
// open then may take r.grace to end. The caller waits for r.handling, of which some ends with
// the caller's own context.
func (r *redirector) run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { r.stopping.Store(true); close(r.ending) })()
	// What serves connections ends last: another agent may be about to take over.
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	all.Go(func() error { return r.supervise(serving) })
	all.Go(func() error {
		defer end()
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return r.set.Run(ctx) })
		if p := r.pods.Load(); p != nil {
			g.Go(func() error { return p.Run(ctx) })
		}
		g.Go(func() error { return r.watch(ctx) })
		g.Go(func() error { return r.resolve(ctx) })
		g.Go(func() error { return r.report(ctx) })
		err := g.Wait()
		r.leave()
		return err
	})
	return all.Wait()
}

// resolve keeps the addresses of names fresh.
func (r *redirector) resolve(ctx context.Context) error {
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.rules.Load().matcher.poll(ctx)
		}
	}
}

// resolveOne returns one address of host, IPv4 first.
func resolveOne(ctx context.Context, host, port string) (netip.AddrPort, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q: %w", port, err)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a, uint16(n)), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	best := addrs[0].Unmap()
	for _, a := range addrs {
		if a.Unmap().Is4() {
			best = a.Unmap()
			break
		}
	}
	return netip.AddrPortFrom(best, uint16(n)), nil
}
