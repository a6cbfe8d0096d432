package postgres

import (
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connected stream socket. Most of the time all that is to be read of one is
// there when it is accepted, and an event loop takes it over soon: so the runtime's
// poller is told of it only once something has to be waited for.
type Conn struct {
	mu          sync.Mutex
	fd          int      // -1: given away, closed, or conn has it
	conn        net.Conn // nil: not told yet
	read, write time.Time
}

// NewConn returns the Conn of a descriptor that does not block, which it owns.
func NewConn(fd int) *Conn { return &Conn{fd: fd} }

// slow returns what waits.
func (c *Conn) slow() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return c.conn, nil
	}
	if c.fd < 0 {
		return nil, net.ErrClosed
	}
	fd := c.fd
	c.fd = -1
	conn, err := attach(fd)
	if err != nil {
		return nil, err
	}
	c.conn = conn
	if !c.read.IsZero() {
		conn.SetReadDeadline(c.read)
	}
	if !c.write.IsZero() {
		conn.SetWriteDeadline(c.write)
	}
	return conn, nil
}

// take returns the descriptor, which is the caller's then; -1 if conn has it.
func (c *Conn) take() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd := c.fd
	c.fd = -1
	return fd
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := 0, error(unix.EAGAIN)
	c.mu.Lock()
	if c.conn == nil && c.fd >= 0 {
		if n, _, err = unix.Recvfrom(c.fd, b, unix.MSG_DONTWAIT); err == nil && n == 0 && len(b) > 0 {
			err = io.EOF
		}
	}
	c.mu.Unlock()
	if err != unix.EAGAIN && err != unix.EINTR {
		return max(n, 0), err
	}
	conn, err := c.slow()
	if err != nil {
		return 0, err
	}
	return conn.Read(b)
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	n := 0
	c.mu.Lock()
	if c.conn == nil && c.fd >= 0 {
		if k, err := unix.SendmsgN(c.fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err == nil {
			n = k
		} else if err != unix.EAGAIN && err != unix.EINTR {
			c.mu.Unlock()
			return 0, err
		}
	}
	c.mu.Unlock()
	if n == len(b) {
		return n, nil
	}
	conn, err := c.slow()
	if err != nil {
		return n, err
	}
	more, err := conn.Write(b[n:])
	return n + more, err
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return c.conn.Close()
	}
	fd := c.fd
	if c.fd = -1; fd < 0 {
		return net.ErrClosed
	}
	return unix.Close(fd)
}

// CloseWrite tells the other side that nothing more comes.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	if c.fd < 0 {
		return net.ErrClosed
	}
	return unix.Shutdown(c.fd, unix.SHUT_WR)
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.address(net.Conn.LocalAddr) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.address(net.Conn.RemoteAddr) }

func (c *Conn) address(which func(net.Conn) net.Addr) net.Addr {
	conn, err := c.slow()
	if err != nil {
		return &net.TCPAddr{}
	}
	return which(conn)
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.deadline(net.Conn.SetDeadline, t, &c.read, &c.write)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.deadline(net.Conn.SetReadDeadline, t, &c.read)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.deadline(net.Conn.SetWriteDeadline, t, &c.write)
}

func (c *Conn) deadline(set func(net.Conn, time.Time) error, t time.Time, to ...*time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range to {
		*p = t
	}
	if c.conn != nil {
		return set(c.conn, t)
	}
	return nil
}
