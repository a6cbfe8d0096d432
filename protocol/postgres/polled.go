package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/protocol"
)

// What happened to a polled session since it ran last.
const (
	queued uint32 = 1 << iota // it runs, or is about to
	clientReadable
	clientWritable
	clientHungup
	serverReadable
	serverWritable
	serverHungup
	called // something that was waited for is done, or somebody wants it to end
)

// turnReads is how many reads a session may do before others have their turn.
const turnReads = 16

// polled drives a session from an event loop. It does what session.fromClient
// and session.fromServer do, in steps that never wait: where the session has to
// wait, it notes what for and returns.
type polled struct {
	*session
	loop   *loop
	number int32
	c, s   socket
	mail   atomic.Uint32
	left   atomic.Bool // the client was seen to go

	// Of the client's side.
	sent    sent
	hungry  bool // more has to be read before the core can go on
	deaf    bool // nothing of the client counts any more
	holding atomic.Bool
	waits   bool        // for the server
	resumed atomic.Bool // it need not any more: a cancel was taken

	// Of the server's side.
	got    sent
	paused atomic.Bool // a CancelRequest is on its way
	mute   bool        // nothing of the server counts any more

	reads int
	over  bool
	clock *time.Timer // of linger

	away sync.WaitGroup // calls of Begin that may take minutes

	rest   []byte // that the client gets at the end, if there is room
	failed bool   // nobody is there to get it

	// Guarded by session.out: why somebody else wants it to end.
	asked   bool
	lastErr error
	lastWhy *protocol.Refusal
}

// sent is what the core said of some bytes. It counts when its output is written.
type sent struct {
	valid  bool
	n      int
	next   step
	ended  *ending
	cancel bool
}

// poll returns a driver of se on an event loop, nil if it needs goroutines of its
// own. client and the upstream connection are not to be used any more then.
func (se *session) poll(client net.Conn) *polled {
	if se.srv.opts.Goroutines || se.cfg.Blocks {
		return nil
	}
	p := &polled{session: se}
	if p.s.fd = se.up.detach(); p.s.fd < 0 {
		return nil
	}
	if p.c.fd = detach(client); p.c.fd < 0 {
		se.up.fd = p.s.fd
		return nil
	}
	// From here on no other epoll knows these sockets.
	client.Close()
	if se.lease != nil {
		se.core.quiet = func() bool {
			return len(p.s.pending()) == 0 && len(p.s.ahead) == 0 && !p.got.valid && p.core.toClient.empty()
		}
	}
	p.c.readable, p.c.writable, p.s.readable, p.s.writable = true, true, true, true
	p.s.ahead, se.server.ahead = se.server.ahead, nil
	se.held.alone()
	se.polled = p
	if !se.srv.loops.place(p, se.srv.opts.Loops) {
		p.finish(errors.New("no event loop"), &protocol.Refusal{Code: "53300", Message: "Sluice has no room for the session", Fatal: true})
	}
	return p
}

// wait waits for the end of the session.
func (p *polled) wait() {
	<-p.done
	p.held.close()
	p.away.Wait()
	p.close()
}

// close closes the sockets, after the client was told what there is to tell.
func (p *polled) close() {
	p.c.release()
	p.s.release()
	if p.kept {
		p.up.fd = p.s.fd
	} else {
		unix.Close(p.s.fd)
	}
	if p.clock != nil {
		p.clock.Stop()
	}
	if p.failed || p.kept {
		unix.Close(p.c.fd)
		return
	}
	if len(p.rest) == 0 {
		// Mostly it has closed already.
		var b [512]byte
		p.c.shut()
		for range 4 {
			n, err := unix.Read(p.c.fd, b[:])
			if n == 0 && err == nil || err != nil && err != unix.EAGAIN && err != unix.EINTR {
				unix.Close(p.c.fd)
				return
			}
			if err == unix.EAGAIN {
				break
			}
		}
	}
	conn, err := attach(p.c.fd)
	if err != nil {
		return
	}
	if len(p.rest) > 0 {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		conn.Write(p.rest)
	}
	drainAndClose(conn)
}

// happened notes events of epoll, and reports whether p has to be put in line.
func (p *polled) happened(side int, events uint32) bool {
	var mail uint32
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		mail |= clientReadable
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		mail |= clientWritable
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		mail |= clientHungup
		if side == clientSide {
			p.left.Store(true)
		}
	}
	if side == serverSide {
		mail <<= 3
	}
	first := p.mail.Or(mail|queued)&queued == 0
	if mail&clientHungup != 0 && (!first || p.holding.Load()) {
		p.held.abandon()
	}
	return first
}

// post has p run, because of something that no socket tells.
func (p *polled) post() {
	if p.mail.Or(called|queued)&queued == 0 {
		p.loop.enqueue(p)
	}
}

// slow is called when a step takes long: the call of the Gate that it is in ends
// when the client does.
func (p *polled) slow() {
	if p.left.Load() {
		p.held.abandon()
	}
}

// run does what there is to do. It reports whether there is more, and others
// should have their turn first.
func (p *polled) run() (again bool) {
	p.reads = turnReads
	for {
		mail := p.mail.And(queued)
		p.c.readable = p.c.readable || mail&clientReadable != 0
		p.c.writable = p.c.writable || mail&clientWritable != 0
		p.c.hungup = p.c.hungup || mail&clientHungup != 0
		p.s.readable = p.s.readable || mail&serverReadable != 0
		p.s.writable = p.s.writable || mail&serverWritable != 0
		p.s.hungup = p.s.hungup || mail&serverHungup != 0
		if mail&called != 0 {
			p.wanted()
		}
		for !p.over && (p.fromClient() || p.fromServer()) {
		}
		if p.reads <= 0 && !p.over {
			return true
		}
		if p.mail.CompareAndSwap(queued, 0) {
			return false
		}
	}
}

// wanted ends the session if somebody asked for that.
func (p *polled) wanted() {
	p.out.Lock()
	asked, err, why := p.asked, p.lastErr, p.lastWhy
	p.out.Unlock()
	if asked && !p.over {
		p.finish(err, why)
	}
}

// wish ends the session from outside of its loop.
func (p *polled) wish(err error, why *protocol.Refusal) {
	p.out.Lock()
	if !p.asked {
		p.asked, p.lastErr, p.lastWhy = true, err, why
	}
	p.out.Unlock()
	p.post()
}

// finish ends the session. What the client is told goes out in close.
func (p *polled) finish(err error, why *protocol.Refusal) {
	p.over = true
	if p.loop != nil {
		p.loop.remove(p)
	}
	p.once.Do(func() {
		p.err = err
		p.failed = err != nil && why == nil || p.gone
		if why != nil && !p.gone {
			for _, b := range p.core.toClient.parts {
				p.rest = append(p.rest, b...)
			}
			if p.core.between {
				p.out.Lock()
				p.rest = append(append(p.rest, p.late...), appendReport(nil, 'E', "FATAL", why)...)
				p.out.Unlock()
			}
		}
		close(p.done)
	})
}

// fromClient moves what the client sends, and reports whether anything moved.
func (p *polled) fromClient() (moved bool) {
	c := p.core
	for !p.over && !p.deaf {
		if !c.toServer.empty() {
			n, err := p.s.flush(&c.toServer)
			p.srv.Stats.BytesToServer.Add(n)
			if err == errAgain {
				return moved
			}
			c.toServer.reset()
			if err != nil {
				// The server may have said why: its side is read to its end.
				p.deaf = true
				p.linger(5 * time.Second)
				return true
			}
		}
		if p.sent.valid {
			p.settle()
			moved = true
			continue
		}
		if p.resumed.Swap(false) {
			p.waits = false
		}
		if p.holding.Load() || p.waits {
			return moved
		}
		if p.hungry || len(p.c.pending()) == 0 {
			if p.reads <= 0 {
				return moved
			}
			n, err := p.c.fill(c.want)
			if err == errAgain {
				return moved
			}
			moved = true
			if err != nil {
				p.clientEnded(err)
				return true
			}
			p.reads--
			p.hungry = false
			p.srv.Stats.BytesFromClient.Add(int64(n))
		}
		p.mu.Lock()
		p.sent.n, p.sent.next = c.fromClient(p.c.pending())
		c.settled()
		c.tick()
		p.sent.ended, p.sent.valid = c.ended, true
		p.waits = p.sent.next == stepWait
		p.mu.Unlock()
	}
	return moved
}

// settle does what the core asked for, now that its output is written.
func (p *polled) settle() {
	at := p.sent
	p.sent = sent{}
	p.c.consume(at.n)
	switch {
	case at.ended != nil:
		p.finish(at.ended.err, at.ended.refusal)
	case p.core.terminated && p.core.retired:
		p.kept = true
		p.finish(nil, nil)
	case p.core.terminated:
		p.s.shut()
		p.deaf = true
		p.linger(0)
	case at.next == stepHold:
		p.holding.Store(true)
		p.away.Go(func() {
			// Who was gone before it began is not told of again.
			defer time.AfterFunc(patience, p.slow).Stop()
			p.hold()
			p.holding.Store(false)
			p.post()
		})
	case at.next != stepWait:
		p.hungry = true
	}
}

// clientEnded handles the end of what the client sends.
func (p *polled) clientEnded(err error) {
	if !errors.Is(err, io.EOF) {
		p.finish(fmt.Errorf("client: %w", err), nil)
		return
	}
	// It may still read: the server is told the same, and says what it has to.
	p.mu.Lock()
	p.core.clientDone = true
	retired := len(p.c.pending()) == 0 && p.core.retires()
	p.mu.Unlock()
	if retired {
		p.kept = true
		p.finish(nil, nil)
		return
	}
	p.s.shut()
	p.deaf = true
	p.linger(0)
}

// linger ends the session if the server's side has not done so within limit, if
// that is not 0. A server that is idle gets little time in any case.
func (p *polled) linger(limit time.Duration) {
	p.mu.Lock()
	if limit == 0 && !p.core.busy() {
		limit = 5 * time.Second
	}
	p.mu.Unlock()
	if limit > 0 && p.clock == nil {
		p.clock = time.AfterFunc(limit, func() {
			p.wish(errors.New("the server did not close the connection"), nil)
		})
	}
}

// fromServer moves what the server sends, and reports whether anything moved.
func (p *polled) fromServer() (moved bool) {
	c := p.core
	for !p.over {
		if !p.tell() {
			return moved
		}
		if p.got.valid {
			at := p.got
			p.got = sent{}
			p.s.consume(at.n)
			moved = true
			if at.ended != nil {
				p.finish(at.ended.err, at.ended.refusal)
				return true
			}
		}
		if p.mute || p.paused.Load() || p.reads <= 0 {
			return moved
		}
		n, err := p.s.fill(c.wantBack)
		if err == errAgain {
			return moved
		}
		moved = true
		if err != nil {
			p.serverEnded(err)
			return true
		}
		p.reads--
		p.srv.Stats.BytesFromServer.Add(int64(n))
		p.mu.Lock()
		p.got.n = c.fromServer(p.s.pending())
		c.tick()
		p.got.ended, p.got.cancel, p.got.valid = c.ended, c.cancel, true
		c.cancel = false
		p.waits = false
		p.mu.Unlock()
		if p.got.cancel {
			p.withdraw()
		}
	}
	return moved
}

// withdraw has the server cancel what it runs. Nothing of what it says counts
// before it has taken that, lest the next statement is hit.
func (p *polled) withdraw() {
	p.paused.Store(true)
	p.cancels.Go(func() {
		p.cancelUpstream(context.Background())
		p.cancelled()
		p.paused.Store(false)
		p.post()
	})
}

// tell writes what there is for the client, and reports whether all of it went.
func (p *polled) tell() bool {
	c := p.core
	if c.toClient.empty() && c.between {
		p.out.Lock()
		if len(p.late) > 0 {
			c.toClient.add(p.late)
			p.late = nil
		}
		p.out.Unlock()
	}
	if c.toClient.empty() {
		return true
	}
	if !p.gone {
		n, err := p.c.flush(&c.toClient)
		p.srv.Stats.BytesToClient.Add(n)
		if err == errAgain {
			return false
		}
		// A client that is gone is noticed by the other side. What its statements did
		// is still to be recorded.
		p.gone = err != nil
	}
	c.toClient.reset()
	return true
}

// serverEnded handles the end of what the server sends.
func (p *polled) serverEnded(err error) {
	p.mu.Lock()
	over := p.core.terminated || p.core.ended != nil || p.core.clientDone
	p.mu.Unlock()
	if over {
		p.finish(nil, nil)
		return
	}
	p.finish(fmt.Errorf("server: %w", err), &protocol.Refusal{Code: "08006",
		Message: "the database closed the connection unexpectedly"})
}
