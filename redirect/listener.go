package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/bpf"
)

// A Listener accepts the redirected connections of one network namespace.
type Listener struct {
	kernel  *Kernel
	cookie  uint64
	slot    uint32
	netns   *os.File   // its own descriptor, for questions to the kernel
	sockets []*os.File // IPv4 first
	ready   chan *Conn
	closed  chan struct{}
	once    sync.Once
	loops   sync.WaitGroup
	taking  atomic.Int32 // loops that may have a connection which nobody has yet
}

// maxPlaces is how many namespaces the table of listeners has slots for.
const maxPlaces = 2048

// Listen starts to accept the redirected connections of a network namespace; nil is
// the one of this process. Another Listener in the same namespace is replaced. It
// returns [ErrNoNamespace] if netns is none.
//
// The caller may close netns afterwards. The calling process must be in
// Options.AgentCgroup.
func (k *Kernel) Listen(netns *os.File) (*Listener, error) {
	l, err := k.listen(netns)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

func (k *Kernel) listen(netns *os.File) (*Listener, error) {
	if err := k.inAgentCgroup(); err != nil {
		return nil, err
	}
	cookie, err := NetnsCookie(netns)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	old := k.listeners[cookie]
	k.mu.Unlock()
	if old != nil {
		old.Close()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return nil, ErrClosed
	}
	l := &Listener{kernel: k, cookie: cookie, ready: make(chan *Conn), closed: make(chan struct{})}
	if l.slot, err = k.slotOf(cookie); err != nil {
		return nil, err
	}
	if l.netns, err = reopen(netns); err != nil {
		return nil, err
	}
	if err := l.open(netns); err != nil {
		l.netns.Close()
		for _, s := range l.sockets {
			s.Close()
		}
		return nil, err
	}
	k.listeners[cookie] = l
	for _, s := range l.sockets {
		l.loops.Add(1)
		go l.loop(s)
	}
	return l, nil
}

// open makes the sockets, puts them into their slots, steers to them, and tells the
// connect programs that there is somebody to talk to, in that order.
func (l *Listener) open(netns *os.File) error {
	k := l.kernel
	var ports [2]uint16
	err := inNamespace(netns, func() error {
		for i, family := range []int{unix.AF_INET, unix.AF_INET6} {
			fd, port, err := k.socket(family)
			if family == unix.AF_INET6 && (errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)) {
				k.log.Warn("no ::1 in this namespace: IPv6 endpoints are refused there", "netns", l.cookie)
				break
			} else if err != nil {
				return err
			}
			ports[i] = port
			l.sockets = append(l.sockets, os.NewFile(uintptr(fd), "listener"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, s := range l.sockets {
		var putErr error
		raw, err := s.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) {
				putErr = k.maps[bpf.SluiceMapListeners].Put(l.slot+uint32(i), uint64(fd))
			})
		}
		if err = errors.Join(err, putErr); err != nil {
			return fmt.Errorf("slot %d: %w", l.slot, err)
		}
	}
	if err := k.steer(l, ports); err != nil {
		return err
	}
	place := bpf.SluicePlace{V4: 1, Slot: l.slot}
	if len(l.sockets) > 1 {
		place.V6 = 1
	}
	if err := k.maps[bpf.SluiceMapPlaces].Put(l.cookie, &place); err != nil {
		return fmt.Errorf("place: %w", err)
	}
	return nil
}

// socket makes a listening socket on loopback and a port that the kernel chooses. It is
// made by hand: net.Listen gives an MPTCP socket, and a SOCKMAP takes only TCP.
func (k *Kernel) socket(family int) (fd int, port uint16, err error) {
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, 0, fmt.Errorf("socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	net := words(netip.AddrFrom4([4]byte{127, 0, 0, 0}))
	net[3] = k.setting.Net
	own := address(net).As4()
	own[3] = 1
	var at unix.Sockaddr = &unix.SockaddrInet4{Addr: own}
	if family == unix.AF_INET6 {
		at = &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return -1, 0, fmt.Errorf("v6only: %w", err)
		}
	}
	// Accepted sockets inherit it.
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, 0, fmt.Errorf("nodelay: %w", err)
	}
	if err = unix.Bind(fd, at); err != nil {
		return -1, 0, fmt.Errorf("bind: %w", err)
	}
	if err = unix.Listen(fd, k.backlog()); err != nil {
		return -1, 0, fmt.Errorf("listen: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, 0, fmt.Errorf("getsockname: %w", err)
	}
	return fd, addrPort(name).Port(), nil
}

func (k *Kernel) backlog() int {
	if k.options.Backlog > 0 {
		return k.options.Backlog
	}
	data, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && n > 0 {
			return n
		}
	}
	return unix.SOMAXCONN
}

// steer attaches the namespace's own sk_lookup program, or updates it.
func (k *Kernel) steer(l *Listener, ports [2]uint16) error {
	p, err := k.loadOne(bpf.SluiceProgSluiceLookup, map[string]any{
		bpf.SluiceVarNetnsCookie:   l.cookie,
		bpf.SluiceVarListenerSlot:  l.slot,
		bpf.SluiceVarListenerPort4: ports[0],
		bpf.SluiceVarListenerPort6: ports[1],
	})
	if err != nil {
		return err
	}
	defer p.Close()
	pin := k.pins.link(lookupPin(l.cookie))
	if old, err := link.LoadPinnedLink(pin, nil); err == nil {
		defer old.Close()
		if err := old.Update(p); err == nil {
			return nil
		}
		if err := os.Remove(pin); err != nil {
			return fmt.Errorf("pin: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pinned link: %w", err)
	}
	n, err := link.AttachNetNs(int(l.netns.Fd()), p)
	if err != nil {
		return fmt.Errorf("attach sk_lookup: %w", err)
	}
	defer n.Close()
	if err := n.Pin(pin); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	return nil
}

const lookupPrefix = "lookup-"

func lookupPin(cookie uint64) string { return lookupPrefix + strconv.FormatUint(cookie, 10) }

// slotOf finds the slot of a namespace, or a free one. Namespaces that are gone lose
// theirs first.
func (k *Kernel) slotOf(cookie uint64) (uint32, error) {
	k.forgetNamespaces()
	taken := map[uint32]bool{}
	var (
		key   uint64
		place bpf.SluicePlace
	)
	for it := k.maps[bpf.SluiceMapPlaces].Iterate(); it.Next(&key, &place); {
		if key == cookie {
			return place.Slot, nil
		}
		taken[place.Slot] = true
	}
	for slot := uint32(0); slot < 2*maxPlaces; slot += 2 {
		if !taken[slot] {
			return slot, nil
		}
	}
	return 0, errors.New("too many namespaces")
}

// forgetNamespaces removes the pins and places of namespaces that are gone.
func (k *Kernel) forgetNamespaces() {
	entries, err := os.ReadDir(k.pins.links())
	if err != nil {
		return
	}
	for _, e := range entries {
		number, is := strings.CutPrefix(e.Name(), lookupPrefix)
		cookie, err := strconv.ParseUint(number, 10, 64)
		if !is || err != nil {
			continue
		}
		l, err := link.LoadPinnedLink(k.pins.link(e.Name()), nil)
		if err != nil {
			continue
		}
		info, err := l.Info()
		if err == nil && info.NetNs() != nil && info.NetNs().NetnsInode == 0 {
			k.maps[bpf.SluiceMapPlaces].Delete(cookie)
			os.Remove(k.pins.link(e.Name()))
		}
		l.Close()
	}
}

// inAgentCgroup checks that accepted sockets will be in the cgroup of accept.c.
func (k *Kernel) inAgentCgroup() error {
	path, err := cgroupOfProcess("self")
	if err != nil {
		return fmt.Errorf("this process: %w", err)
	}
	if !k.agent.holds(strings.TrimSuffix(k.agent.root+path, "/")) {
		return fmt.Errorf("this process is in cgroup %s and not in %s", path, k.agent.path)
	}
	return nil
}

// loop accepts on one socket until the Listener is closed.
func (l *Listener) loop(s *os.File) {
	defer l.loops.Done()
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	for {
		var (
			fd   int
			peer unix.Sockaddr
			err  error
		)
		if raw.Read(func(at uintptr) bool {
			l.taking.Add(1)
			if fd, peer, err = unix.Accept4(int(at), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); errors.Is(err, unix.EAGAIN) {
				l.taking.Add(-1)
				return false
			}
			return true
		}) != nil {
			return // closed
		}
		open := l.take(fd, peer, err)
		l.taking.Add(-1)
		if !open {
			return
		}
	}
}

// take gives what accept4 returned to Accept. It returns false once the Listener is closed.
func (l *Listener) take(fd int, peer unix.Sockaddr, err error) bool {
	switch {
	case err == nil:
	case errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR):
		return true
	default: // no descriptors or no memory: the queue keeps them meanwhile
		l.kernel.log.Warn("accept", "netns", l.cookie, "err", err)
		select {
		case <-l.closed:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		return true
	}
	c, err := l.conn(fd, peer)
	if err != nil {
		l.kernel.log.Warn("connection without an origin", "netns", l.cookie, "err", err)
		unix.Close(fd)
		return true
	}
	select {
	case l.ready <- c:
		return true
	case <-l.closed:
		c.Close()
		return false
	}
}

// conn reads the origin that accept.c left in the socket.
func (l *Listener) conn(fd int, peer unix.Sockaddr) (*Conn, error) {
	var o bpf.SluiceOrigin
	if err := l.kernel.origins().Lookup(int32(fd), &o); err != nil {
		return nil, err
	}
	if o.Netns != l.cookie || o.At > math.MaxInt64 {
		return nil, errors.New("origin of another namespace")
	}
	return &Conn{FD: fd, Source: addrPort(peer), Origin: Origin{
		Destination: netip.AddrPortFrom(address(o.Address.Word), networkPort(o.Port)),
		CgroupID:    o.Cgroup,
		PID:         o.Pid,
		UID:         o.Uid,
		StartTime:   o.Started,
		At:          time.Duration(o.At),
		NetnsCookie: o.Netns,
	}}, nil
}

func (k *Kernel) origins() *ebpf.Map {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.maps[bpf.SluiceMapOrigins]
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// Accept waits for the next connection. Connections without an origin never get here:
// they are closed and logged. It returns [ErrClosed] after Close.
func (l *Listener) Accept() (*Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.closed:
		return nil, ErrClosed
	}
}

// NetnsCookie names the namespace, as an [Origin] has it.
func (l *Listener) NetnsCookie() uint64 { return l.cookie }

// Families says whether IPv4 and IPv6 connections are redirected here: a namespace
// without ::1 has no IPv6, and IPv6 endpoints are refused there.
func (l *Listener) Families() (v4, v6 bool) { return len(l.sockets) > 0, len(l.sockets) > 1 }

// Replaced reports whether new connections go to the listener of another process, see
// [Kernel.Yield], and all that came here before have been accepted.
func (l *Listener) Replaced() bool {
	l.kernel.mu.Lock()
	m := l.kernel.maps[bpf.SluiceMapListeners]
	l.kernel.mu.Unlock()
	for i, s := range l.sockets {
		raw, err := s.SyscallConn()
		if err != nil || m == nil {
			return true // closed
		}
		var own, now uint64
		var queue *unix.TCPInfo
		var cookieErr, queueErr error
		if raw.Control(func(fd uintptr) {
			own, cookieErr = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
			// Of one that listens, it is the length of the queue (tcp_get_info, since 4.8).
			queue, queueErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		}) != nil {
			return true
		}
		// A slot tells the cookie of its socket (since 5.7).
		if err = m.Lookup(l.slot+uint32(i), &now); errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil
		}
		if errors.Join(err, cookieErr, queueErr) != nil || now == own || queue.Unacked > 0 {
			return false
		}
	}
	return l.taking.Load() == 0
}

// Close stops accepting. Connections are refused then until another Listener takes
// over; they are never let through.
func (l *Listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		for _, s := range l.sockets {
			s.Close()
		}
		l.loops.Wait()
		k := l.kernel
		k.mu.Lock()
		if k.listeners[l.cookie] == l {
			delete(k.listeners, l.cookie)
		}
		l.netns.Close()
		l.netns = nil
		k.mu.Unlock()
	})
	return nil
}
