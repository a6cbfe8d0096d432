package postgres

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"unsafe"
)

// bufferSize is what is read at a time. A session holds a buffer only while it
// has bytes to work on.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { b := new([bufferSize]byte); return b }}

// smallBuffer is what an idle connection with TLS reads into.
const smallBuffer = 1 << 10

// stream reads a connection into buffers that come and go.
type stream struct {
	conn     net.Conn
	raw      syscall.RawConn // nil if the bytes on the socket are not those read
	buf      []byte
	pooled   *[bufferSize]byte // that buf is, nil if it is another
	from, to int
	ahead    []byte // read by another already
	aheadErr error

	readable func(fd uintptr) bool
	n        int
	err      error
}

// newStream returns a stream of conn that begins with rest.
func newStream(conn net.Conn, rest []byte) *stream {
	s := &stream{conn: conn, ahead: rest}
	s.readable = s.tryRead
	return s
}

// waits readies s for goroutines that wait for it.
func (s *stream) waits(conn net.Conn) {
	if c, ok := conn.(*Conn); ok {
		if slow, err := c.slow(); err == nil {
			conn = slow
		}
	}
	s.conn, s.raw = conn, rawOf(conn)
}

// rawOf returns the socket of a connection whose bytes are those on it, else nil.
func rawOf(conn net.Conn) (raw syscall.RawConn) {
	switch c := conn.(type) {
	case *net.TCPConn:
		raw, _ = c.SyscallConn()
	case *net.UnixConn:
		raw, _ = c.SyscallConn()
	}
	return raw
}

// pending are the bytes that were read and not consumed.
func (s *stream) pending() []byte { return s.buf[s.from:s.to] }

// consume lets go of n pending bytes, and of the buffer when it is empty.
func (s *stream) consume(n int) {
	s.from += n
	if s.from == s.to {
		s.release()
	}
}

func (s *stream) release() {
	if s.pooled != nil {
		buffers.Put(s.pooled)
	}
	s.buf, s.pooled, s.from, s.to = nil, nil, 0, 0
}

// acquire makes room to read into; want is the size of the message that pending
// is the start of, 0 if unknown.
func (s *stream) acquire(want int) {
	if s.buf == nil {
		s.pooled = buffers.Get().(*[bufferSize]byte)
		s.buf = s.pooled[:]
		return
	}
	if s.from == 0 && s.to == len(s.buf) || want > len(s.buf) && s.to == len(s.buf) {
		// Twice as much each time: what a header claims is not believed at once.
		grown := make([]byte, max(2*len(s.buf), bufferSize))
		n := copy(grown, s.buf[s.from:s.to])
		if s.pooled != nil {
			buffers.Put(s.pooled)
		}
		s.buf, s.pooled, s.from, s.to = grown, nil, 0, n
		return
	}
	if s.from > 0 {
		n := copy(s.buf, s.buf[s.from:s.to])
		s.from, s.to = 0, n
	}
}

// fill reads more, and waits until there is some. The slices of pending from
// before are invalid then.
func (s *stream) fill(want int) (int, error) {
	if len(s.ahead) > 0 {
		s.acquire(want)
		n := copy(s.buf[s.to:], s.ahead)
		s.to += n
		s.ahead = s.ahead[n:]
		if len(s.ahead) == 0 {
			s.ahead = nil
		}
		return n, nil
	}
	if s.aheadErr != nil {
		return 0, s.aheadErr
	}
	if s.raw == nil {
		return s.fillSlowly(want)
	}
	if s.buf != nil {
		s.acquire(want)
	}
	s.n, s.err = 0, nil
	if err := s.raw.Read(s.readable); err != nil {
		return 0, err
	}
	if s.err != nil {
		return 0, s.err
	}
	s.to += s.n
	return s.n, nil
}

// tryRead reads what there is. It holds a buffer only if there is something.
func (s *stream) tryRead(fd uintptr) bool {
	if s.buf == nil {
		s.acquire(0)
	}
	for {
		// The socket does not block, so the scheduler need not hear of this.
		n, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&s.buf[s.to])), uintptr(len(s.buf)-s.to))
		switch {
		case e == syscall.EINTR:
			continue
		case e == syscall.EAGAIN:
			if s.from == s.to {
				s.release()
			}
			return false
		case e != 0:
			s.err = e
		case n == 0:
			s.err = io.EOF
		default:
			s.n = int(n)
		}
		if s.err != nil && s.from == s.to {
			s.release()
		}
		return true
	}
}

// fillSlowly reads a connection that has buffers of its own, such as with TLS.
func (s *stream) fillSlowly(want int) (int, error) {
	if s.buf == nil {
		small := make([]byte, smallBuffer)
		n, err := s.conn.Read(small)
		if n == 0 {
			return 0, orEOF(err)
		}
		s.acquire(want)
		s.to = copy(s.buf, small[:n])
		if n < len(small) {
			return n, nil
		}
		return n, nil
	}
	s.acquire(want)
	n, err := s.conn.Read(s.buf[s.to:])
	s.to += n
	if n > 0 {
		return n, nil
	}
	return 0, orEOF(err)
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// write sends everything in o.
func (s *stream) write(o *output) (int64, error) {
	switch {
	case len(o.parts) == 1:
		n, err := s.conn.Write(o.parts[0])
		return int64(n), err
	case s.raw != nil:
		b := net.Buffers(o.parts)
		return b.WriteTo(s.conn)
	}
	var total int64
	var small []byte
	for i, p := range o.parts {
		small = append(small, p...)
		if len(small) < 16<<10 && i < len(o.parts)-1 {
			continue
		}
		n, err := s.conn.Write(small)
		total += int64(n)
		if err != nil {
			return total, err
		}
		small = small[:0]
	}
	return total, nil
}

// closeWrite tells the other side that nothing more comes.
func (s *stream) closeWrite() error {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
