package redirect

import (
	"errors"
	"os"
)

// A Listener accepts the redirected connections of one network namespace.
type Listener struct{}

// Listen starts to accept the redirected connections of a network namespace; nil is
// the one of this process. Another Listener in the same namespace is replaced. It
// returns [ErrNoNamespace] if netns is none.
//
// The caller may close netns afterwards. The calling process must be in
// Options.AgentCgroup.
func (k *Kernel) Listen(netns *os.File) (*Listener, error) { return nil, errors.ErrUnsupported }

// Accept waits for the next connection. Connections without an origin never get here:
// they are closed and counted. It returns [ErrClosed] after Close.
func (l *Listener) Accept() (*Conn, error) { return nil, errors.ErrUnsupported }

// NetnsCookie names the namespace, as an [Origin] has it.
func (l *Listener) NetnsCookie() uint64 { return 0 }

// Families says whether IPv4 and IPv6 connections are redirected here: a namespace
// without ::1 has no IPv6, and IPv6 endpoints are refused there.
func (l *Listener) Families() (v4, v6 bool) { return false, false }

// Close stops accepting. Connections are refused then until another Listener takes
// over; they are never let through.
func (l *Listener) Close() error { return errors.ErrUnsupported }
