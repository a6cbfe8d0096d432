package redirect

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/bpf"
)

// A UnixEndpoint is a unix socket whose connections are redirected: a path, or "@" and an
// abstract name.
//
// Abstract names are enforced. A path is redirected where it is given as it is here; where
// the kernel allows for a guard, the same socket under another name (a link, "..", another
// mount) is refused. [Kernel.UnixWeak] says where it does not: there, mount the proxy's
// socket over the path to enforce it.
type UnixEndpoint string

// A UnixConn is an accepted connection to a [UnixEndpoint].
type UnixConn struct {
	FD       int // as that of [Conn]
	Endpoint UnixEndpoint
	Origin   Origin // Destination is not valid; the process is the one that called connect
}

// Close closes the descriptor, if the UnixConn still has it.
func (c *UnixConn) Close() error {
	return (&Conn{FD: c.FD}).Close()
}

// HasUnix tells if this kernel can redirect unix sockets: since 6.7.
func HasUnix() bool { return hasUnix() }

// hasUnix tells if the kernel can redirect unix sockets: since 6.7.
func hasUnix() bool {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return false
	}
	var fn *btf.Func
	return spec.TypeByName("bpf_sock_addr_set_sun_path", &fn) == nil
}

// name gives the key of the kernel's table.
func (e UnixEndpoint) name() (n bpf.SluiceUnixName, err error) {
	s := string(e)
	if strings.HasPrefix(s, "@") {
		s = "\x00" + s[1:]
	} else if !strings.HasPrefix(s, "/") || strings.Contains(s, "\x00") {
		return n, fmt.Errorf("unix endpoint %q is neither an absolute path nor an abstract name", e)
	}
	if len(s) < 2 || len(s) > 108 {
		return n, fmt.Errorf("unix endpoint %q: its length is %d", e, len(s))
	}
	n.Length = uint32(len(s))
	copy(n.Name[:], s)
	return n, nil
}

// A UnixListener accepts the redirected connections of one endpoint and namespace.
type UnixListener struct {
	kernel   *Kernel
	endpoint UnixEndpoint
	cookie   uint64
	name     bpf.SluiceUnixName
	place    bpf.SluiceUnixPlace
	socket   *os.File
	once     sync.Once
}

// ListenUnix accepts the connections of workloads in netns to e, which SetUnix has named.
// They are refused whenever there is no [Listener] in the namespace: it is by that that
// the kernel knows that the agent lives. It returns [ErrUnsupported] before Linux 6.7.
func (k *Kernel) ListenUnix(netns *os.File, e UnixEndpoint) (*UnixListener, error) {
	l, err := k.listenUnix(netns, e)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", e, err)
	}
	return l, nil
}

func (k *Kernel) listenUnix(netns *os.File, e UnixEndpoint) (*UnixListener, error) {
	name, err := e.name()
	if err != nil {
		return nil, err
	}
	if !k.unix {
		return nil, ErrUnsupported
	}
	cookie, err := NetnsCookie(netns)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return nil, ErrClosed
	}
	if k.listeners[cookie] == nil {
		return nil, errors.New("no listener in this namespace")
	}
	proxy, socket, err := listenAbstract(netns)
	if err != nil {
		return nil, err
	}
	l := &UnixListener{kernel: k, endpoint: e, cookie: cookie, name: name, socket: socket}
	if err := k.publish(l, proxy); err != nil {
		socket.Close()
		return nil, err
	}
	return l, nil
}

// publish tells the kernel of a listener. Its endpoint must be known already.
func (k *Kernel) publish(l *UnixListener, proxy bpf.SluiceUnixProxy) error {
	l.place.Netns = l.cookie
	err := k.maps[bpf.SluiceMapUnixNames].Lookup(&l.name, &l.place.Endpoint)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return errors.New("not among the endpoints of SetUnix")
	} else if err != nil {
		return err
	}
	return k.maps[bpf.SluiceMapUnixProxies].Put(&l.place, &proxy)
}

// listenAbstract makes a socket with a name that nobody can have taken before.
func listenAbstract(netns *os.File) (proxy bpf.SluiceUnixProxy, socket *os.File, err error) {
	var random [8]byte
	rand.Read(random[:])
	name := "@sluice-" + hex.EncodeToString(random[:])
	copy(proxy.Name[:], "\x00"+name[1:])
	err = inNamespace(netns, func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		socket = os.NewFile(uintptr(fd), name)
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		return unix.Listen(fd, unix.SOMAXCONN)
	})
	if err != nil && socket != nil {
		socket.Close()
	}
	return proxy, socket, err
}

// Accept waits for the next connection. Connections of processes that are not enrolled,
// which found the proxy's name by themselves, are closed.
func (l *UnixListener) Accept() (*UnixConn, error) {
	raw, err := l.socket.SyscallConn()
	if err != nil {
		return nil, ErrClosed
	}
	for {
		var fd int
		var err error
		if raw.Read(func(at uintptr) bool {
			fd, _, err = unix.Accept4(int(at), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return !errors.Is(err, unix.EAGAIN)
		}) != nil {
			return nil, ErrClosed
		}
		if err != nil {
			l.kernel.log.Warn("accept", "endpoint", l.endpoint, "err", err)
			time.Sleep(20 * time.Millisecond)
			continue
		}
		o, err := l.kernel.peer(fd)
		if err != nil {
			l.kernel.log.Warn("unix connection without an origin", "endpoint", l.endpoint, "err", err)
			unix.Close(fd)
			continue
		}
		o.NetnsCookie = l.cookie
		return &UnixConn{FD: fd, Endpoint: l.endpoint, Origin: o}, nil
	}
}

// soPeerPidfd is SO_PEERPIDFD, since 6.5.
const soPeerPidfd = 77

// peer finds out who is at the other end. The pidfd makes sure that the process is still
// the one that connected when its cgroup has been read.
func (k *Kernel) peer(fd int) (Origin, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Origin{}, fmt.Errorf("peer: %w", err)
	}
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, soPeerPidfd)
	if err != nil {
		return Origin{}, fmt.Errorf("peer: %w", err)
	}
	defer unix.Close(pidfd)
	id, err := k.workloadOf(int(cred.Pid))
	if err != nil {
		return Origin{}, err
	}
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return Origin{}, fmt.Errorf("peer: %w", err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return Origin{}, fmt.Errorf("peer: %w", err)
	}
	return Origin{PID: uint32(cred.Pid), UID: cred.Uid, CgroupID: id, At: time.Duration(now.Nano())}, nil
}

// workloadOf finds the deepest enrolled cgroup that a process is in.
func (k *Kernel) workloadOf(pid int) (uint64, error) {
	path, err := cgroupOfProcess(strconv.Itoa(pid))
	if err != nil {
		return 0, fmt.Errorf("peer: %w", err)
	}
	path = strings.TrimRight(k.parent.root+path, "/")
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return 0, ErrClosed
	}
	for k.parent.holds(path) {
		var w bpf.SluiceWorkload
		if id, err := CgroupID(path); err == nil && k.maps[bpf.SluiceMapWorkloads].Lookup(id, &w) == nil {
			return id, nil
		}
		path = path[:strings.LastIndex(path, "/")]
	}
	return 0, errors.New("the peer is not enrolled")
}

// Close stops accepting. Connections are refused then until another listener takes over,
// or SetUnix leaves the endpoint out.
func (l *UnixListener) Close() error {
	var err error
	l.once.Do(func() {
		k := l.kernel
		k.mu.Lock()
		defer k.mu.Unlock()
		// First nobody is sent to the name, then it is free to take.
		if k.pins != nil {
			err = k.maps[bpf.SluiceMapUnixProxies].Delete(&l.place)
		}
		err = errors.Join(err, l.socket.Close())
	})
	return err
}
