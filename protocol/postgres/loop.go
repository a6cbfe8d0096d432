package postgres

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// overdue is how long a session may keep an event loop to itself: what takes
	// longer (a catalog to be read, a slow disk) goes on in a goroutine of its own.
	overdue = 5 * time.Millisecond

	// loopIdle is how long a loop without sessions stays.
	loopIdle = 200 * time.Millisecond

	// eventBatch is how many events are asked for at a time.
	eventBatch = 128
)

// loop waits for the sockets of many sessions and lets them run one after the
// other, in one goroutine: a wake-up serves read, judgement and write without
// handing anything on.
//
// A session that does not come back in time is left alone with the goroutine it
// has, and another one takes the loop over. So everything may block anywhere, and
// nothing has to say in advance that it might.
type loop struct {
	epoll, wake int // descriptors; wake is an eventfd

	mu       sync.Mutex
	sessions map[int32]*polled // by what epoll knows them by
	last     int32
	inbox    []*polled // to be run, by order of others than the leader
	closed   bool

	// turn counts steps of sessions, and is odd during one. Who leads changes it by
	// compare-and-swap: a leader that fails to has been replaced meanwhile.
	turn    atomic.Uint64
	seen    uint64 // turn when the watch last looked
	running atomic.Pointer[polled]
	waiting atomic.Bool // the leader is in epoll_wait
	armed   atomic.Bool
	watch   *time.Timer
	end     chan struct{} // closed by the last leader

	// Of the leader alone.
	ready  []*polled
	next   int // of ready
	events [eventBatch]unix.EpollEvent
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, err
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1}); err != nil {
		unix.Close(epoll)
		unix.Close(wake)
		return nil, err
	}
	l := &loop{epoll: epoll, wake: wake, sessions: make(map[int32]*polled), end: make(chan struct{})}
	l.watch = time.AfterFunc(time.Hour, l.look)
	l.watch.Stop()
	go l.lead(0)
	return l, nil
}

// Sides of a session as epoll knows them.
const (
	clientSide = iota
	serverSide
)

// add takes a session in, and is false if the loop has ended.
func (l *loop) add(p *polled) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	for {
		l.last = (l.last + 1) & 0x3fffffff
		if l.sessions[l.last] == nil {
			break
		}
	}
	p.number = l.last
	l.sessions[p.number] = p
	for side, s := range []*socket{&p.c, &p.s} {
		e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: p.number<<1 | int32(side)}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, s.fd, &e); err != nil {
			unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, p.c.fd, nil)
			delete(l.sessions, p.number)
			return false
		}
	}
	return true
}

// remove lets go of a session, whose sockets stay open.
func (l *loop) remove(p *polled) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[p.number] != p {
		return
	}
	delete(l.sessions, p.number)
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, p.c.fd, nil)
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, p.s.fd, nil)
	if len(l.sessions) == 0 {
		l.rouse() // so that it waits for loopIdle only
	}
}

// load is how many sessions there are.
func (l *loop) load() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sessions)
}

// enqueue has p run soon.
func (l *loop) enqueue(p *polled) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed { // else p is not there any more either
		l.inbox = append(l.inbox, p)
		l.rouse()
	}
}

// rouse ends the leader's wait. l.mu is held, so that the descriptor is still ours.
func (l *loop) rouse() {
	one := [8]byte{1}
	unix.Write(l.wake, one[:])
}

// lead runs sessions until somebody else does, or there are none left.
func (l *loop) lead(turn uint64) {
	for {
		for l.next < len(l.ready) {
			p := l.ready[l.next]
			l.ready[l.next] = nil
			if l.next++; l.next == len(l.ready) {
				l.ready, l.next = l.ready[:0], 0
			}
			l.running.Store(p)
			l.turn.Store(turn + 1)
			again := p.run()
			if !l.turn.CompareAndSwap(turn+1, turn+2) {
				if again {
					l.enqueue(p)
				}
				return
			}
			turn += 2
			if again {
				l.ready = append(l.ready, p)
				break // others have a look first
			}
		}
		if !l.gather() {
			return
		}
	}
}

// gather waits for something to do and adds it to ready. It is false at the end
// of the loop.
func (l *loop) gather() bool {
	limit := 0
	if len(l.ready) == 0 {
		limit = -1
		l.running.Store(nil)
		l.mu.Lock()
		if len(l.inbox) > 0 {
			limit = 0
		} else if len(l.sessions) == 0 {
			limit = int(loopIdle / time.Millisecond)
		}
		l.mu.Unlock()
	}
	if limit != 0 {
		l.waiting.Store(true)
	}
	n, err := unix.EpollWait(l.epoll, l.events[:], limit)
	if limit != 0 {
		l.waiting.Store(false)
		if n > 0 && !l.armed.Load() {
			l.armed.Store(true)
			l.watch.Reset(overdue)
		}
	}
	if err != nil && err != unix.EINTR {
		n = 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range max(n, 0) {
		e := &l.events[i]
		if e.Fd < 0 {
			continue // edge-triggered, so that wake need not be read
		}
		if p := l.sessions[e.Fd>>1]; p != nil && p.happened(int(e.Fd&1), e.Events) {
			l.ready = append(l.ready, p)
		}
	}
	l.ready = append(l.ready, l.inbox...)
	clear(l.inbox)
	l.inbox = l.inbox[:0]
	if n == 0 && limit > 0 && len(l.sessions) == 0 && len(l.ready) == 0 {
		l.closed = true
		l.watch.Stop()
		unix.Close(l.epoll)
		unix.Close(l.wake)
		close(l.end)
		return false
	}
	return true
}

// look lets another goroutine lead if a session keeps the leader from it.
func (l *loop) look() {
	turn := l.turn.Load()
	if turn&1 == 1 && turn == l.seen && l.turn.CompareAndSwap(turn, turn+1) {
		if p := l.running.Load(); p != nil {
			p.slow()
		}
		go l.lead(turn + 1)
	}
	l.seen = turn
	l.armed.Store(false)
	if !l.waiting.Load() {
		l.armed.Store(true)
		l.watch.Reset(overdue)
	}
}

// loops are those of a Server.
type loops struct {
	mu  sync.Mutex
	all []*loop
}

// place gives p to the loop that has the fewest sessions, of at most limit. It is
// false where there is none, such as without descriptors.
func (ls *loops) place(p *polled, limit int) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	kept := ls.all[:0]
	var best *loop
	least := 0
	for _, l := range ls.all {
		select {
		case <-l.end:
			continue
		default:
		}
		kept = append(kept, l)
		if n := l.load(); best == nil || n < least {
			best, least = l, n
		}
	}
	clear(ls.all[len(kept):])
	ls.all = kept
	if best == nil || least > 0 && len(ls.all) < limit {
		l, err := newLoop()
		if err != nil {
			return false
		}
		ls.all = append(ls.all, l)
		best = l
	}
	p.loop = best
	if best.add(p) {
		return true
	}
	// It ended at this very moment, or epoll has no room.
	l, err := newLoop()
	if err != nil {
		return false
	}
	ls.all = append(ls.all, l)
	p.loop = l
	return l.add(p)
}
