package postgres

import (
	"time"

	"golang.org/x/sys/unix"
)

// keeper waits for what servers say to resets, and for what they say unasked, which
// mostly is that they close. It ends when there is nothing to wait for.
type keeper struct {
	p     *pool
	epoll int
}

func newKeeper(p *pool) (*keeper, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	k := &keeper{p: p, epoll: epoll}
	go k.run()
	return k, nil
}

func (k *keeper) add(s *kept) error {
	return unix.EpollCtl(k.epoll, unix.EPOLL_CTL_ADD, s.up.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: s.number})
}

func (k *keeper) run() {
	var events [64]unix.EpollEvent
	swept := time.Now()
	for {
		n, err := unix.EpollWait(k.epoll, events[:], int(sweepEvery/time.Millisecond))
		if err != nil && err != unix.EINTR {
			n = 0
		}
		k.p.mu.Lock()
		for i := range max(n, 0) {
			k.event(events[i].Fd)
		}
		empty := len(k.p.all) == 0
		if empty && n == 0 {
			k.p.keeper = nil
			unix.Close(k.epoll)
			k.p.mu.Unlock()
			return
		}
		k.p.mu.Unlock()
		if now := time.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			k.p.sweep(now)
		}
	}
}

// event is called when there is something to read. p.mu is held.
func (k *keeper) event(number int32) {
	s := k.p.all[number]
	if s == nil {
		return // taken meanwhile
	}
	if s.reset == nil {
		k.p.discard(s, DiscardLost)
		return
	}
	switch done, why := s.reset.readable(s.up.fd); {
	case why != notDiscarded:
		k.p.discard(s, why)
	case done:
		k.p.clean(s)
	}
}
