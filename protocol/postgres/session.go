package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"sluicegate.io/sluice/protocol"
)

// session drives a core: one goroutine reads the client and writes the server,
// another the other way round.
type session struct {
	srv   *Server
	cfg   *SessionConfig
	up    *upstream
	lease *lease // nil: the server's session ends with this one
	kept  bool   // it does not
	scope string
	pid   uint32
	key   []byte

	client, server *stream
	held           *held
	polled         *polled // what drives it, nil: goroutines of its own

	mu      sync.Mutex // of core
	core    *core
	waiting bool          // the client's side waits for the server's
	wake    chan struct{} // ... and is told here

	out    sync.Mutex // of writing to the client
	middle bool       // of a message, as the client sees it
	gone   bool       // writing to the client has failed
	late   []byte     // notices for when middle is over

	stopped chan struct{} // closed when the server's side has ended, where goroutines drive
	done    chan struct{} // closed when the session is over, whoever found out
	once    sync.Once
	err     error
	cancels sync.WaitGroup
}

// Serve serves one connection until either side ends it or ctx is done. It
// closes the connection and whatever it dialled, and has no goroutine left when
// it returns. The error says why the session ended if that was not by the
// client's Terminate; it holds no payload, and the client has been told already.
func (s *Server) Serve(ctx context.Context, a Accepted) error {
	defer a.Conn.Close()
	wake := context.AfterFunc(ctx, func() { a.Conn.SetDeadline(time.Unix(1, 0)) })
	defer wake()
	h, err := s.greet(ctx, a)
	if err != nil {
		s.Stats.Failed.Add(1)
		return fmt.Errorf("startup: %w", err)
	}
	if h.cancel != nil {
		s.serveCancel(ctx, a.Scope, h.cancel)
		return nil
	}
	se, err := s.open(ctx, a, h)
	if err != nil {
		s.Stats.Failed.Add(1)
		var why *protocol.Refusal
		if errors.As(err, &why) {
			s.turnDown(h, why)
			drainAndClose(h.conn)
		}
		return fmt.Errorf("startup: %w", err)
	}
	if !wake() {
		se.up.close()
		return context.Cause(ctx)
	}
	return se.run(ctx, h)
}

// open does everything between the startup packet and the session.
func (s *Server) open(ctx context.Context, a Accepted, h *hello) (*session, error) {
	generation := s.pool.generation.Load() // of before the rules are read
	cfg, why := a.Open(ctx, h.startup)
	if why != nil {
		return nil, why
	}
	if cfg == nil || cfg.Gate == nil || cfg.Dial == nil {
		return nil, &protocol.Refusal{Code: "42501", Message: "this connection is not allowed"}
	}
	if err := authenticate(ctx, h, &cfg.ClientAuth, s.opts.StartupTimeout); err != nil {
		return nil, err
	}
	settings, why := judgeSettings(h.startup.Settings, cfg.Settings, cfg.Setting)
	if why != nil {
		return nil, why
	}
	lease := cfg.lease(generation, settings)
	if lease != nil {
		if up := s.pool.take(lease); up != nil {
			if lease.Reused != nil {
				lease.Reused()
			}
			return &session{srv: s, cfg: cfg, up: up, lease: lease, scope: a.Scope}, nil
		}
	}
	limited, stop := context.WithTimeout(ctx, s.opts.ConnectTimeout)
	defer stop()
	conn, err := cfg.Dial(limited)
	if err != nil {
		if why := (*protocol.Refusal)(nil); errors.As(err, &why) {
			return nil, err
		}
		return nil, &errCredential{&protocol.Refusal{Code: "08001",
			Message: "the database could not be reached: " + cause(err)}, err}
	}
	cr := credentials{user: cfg.User, database: cfg.Database, settings: settings,
		auth: cfg.Auth, tls: cfg.TLS, weakest: cfg.Weakest}
	if cfg.Passthrough {
		cr.client = h
	}
	up, err := login(limited, conn, cr)
	if err != nil {
		return nil, err
	}
	return &session{srv: s, cfg: cfg, up: up, lease: lease, scope: a.Scope}, nil
}

// run runs the session proper.
func (se *session) run(ctx context.Context, h *hello) error {
	s := se.srv
	se.client, se.server = newStream(h.conn, nil), newStream(se.up.conn, se.up.rest)
	se.up.rest = nil
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	se.held = newHeld(ctx, se.client)
	defer se.held.close()
	se.wake, se.stopped, se.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	se.core = newCore(&guarded{se.cfg.Gate, se.held}, &s.opts, &s.Stats)
	se.core.scanner, _ = se.cfg.Gate.(protocol.Scanner)
	se.core.memory = allowance{from: &s.memory, scope: se.scope}
	se.core.notify = se.notify
	se.core.expire = se.expire
	if se.cfg.Epoch != nil {
		se.core.epoch = se.cfg.Epoch
		se.core.lastEpoch = se.cfg.Epoch()
	}
	if se.lease != nil {
		se.core.keeps = true
		se.core.quiet = func() bool { return true } // retire makes sure
		se.core.reported = se.up.reported
		if names := se.lease.Names; names != nil {
			se.core.names0 = names
			se.core.begins = func(path []string, under any) { se.up.path, se.up.names = path, under }
			if se.up.path != nil && se.up.names == names() {
				se.core.path, se.core.pathKnown, se.core.pathVersion = se.up.path, true, 1
			}
		}
		se.core.discarded = func(why Discard) { s.Stats.PoolDiscards[why].Add(1) }
	}
	key := s.keys.add(se, se.up.pid, h.keyVersion(se.up))
	defer s.keys.remove(se)

	first := appendMessage(nil, 'R', []byte{0, 0, 0, 0}, "", "")
	if se.cfg.ClientAuth.Token != nil || se.cfg.ClientAuth.SCRAM != nil {
		first = first[:0] // said already
	}
	first = append(first, se.up.hello...)
	first = appendMessage(first, 'K', binary.BigEndian.AppendUint32(nil, se.up.pid), key, "")
	first = appendMessage(first, 'Z', []byte{se.up.status}, "", "")
	if se.lease == nil {
		se.up.hello = nil
	}
	s.Stats.Opened.Add(1)
	s.Stats.Sessions.Add(1)
	defer s.Stats.Sessions.Add(-1)
	if _, err := h.conn.Write(first); err != nil {
		se.up.close()
		return err
	}
	p := se.poll(h.conn)
	if p == nil {
		if err := se.up.open(); err != nil {
			return fmt.Errorf("server: %w", err)
		}
		se.client.waits(h.conn)
		se.server.waits(se.up.conn)
	}
	unhook := context.AfterFunc(ctx, func() {
		why := stopping
		errors.As(context.Cause(ctx), &why)
		se.end(context.Cause(ctx), why)
	})
	if p != nil {
		p.wait()
	} else {
		var both sync.WaitGroup
		both.Go(func() { defer close(se.stopped); se.fromServer() })
		se.fromClient()
		both.Wait()
		se.end(nil, nil)
	}
	if !unhook() {
		<-se.done
	}
	se.mu.Lock()
	se.core.close() // stops the clocks too
	se.client.release()
	se.server.release()
	se.mu.Unlock()
	se.cancels.Wait()
	if se.kept {
		se.up.shut()
		s.pool.put(se.lease, se.up)
	}
	return se.err
}

// stopping is what a client is told if its context ends, unless the cause is a Refusal.
var stopping = &protocol.Refusal{Code: "57P01", Message: "terminating connection: Sluice is stopping"}

// end ends the session: the client is told why if there is something to tell and
// room for it, and both connections are closed. Only the first call counts.
func (se *session) end(err error, why *protocol.Refusal) {
	if p := se.polled; p != nil {
		p.wish(err, why)
		return
	}
	se.once.Do(func() {
		se.err = err
		if why != nil {
			// A client that does not read keeps nobody waiting.
			se.client.conn.SetWriteDeadline(time.Now().Add(time.Second))
			se.out.Lock()
			if !se.middle && !se.gone {
				se.client.conn.Write(appendReport(nil, 'E', "FATAL", why))
			}
			se.out.Unlock()
		}
		close(se.done)
		if !se.kept {
			se.up.close()
		}
		if why != nil || err == nil {
			drainAndClose(se.client.conn)
		} else {
			se.client.conn.Close()
		}
	})
}

// drainAndClose closes conn such that what was written last arrives: closing a
// socket that has unread bytes resets it.
func drainAndClose(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		conn.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
		io.CopyN(io.Discard, conn, 1<<20)
	}
	conn.Close()
}

// fromClient moves what the client sends.
func (se *session) fromClient() {
	st, c := &se.srv.Stats, se.core
	want := 0
	for {
		n, err := se.client.fill(want)
		if err != nil {
			se.clientEnded(err)
			return
		}
		st.BytesFromClient.Add(int64(n))
		for more := true; more; {
			se.mu.Lock()
			n, next := c.fromClient(se.client.pending())
			c.settled()
			c.tick()
			ended := c.ended
			se.waiting = next == stepWait
			want = c.want
			se.mu.Unlock()
			if !c.toServer.empty() {
				k, err := se.server.write(&c.toServer)
				c.toServer.reset()
				st.BytesToServer.Add(k)
				if err != nil {
					// The server may have said why: its side is read to its end.
					se.linger(5 * time.Second)
					return
				}
			}
			se.client.consume(n)
			switch {
			case ended != nil:
				se.end(ended.err, ended.refusal)
				return
			case c.terminated && c.retired:
				se.retire()
				return
			case c.terminated:
				se.server.closeWrite()
				se.linger(0)
				return
			case next == stepWait:
				select {
				case <-se.wake:
				case <-se.done:
					return
				}
			case next == stepHold:
				se.hold()
			default:
				more = false
			}
		}
	}
}

// hold calls Begin for a run that may take minutes, without the lock.
func (se *session) hold() {
	ctx := se.held.enter()
	why := se.cfg.Gate.Begin(ctx, &se.core.held.Run)
	if why == nil && ctx.Err() != nil {
		// It said yes too late. The run has begun all the same, and never runs.
		for i := range se.core.held.Judgement.Plans {
			se.cfg.Gate.End(&se.core.held.Run, i, protocol.Outcome{Refused: withdrawn})
		}
		why = withdrawn
	}
	se.held.leave()
	se.mu.Lock()
	se.core.heldDone, se.core.heldWhy = true, why
	se.mu.Unlock()
}

var withdrawn = &protocol.Refusal{Code: "57014", Message: "canceling statement due to user request"}

// clientEnded handles the end of what the client sends.
func (se *session) clientEnded(err error) {
	if errors.Is(err, io.EOF) {
		// It may still read: the server is told the same, and says what it has to.
		se.mu.Lock()
		se.core.clientDone = true
		retired := len(se.client.pending()) == 0 && se.core.retires()
		se.mu.Unlock()
		if retired {
			se.retire()
			return
		}
		se.server.closeWrite()
		se.linger(0)
		return
	}
	se.end(fmt.Errorf("client: %w", err), nil)
}

// linger waits until the server's side has ended the session, at most for limit
// if that is not 0. A server that is idle gets little time in any case.
func (se *session) linger(limit time.Duration) {
	if limit == 0 {
		se.mu.Lock()
		if !se.core.busy() {
			limit = 5 * time.Second
		}
		se.mu.Unlock()
	}
	var clock <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		clock = t.C
	}
	select {
	case <-se.done:
	case <-clock:
		se.end(errors.New("the server did not close the connection"), nil)
	}
}

// fromServer moves what the server sends.
func (se *session) fromServer() {
	st, c := &se.srv.Stats, se.core
	want := 0
	for {
		n, err := se.server.fill(want)
		if err != nil {
			se.serverEnded(err)
			return
		}
		st.BytesFromServer.Add(int64(n))
		se.mu.Lock()
		n = c.fromServer(se.server.pending())
		c.tick()
		ended, between, cancel := c.ended, c.between, c.cancel
		c.cancel = false
		want = c.wantBack
		if se.waiting {
			se.waiting = false
			select {
			case se.wake <- struct{}{}:
			default:
			}
		}
		se.mu.Unlock()
		if cancel {
			ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
			se.cancelUpstream(ctx)
			stop()
			se.cancelled()
		}
		if !c.toClient.empty() {
			se.toClient(between)
		}
		se.server.consume(n)
		if ended != nil {
			se.end(ended.err, ended.refusal)
			return
		}
	}
}

// toClient writes what core has for the client.
func (se *session) toClient(between bool) {
	se.out.Lock()
	defer se.out.Unlock()
	c := se.core
	if !se.gone {
		if len(se.late) > 0 && between {
			c.toClient.add(se.late)
			se.late = nil
		}
		k, err := se.client.write(&c.toClient)
		se.srv.Stats.BytesToClient.Add(k)
		// A client that is gone is noticed by the other side. What its statements
		// did is still to be recorded.
		se.gone = err != nil
	}
	se.middle = !between
	c.toClient.reset()
}

// serverEnded handles the end of what the server sends.
func (se *session) serverEnded(err error) {
	se.mu.Lock()
	over := se.core.terminated || se.core.ended != nil
	retired := se.core.retired
	se.mu.Unlock()
	if retired {
		return // retire made it stop
	}
	select {
	case <-se.done:
		return
	default:
	}
	if over || se.halfClosed() {
		se.end(nil, nil)
		return
	}
	se.end(fmt.Errorf("server: %w", err), &protocol.Refusal{Code: "08006",
		Message: "the database closed the connection unexpectedly"})
}

// halfClosed reports whether the client has said that it sends no more.
func (se *session) halfClosed() bool {
	se.mu.Lock()
	defer se.mu.Unlock()
	return se.core.clientDone
}

// notify sends a notice at once, or after the message that is being written.
func (se *session) notify(n protocol.Notice) {
	se.out.Lock()
	defer se.out.Unlock()
	b := appendNotice(nil, n)
	if se.polled != nil {
		se.late = append(se.late, b...)
		se.polled.post()
		return
	}
	if se.middle {
		se.late = append(se.late, b...)
		return
	}
	if !se.gone {
		_, err := se.client.conn.Write(b)
		se.gone = err != nil
	}
}

// working reports whether the server has something to do for the client.
func (se *session) working() bool {
	se.mu.Lock()
	defer se.mu.Unlock()
	return se.core.queue.len > 0
}

// expire sets the clock of a run.
func (se *session) expire(r *run, d time.Duration) interface{ Stop() bool } {
	id := r.id
	se.cancels.Add(1)
	var once sync.Once
	t := time.AfterFunc(d, func() {
		defer once.Do(se.cancels.Done)
		se.mu.Lock()
		due := r.id == id && r.limited == nil
		if due {
			r.limited = &protocol.Refusal{Code: "57014", Message: "the statement took longer than the policy allows",
				Detail: fmt.Sprintf("limit: %v a statement", d)}
			se.srv.Stats.Limited.Add(1)
			se.core.cancelling++
		}
		se.mu.Unlock()
		if due {
			defer se.cancelled()
			ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
			defer stop()
			se.cancelUpstream(ctx)
		}
	})
	return stopper(func() bool {
		if t.Stop() {
			once.Do(se.cancels.Done)
			return true
		}
		return false
	})
}

type stopper func() bool

func (s stopper) Stop() bool { return s() }

// guarded is a Gate whose calls before a statement are cancelled when the client goes away.
type guarded struct {
	protocol.Gate
	held *held
}

func (g *guarded) Judge(_ context.Context, q *protocol.Query) *protocol.Judgement {
	ctx := g.held.enter()
	defer g.held.leave()
	return g.Gate.Judge(ctx, q)
}

func (g *guarded) Begin(_ context.Context, r *protocol.Run) *protocol.Refusal {
	ctx := g.held.enter()
	defer g.held.leave()
	return g.Gate.Begin(ctx, r)
}
