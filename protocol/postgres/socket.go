package postgres

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is one side of a polled session: a stream over a descriptor that does
// not block.
type socket struct {
	stream
	fd       int
	readable bool // there may be something to read
	writable bool // there may be room to write
	hungup   bool // the other side sends no more: there is an end to be read
}

// errAgain means that epoll will tell when to try again.
var errAgain = errors.New("nothing now")

// detach takes the descriptor out of conn, which is closed: an epoll of our own
// and that of the runtime would both be woken by it. It is -1 if conn is none
// whose bytes are those on the socket.
func detach(conn net.Conn) int {
	switch c := conn.(type) {
	case *net.TCPConn, *net.UnixConn:
	case *Conn:
		if fd := c.take(); fd >= 0 {
			return fd
		}
		if conn, _ = c.slow(); conn == nil {
			return -1
		}
		return detach(conn)
	default:
		return -1
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	if raw.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3); err != nil {
			fd = -1
		}
	}) != nil {
		return -1
	}
	return fd
}

// attach makes a net.Conn of a descriptor again, which it owns.
func attach(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	return net.FileConn(f)
}

// fill reads what there is. The slices of pending from before are invalid then.
func (s *socket) fill(want int) (int, error) {
	if len(s.ahead) > 0 || s.aheadErr != nil {
		return s.stream.fill(want)
	}
	if !s.readable {
		return 0, errAgain
	}
	s.acquire(want)
	room := s.buf[s.to:]
	for {
		// recv and send spare what read and write do for files. The socket does not
		// block, so the scheduler need not hear of them.
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)),
			unix.MSG_DONTWAIT, 0, 0)
		switch {
		case e == syscall.EINTR:
			continue
		case e == syscall.EAGAIN:
			s.readable = false
		case e == 0 && n > 0:
			// Less than was asked for is all there was (epoll(7)), but for the end.
			s.readable = int(n) == len(room) || s.hungup
			s.to += int(n)
			return int(n), nil
		}
		if s.from == s.to {
			s.release()
		}
		switch e {
		case syscall.EAGAIN:
			return 0, errAgain
		case 0:
			return 0, io.EOF
		}
		return 0, e
	}
}

// flush writes what o holds, as far as there is room; it is errAgain if there is
// not. What was written is taken off o.
func (s *socket) flush(o *output) (total int64, err error) {
	for len(o.parts) > 0 {
		if !s.writable {
			return total, errAgain
		}
		n, e := s.writeParts(o.parts)
		switch {
		case e == syscall.EINTR:
			continue
		case e == syscall.EAGAIN:
			s.writable = false
			continue
		case e != 0:
			return total, e
		}
		total += int64(n)
		done := 0
		for n > 0 && n >= len(o.parts[done]) {
			n -= len(o.parts[done])
			done++
		}
		if done > 0 {
			left := copy(o.parts, o.parts[done:])
			clear(o.parts[left:])
			o.parts = o.parts[:left]
		}
		if n > 0 {
			o.parts[0] = o.parts[0][n:]
		}
	}
	return total, nil
}

// manyParts bounds what goes out in one call.
const manyParts = 64

func (s *socket) writeParts(parts [][]byte) (int, syscall.Errno) {
	if len(parts) == 1 {
		n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&parts[0][0])), uintptr(len(parts[0])),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		return int(n), e
	}
	var vector [manyParts]syscall.Iovec
	k := min(len(parts), manyParts)
	for i, p := range parts[:k] {
		vector[i].Base = &p[0]
		vector[i].SetLen(len(p))
	}
	n, _, e := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(s.fd), uintptr(unsafe.Pointer(&vector[0])), uintptr(k))
	return int(n), e
}

// shut tells the other side that nothing more comes.
func (s *socket) shut() { unix.Shutdown(s.fd, unix.SHUT_WR) }
