package redirect

import (
	"errors"
	"log/slog"
	"os"
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
	// removed and made again is then not covered until it is enrolled again.
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
}

// Open loads the programs, or adopts those that an earlier process left under
// Options.Pin: what it had enrolled stays enrolled, its endpoints stay captured, and
// connections are refused until there are listeners again. It returns [ErrInUse] while
// another process has them open.
//
// Several installations can live side by side, each with a Pin and a Parent of its own.
func Open(o Options) (*Kernel, error) {
	return nil, errors.ErrUnsupported
}

// Close lets go of the installation and leaves it in the kernel, where it refuses
// what it would have redirected.
func (k *Kernel) Close() error { return errors.ErrUnsupported }

// Remove takes the installation out of the kernel and removes its pins. It closes k.
// Connections that were accepted go on.
func (k *Kernel) Remove() error { return errors.ErrUnsupported }

// Enroll makes the cgroup at path, which is below Parent, a workload: sockets that are
// born in it or in any cgroup below it are redirected. With running set it may have
// processes already: they are frozen for the moment, and their connections to
// endpoints are destroyed. It is best done before the first process.
func (k *Kernel) Enroll(path string, running bool) error { return errors.ErrUnsupported }

// Unenroll forgets the cgroup at path, or, if it is gone, nothing: see [Kernel.Forget].
func (k *Kernel) Unenroll(path string) error { return errors.ErrUnsupported }

// Forget is Unenroll by the id of a cgroup that may be gone.
func (k *Kernel) Forget(cgroupID uint64) error { return errors.ErrUnsupported }

// Enrolled lists the ids of the enrolled cgroups, as the kernel has them.
func (k *Kernel) Enrolled() ([]uint64, error) { return nil, errors.ErrUnsupported }

// GuardVeths attaches a guard to the host's end of each veth of netns, so that packets
// which no socket hook sees (AF_PACKET, forwarded ones) cannot reach an endpoint: only
// the agent's own can. It returns the names of the guarded links; none means that netns
// has no veth whose other end is in this process's namespace.
func (k *Kernel) GuardVeths(netns *os.File) ([]string, error) { return nil, errors.ErrUnsupported }

// CgroupID returns the id of the cgroup at path, as an [Origin] has it.
func CgroupID(path string) (uint64, error) { return 0, errors.ErrUnsupported }
