package redirect

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

	"sluicegate.io/sluice/bpf"
)

// Options say where an installation lives. Parent, AgentCgroup and Pin are required.
type Options struct {
	// Parent is the path of the cgroup (v2) that the programs are attached to. It
	// must outlive every workload: only what is below it can be enrolled, and a
	// child that nobody enrolled cannot reach the endpoints.
	Parent string

	// PassStrangers leaves those cgroups below Parent alone that are not enrolled,
	// instead of refusing them the endpoints. It is needed when Parent is shared
	// with what must go on as before (system.slice, the root). A cgroup that is
	// removed and made again is then covered if it is expected ([Kernel.Expect]), and
	// else not until it is enrolled again.
	PassStrangers bool

	// AgentCgroup is the cgroup of the process that listens and dials. It must not
	// be below Parent, unless PassStrangers is set.
	AgentCgroup string

	// Pin is a directory on a bpffs, made with mode 0700 if it is missing. Each
	// installation has its own. A bpffs is mounted at /sys/fs/bpf when Pin lies
	// there and none is mounted.
	Pin string

	// NoGuard leaves out the check of each leaving packet (DNAT, old sockets).
	NoGuard bool

	Backlog int          // of each listener; default: net.core.somaxconn
	Log     *slog.Logger // default: discard
}

// A Kernel is one installation of the programs. Its methods may be called concurrently.
type Kernel struct {
	options Options
	log     *slog.Logger
	parent  cgroup
	agent   cgroup
	spec    *ebpf.CollectionSpec // with its constants set
	maps    map[string]*ebpf.Map
	setting bpf.SluiceSetting
	unix    bool // the kernel can redirect unix sockets
	born    bool // the kernel can enroll by itself
	fresh   bool // there was nothing to adopt

	mu        sync.Mutex // of what follows, and of changes to the kernel's side
	pins      *pins      // nil when closed or yielded
	accept    link.Link  // of the accept program, once yielded
	listeners map[uint64]*Listener
	traced    map[string]bool         // programs that trace attached
	weak      map[UnixEndpoint]string // endpoints that the guard does not hold
}

// Open loads the programs, or adopts those that an earlier process left under
// Options.Pin: what it had enrolled stays enrolled, its endpoints stay captured, and
// connections are refused until there are listeners again. It returns [ErrInUse] while
// another process has them open.
//
// Several installations can live side by side, each with a Pin and a Parent of its own.
func Open(o Options) (*Kernel, error) {
	k := &Kernel{options: o, log: o.Log, unix: hasUnix(), born: hasBorn(), listeners: map[uint64]*Listener{}, traced: map[string]bool{}}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if err := k.place(); err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	if o.PassStrangers && !k.born {
		return nil, errors.New("redirect: this kernel has no tracepoint cgroup_mkdir for BPF programs (CONFIG_BPF_EVENTS): " +
			"below a parent that is shared, a workload that is started again would be free for a moment; give workloads a parent cgroup of their own")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	p, err := openPins(o.Pin)
	if err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	k.pins = p
	if err := k.install(); err != nil {
		// What is attached already keeps refusing, and the next Open adopts it. What was
		// never complete holds nobody, and goes.
		if k.fresh {
			err = errors.Join(err, removePins(filepath.Join(p.dir, layout)))
			os.Remove(p.dir) // not if another version is there
		}
		k.Close()
		return nil, fmt.Errorf("redirect: %w", err)
	}
	return k, nil
}

// place checks where the programs are to sit.
func (k *Kernel) place() (err error) {
	if k.options.Pin == "" {
		return errors.New("no pin directory given")
	}
	if k.parent, err = openCgroup(k.options.Parent); err != nil {
		return fmt.Errorf("parent: %w", err)
	}
	if k.agent, err = openCgroup(k.options.AgentCgroup); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if k.parent.root != k.agent.root {
		return errors.New("parent and agent are in different mounts of cgroup2")
	}
	if k.parent.holds(k.agent.path) && !k.options.PassStrangers {
		return errors.New("the agent's cgroup is below the parent: its own connections would be refused")
	}
	return nil
}

// Close lets go of the installation and leaves it in the kernel, where it refuses
// what it would have redirected.
func (k *Kernel) Close() error {
	k.closeListeners()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.release()
}

// Yield lets another process [Open] the same directory, and goes on to accept until that
// one listens itself: no connection is refused in between. [Listener.Replaced] tells when.
// All that can be done with k after it is to accept and to close. Unix sockets are refused
// from when the other has opened until it listens.
func (k *Kernel) Yield() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return fmt.Errorf("yield: %w", ErrClosed)
	}
	// The other pins a link to its own cgroup in place of this one, which stays attached for
	// as long as it is open here.
	l, err := link.LoadPinnedLink(k.pins.link(bpf.SluiceProgSluiceAccept), nil)
	if err != nil {
		return fmt.Errorf("yield: %w", err)
	}
	k.accept = l
	err = k.pins.lock.Close()
	k.pins = nil
	return err
}

// Remove takes the installation out of the kernel and removes its pins. It closes k.
// Connections that were accepted go on.
func (k *Kernel) Remove() error {
	k.closeListeners()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return fmt.Errorf("remove: %w", ErrClosed)
	}
	detachVeths(k.pins.links(), k.log)
	err := removePins(k.pins.dir)
	return errors.Join(err, k.release())
}

// release closes what k holds; the pins stay.
func (k *Kernel) release() error {
	var all []io.Closer
	for _, m := range k.maps {
		all = append(all, m)
	}
	if k.pins != nil {
		all = append(all, k.pins.lock)
	}
	if k.accept != nil {
		all = append(all, k.accept)
	}
	k.pins, k.maps, k.accept = nil, nil, nil
	var err error
	for _, c := range all {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (k *Kernel) closeListeners() {
	k.mu.Lock()
	var all []*Listener
	for _, l := range k.listeners {
		all = append(all, l)
	}
	k.mu.Unlock()
	for _, l := range all {
		l.Close()
	}
}
