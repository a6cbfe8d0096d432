package redirect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Dialer connects from another network namespace. The zero value is what production
// runs with.
type Dialer struct {
	Mark      int           // SO_MARK; 0: none
	KeepAlive time.Duration // idle time before the first probe; default: 15 s
}

// Dial is [Dialer.Dial] of the zero Dialer.
func Dial(ctx context.Context, netns *os.File, addr netip.AddrPort) (fd int, err error) {
	return Dialer{}.Dial(ctx, netns, addr)
}

// Dial connects to addr from netns; nil is the namespace of this process. The socket
// that it returns is the caller's: non-blocking, close-on-exec, with TCP_NODELAY and
// keep-alives.
func (d Dialer) Dial(ctx context.Context, netns *os.File, addr netip.AddrPort) (fd int, err error) {
	fd, err = d.dial(ctx, netns, addr)
	if err != nil {
		return -1, fmt.Errorf("dial %s: %w", addr, err)
	}
	return fd, nil
}

func (d Dialer) dial(ctx context.Context, netns *os.File, addr netip.AddrPort) (int, error) {
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	if !addr.IsValid() {
		return -1, errors.New("no address")
	}
	var fd int
	if err := inNamespace(netns, func() (err error) {
		fd, err = d.socket(addr)
		return err
	}); err != nil {
		return -1, err
	}
	// A socket keeps its namespace, so the rest can happen on any thread.
	err := unix.Connect(fd, sockaddr(addr))
	if err == nil {
		return fd, nil
	}
	if !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.EINTR) {
		unix.Close(fd)
		return -1, err
	}
	return wait(ctx, fd)
}

func (d Dialer) socket(addr netip.AddrPort) (int, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	idle := int(d.KeepAlive.Round(time.Second) / time.Second)
	if idle <= 0 {
		idle = 15
	}
	options := []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, idle},
	}
	if d.Mark != 0 {
		options = append(options, struct{ level, name, value int }{unix.SOL_SOCKET, unix.SO_MARK, d.Mark})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("socket option %d: %w", o.name, err)
		}
	}
	return fd, nil
}

// wait waits until the socket is connected or ctx is done. It owns fd.
func wait(ctx context.Context, fd int) (int, error) {
	f := os.NewFile(uintptr(fd), "dial")
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		var n int
		if n, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); failed != nil {
			return true
		} else if n != 0 {
			failed = unix.Errno(n)
			return true
		}
		_, err := unix.Getpeername(int(fd))
		return err == nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return -1, ctx.Err()
		}
		return -1, err
	}
	if failed != nil {
		return -1, failed
	}
	// The poller keeps its own descriptor until f is closed.
	out := -1
	if err := raw.Control(func(fd uintptr) {
		out, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3)
	}); err != nil {
		return -1, err
	}
	return out, failed
}

func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	ip := addr.Addr()
	if ip.Is4() || ip.Is4In6() {
		return &unix.SockaddrInet4{Addr: ip.Unmap().As4(), Port: int(addr.Port())}
	}
	a := &unix.SockaddrInet6{Addr: ip.As16(), Port: int(addr.Port())}
	var zone uint32
	if _, err := fmt.Sscan(ip.Zone(), &zone); err == nil {
		a.ZoneId = zone
	}
	return a
}

// DialUnix connects to the socket of an endpoint: a path as this process sees it, an
// abstract name as it is in netns. The socket that it returns is the caller's,
// non-blocking and close-on-exec. The server sees this process as its peer.
func DialUnix(ctx context.Context, netns *os.File, e UnixEndpoint) (fd int, err error) {
	if fd, err = dialUnix(ctx, netns, e); err != nil {
		return -1, fmt.Errorf("dial %s: %w", e, err)
	}
	return fd, nil
}

func dialUnix(ctx context.Context, netns *os.File, e UnixEndpoint) (fd int, err error) {
	if _, err := e.name(); err != nil {
		return -1, err
	}
	err = inNamespace(netns, func() (err error) {
		fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	for {
		err := unix.Connect(fd, &unix.SockaddrUnix{Name: string(e)})
		if err == nil {
			return fd, nil
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EAGAIN) {
			unix.Close(fd)
			return -1, err
		}
		select { // its backlog is full, and nothing tells when it is not
		case <-ctx.Done():
			unix.Close(fd)
			return -1, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
