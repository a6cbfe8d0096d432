package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Pool says that the session of the server may serve another client when this one has
// left, and which. See pool.go of package session for what makes two clients alike.
type Pool struct {
	// Key is all that has to be alike beside what the codec knows itself: user,
	// database, settings, and whether there is TLS. It is called once the client has
	// been authenticated.
	Key        func() string
	Name       string        // of what Total counts
	Idle       time.Duration // how long a session waits for a client
	Age        time.Duration // how long after its login it is used
	Max, Total int           // that wait and are alike, and in all of Name
	Reused     func()        // called where a kept session serves the client; may be nil
	// Names returns what changes when names may have come to resolve differently for
	// reasons outside of the session. While it is equal, the search path that one client
	// began with is that of the next. Nil: it is asked for anew.
	Names func() any
}

// Discard is why a session of the server was closed and not used again.
type Discard uint8

const (
	notDiscarded     Discard = iota
	DiscardState             // a statement may have left what the reset does not take back
	DiscardMidway            // its client left in the middle of something
	DiscardCancelled         // a cancel request was sent for it
	DiscardReset             // the reset did not go as it should
	DiscardTrigger           // the database has a trigger for logins
	DiscardFull              // enough wait already
	DiscardIdle              // nobody came
	DiscardAge               // it is too old
	DiscardLost              // the server closed it, or said something unasked
	DiscardFlushed           // the rules changed, or nobody is to be connected
	Discards                 // how many reasons there are
)

// String is the word for metrics.
func (d Discard) String() string {
	return [Discards]string{"", "state", "midway", "cancelled", "reset", "trigger", "full", "idle", "age", "lost", "flushed"}[d]
}

const (
	resetLimit = 5 * time.Second        // a reset takes longer only where something is wrong
	sweepEvery = 500 * time.Millisecond // ages are looked at
)

// pool keeps sessions of servers whose clients have left.
type pool struct {
	stats      *Stats
	generation atomic.Uint64 // counts flushes

	mu     sync.Mutex
	alike  map[poolKey][]*kept // the latest last
	total  map[string]int
	all    map[int32]*kept
	last   int32
	keeper *keeper // nil: nothing is kept
}

type poolKey [sha256.Size]byte

// lease is the right of a session to leave its server's to the pool.
type lease struct {
	*Pool
	key        poolKey
	generation uint64
}

// kept is one session of the server in the pool.
type kept struct {
	lease
	number int32
	up     *upstream
	since  time.Time
	reset  *reset // under way, nil: it waits for a client
}

// lease returns the right that a client's session has, given the generation that was
// there before its rules were read.
func (c *SessionConfig) lease(generation uint64, settings []Setting) *lease {
	if c.Pool == nil || c.Passthrough {
		return nil
	}
	h := sha256.New()
	put := func(s string) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	put(c.Pool.Key())
	put(c.User)
	put(c.Database)
	if c.TLS != nil {
		put("tls " + c.TLS.ServerName)
	} else {
		put("plain")
	}
	sorted := slices.Clone(settings)
	slices.SortFunc(sorted, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range sorted {
		put(s.Name)
		put(s.Value)
	}
	return &lease{Pool: c.Pool, key: poolKey(h.Sum(nil)), generation: generation}
}

// take returns a session that l may use, nil if there is none.
func (p *pool) take(l *lease) *upstream {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.alike[l.key]
	for i := len(list) - 1; i >= 0; i-- {
		k := list[i]
		switch {
		case k.reset != nil:
		case l.generation != k.generation:
			p.discard(k, DiscardFlushed)
		case now.Sub(k.up.born) > l.Age:
			p.discard(k, DiscardAge)
		case !k.up.silent():
			p.discard(k, DiscardLost)
		default:
			p.forget(k)
			p.stats.PoolHits.Add(1)
			return k.up
		}
	}
	p.stats.PoolMisses.Add(1)
	return nil
}

// put takes over a session whose client has left, and resets it.
func (p *pool) put(l *lease, up *upstream) {
	now := time.Now()
	k := &kept{lease: *l, up: up, since: now}
	p.mu.Lock()
	defer p.mu.Unlock()
	why := notDiscarded
	switch {
	case l.generation != p.generation.Load():
		why = DiscardFlushed
	case now.Sub(up.born) > l.Age:
		why = DiscardAge
	case len(p.alike[l.key]) >= l.Max || p.total[l.Name] >= l.Total:
		why = DiscardFull
	}
	if why == notDiscarded {
		why = p.keep(k)
	}
	if why != notDiscarded {
		p.stats.PoolDiscards[why].Add(1)
		up.hangUp()
	}
}

// keep begins the reset of k and puts it in the pool. p.mu is held.
func (p *pool) keep(k *kept) Discard {
	k.reset = newReset(k.up)
	if p.keeper == nil {
		var err error
		if p.keeper, err = newKeeper(p); err != nil {
			return DiscardReset
		}
		p.alike, p.total, p.all = make(map[poolKey][]*kept), make(map[string]int), make(map[int32]*kept)
	}
	for k.number == 0 || p.all[k.number] != nil {
		p.last = (p.last + 1) & 0x3fffffff
		k.number = p.last
	}
	if k.up.fd >= 0 {
		if !k.reset.send(k.up.fd) || p.keeper.add(k) != nil {
			return DiscardReset
		}
	}
	p.all[k.number] = k
	p.alike[k.key] = append(p.alike[k.key], k)
	p.total[k.Name]++
	p.stats.PoolIdle.Add(1)
	if k.up.fd < 0 {
		go p.resetSlowly(k)
	}
	return notDiscarded
}

// forget takes k out of the pool. p.mu is held.
func (p *pool) forget(k *kept) {
	if p.all[k.number] != k {
		return
	}
	delete(p.all, k.number)
	list := p.alike[k.key]
	if i := slices.Index(list, k); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if p.alike[k.key] = list; len(list) == 0 {
		delete(p.alike, k.key)
	}
	if p.total[k.Name]--; p.total[k.Name] <= 0 {
		delete(p.total, k.Name)
	}
	p.stats.PoolIdle.Add(-1)
	if k.up.fd >= 0 {
		unix.EpollCtl(p.keeper.epoll, unix.EPOLL_CTL_DEL, k.up.fd, nil)
	}
}

// discard closes a session of the pool. p.mu is held.
func (p *pool) discard(k *kept, why Discard) {
	if p.all[k.number] != k {
		return
	}
	p.forget(k)
	p.stats.PoolDiscards[why].Add(1)
	k.up.hangUp()
}

// clean notes that the reset of k is done. p.mu is held.
func (p *pool) clean(k *kept) {
	k.reset, k.since = nil, time.Now()
}

// resetSlowly resets a session with TLS.
func (p *pool) resetSlowly(k *kept) {
	why := k.reset.overTLS(k.up.conn)
	p.mu.Lock()
	defer p.mu.Unlock()
	if why != notDiscarded {
		p.discard(k, why)
	} else if p.all[k.number] == k {
		p.clean(k)
	}
}

// sweep closes what is too old.
func (p *pool) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.all {
		waited := now.Sub(k.since)
		switch {
		case k.reset != nil && waited > resetLimit:
			p.discard(k, DiscardReset)
		case k.reset != nil:
		case waited > k.Idle:
			p.discard(k, DiscardIdle)
		case now.Sub(k.up.born) > k.Age:
			p.discard(k, DiscardAge)
		case k.up.fd < 0 && !k.up.silent():
			p.discard(k, DiscardLost)
		}
	}
}

// flush closes all that is kept. What serves a client now is not kept afterwards.
func (p *pool) flush() {
	p.generation.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.all {
		p.discard(k, DiscardFlushed)
	}
}

// FlushPool closes every session of a server that waits for a client, and has those
// that serve one closed when it leaves.
func (s *Server) FlushPool() { s.pool.flush() }

// silent reports whether nothing has come of the server, not even its end.
func (up *upstream) silent() bool {
	fd := up.fd
	if fd >= 0 {
		return nothingRead(fd)
	}
	conn := up.conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	raw := rawOf(conn)
	if raw == nil {
		return false
	}
	silent := false
	return raw.Control(func(fd uintptr) { silent = nothingRead(int(fd)) }) == nil && silent
}

func nothingRead(fd int) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == unix.EAGAIN
}

// hangUp ends a session of the server.
func (up *upstream) hangUp() {
	if up.fd >= 0 {
		unix.SendmsgN(up.fd, terminateMessage, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		unix.Close(up.fd)
		return
	}
	up.conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	up.conn.Write(terminateMessage)
	up.conn.Close()
}
