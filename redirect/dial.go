package redirect

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"
)

// A Dialer connects from another network namespace. The zero value is what production
// runs with.
type Dialer struct {
	Mark      int           // SO_MARK; 0: none
	KeepAlive time.Duration // idle time before the first probe; default: 15 s
}

// Dial connects to addr from netns; nil is the namespace of this process. The socket
// that it returns is the caller's: non-blocking, close-on-exec, with TCP_NODELAY and
// keep-alives.
func (d Dialer) Dial(ctx context.Context, netns *os.File, addr netip.AddrPort) (fd int, err error) {
	return -1, errors.ErrUnsupported
}

// Dial is [Dialer.Dial] of the zero Dialer.
func Dial(ctx context.Context, netns *os.File, addr netip.AddrPort) (fd int, err error) {
	return Dialer{}.Dial(ctx, netns, addr)
}
