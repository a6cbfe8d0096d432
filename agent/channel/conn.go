package channel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Conn is one end. Send is safe for concurrent use; Receive is for one goroutine.
type Conn struct {
	c *net.UnixConn

	out sync.Mutex
	buf [Size]byte

	in  [Size + 1]byte
	oob [64]byte // one descriptor needs 24; more are cut off by the kernel, which we see
}

// Pair returns our end, and the file to be inherited by the other process.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make channel: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "channel")
	theirs := os.NewFile(uintptr(fds[1]), "channel")
	c, err := New(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c, theirs, nil
}

// New returns the Conn of an inherited file, which it closes.
func New(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("open channel: not a unix socket")
	}
	return &Conn{c: u}, nil
}

// Send sends m with the descriptors that belong to it, of which it keeps none: the
// caller closes its copies. It blocks while the other side does not read.
func (c *Conn) Send(m Message, files ...int) error {
	if least, most := m.files(); len(files) < least || len(files) > most {
		return fmt.Errorf("send message of kind %d: %d descriptors", m.kind(), len(files))
	}
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	c.out.Lock()
	defer c.out.Unlock()
	if err := marshal(c.buf[:], m); err != nil {
		return err
	}
	_, _, err := c.c.WriteMsgUnix(c.buf[:], oob, nil)
	clear(c.buf[:]) // proofs are short-lived
	if err != nil {
		return fmt.Errorf("send message of kind %d: %w", m.kind(), err)
	}
	return nil
}

// Receive returns the next message, and the descriptor that came with it (-1: none),
// which the caller owns. io.EOF says that the other side is gone. After
// [ErrMessage] the channel is of no use: whoever sends that is not our peer.
func (c *Conn) Receive() (Message, int, error) {
	n, oobn, flags, _, err := c.c.ReadMsgUnix(c.in[:], c.oob[:])
	if err != nil {
		return nil, -1, fmt.Errorf("receive: %w", err)
	}
	fds, bad := descriptors(c.oob[:oobn])
	reject := func(err error) (Message, int, error) {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, -1, err
	}
	if n == 0 && oobn == 0 {
		return nil, -1, io.EOF
	}
	if bad || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return reject(fmt.Errorf("%w: cut off", ErrMessage))
	}
	m, err := Unmarshal(c.in[:n])
	if err != nil {
		return reject(err)
	}
	if least, most := m.files(); len(fds) < least || len(fds) > most {
		return reject(fmt.Errorf("%w of kind %d: %d descriptors", ErrMessage, m.kind(), len(fds)))
	}
	if len(fds) == 1 {
		return m, fds[0], nil
	}
	return m, -1, nil
}

// descriptors returns what came in control messages. All of it must be closed,
// even if it is bad.
func descriptors(oob []byte) (fds []int, bad bool) {
	if len(oob) == 0 {
		return nil, false
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, true
	}
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			bad = true
			continue
		}
		fds = append(fds, got...)
	}
	return fds, bad
}

// Close ends the channel on both sides.
func (c *Conn) Close() error { return c.c.Close() }
