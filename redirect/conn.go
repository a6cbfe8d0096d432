package redirect

import (
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An Origin is what the kernel noted when a workload called connect(2).
type Origin struct {
	// Destination is the address that the workload asked for; an unspecified one
	// is given as loopback, and a v4-mapped one as IPv4.
	Destination netip.AddrPort

	// CgroupID is the enrolled cgroup in which the socket was born. The process
	// itself may be in a cgroup below, or have left since.
	CgroupID uint64

	// PID and UID are those of the process that called connect, as the initial
	// namespaces number them. They can be another process's than the socket's creator.
	PID, UID uint32

	// StartTime is when that process started, in nanoseconds since boot: with PID
	// it names a process for good. It is 0 where the kernel cannot tell.
	StartTime uint64

	// At is when connect was called, by CLOCK_BOOTTIME.
	At time.Duration

	// NetnsCookie is the network namespace of the socket.
	NetnsCookie uint64
}

// A Conn is an accepted connection that knows where it meant to go.
type Conn struct {
	// FD is the connected socket, non-blocking and close-on-exec. Whoever holds
	// the Conn owns it.
	FD int

	// Source is the workload's end of the connection.
	Source netip.AddrPort

	Origin Origin
}

// File gives the connection away as a file: the Conn has no descriptor afterwards.
func (c *Conn) File() *os.File {
	f := os.NewFile(uintptr(c.FD), "redirected connection")
	c.FD = -1
	return f
}

// Close closes the descriptor, if the Conn still has it.
func (c *Conn) Close() error {
	if c.FD < 0 {
		return nil
	}
	fd := c.FD
	c.FD = -1
	return unix.Close(fd)
}
