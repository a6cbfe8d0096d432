package postgres

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// registry knows which session a CancelRequest names. The keys are ours; the
// server's never reach a client.
type registry struct {
	mu       sync.Mutex
	sessions map[uint32][]*session // by process id, which several servers may share
}

// keyVersion is the version whose cancel keys a client gets: long ones only if it
// can read them and would get them from the server too, which has them since 18.
func (h *hello) keyVersion(up *upstream) uint32 {
	if up.major < 18 {
		return version30
	}
	return h.version
}

// add gives s its key: a process id, and as many random bytes as version has.
func (r *registry) add(s *session, pid, version uint32) (key []byte) {
	size := 4
	if version >= version32 {
		size = 32
	}
	key = make([]byte, size)
	rand.Read(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = make(map[uint32][]*session)
	}
	s.pid, s.key = pid, key
	r.sessions[pid] = append(r.sessions[pid], s)
	return key
}

func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.sessions[s.pid]
	for i, other := range list {
		if other == s {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(r.sessions, s.pid)
	} else {
		r.sessions[s.pid] = list
	}
}

// find returns the session of scope that body names, nil if there is none.
func (r *registry) find(scope string, body []byte) *session {
	pid, key := binary.BigEndian.Uint32(body), body[4:]
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *session
	for _, s := range r.sessions[pid] {
		if s.scope == scope && subtle.ConstantTimeCompare(s.key, key) == 1 {
			found = s
		}
	}
	return found
}

// serveCancel serves a connection that sent a CancelRequest. Nothing is answered,
// and the connection is closed once the server has been told.
func (s *Server) serveCancel(ctx context.Context, scope string, body []byte) {
	target := s.keys.find(scope, body)
	switch {
	case target == nil:
		s.Stats.CancelsIgnored.Add(1)
	case target.held.cancel():
		s.Stats.Cancels.Add(1)
	case target.working():
		s.Stats.Cancels.Add(1)
		target.cancelUpstream(ctx)
	default:
		s.Stats.CancelsIgnored.Add(1)
	}
}

// cancelUpstream sends a CancelRequest with the real key, and waits until the
// server has taken it.
func (s *session) cancelUpstream(ctx context.Context) {
	s.mu.Lock()
	late := s.core.retired // the server's session is another client's by now
	s.core.cancelled = true
	s.mu.Unlock()
	if late {
		return
	}
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	conn, err := s.cfg.Dial(ctx)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	out := conn
	if s.cfg.TLS != nil {
		t, err := encryptUpstream(ctx, conn, s.cfg.TLS)
		if err != nil {
			return
		}
		out = t
	}
	msg := binary.BigEndian.AppendUint32(nil, uint32(12+len(s.up.secret)))
	msg = binary.BigEndian.AppendUint32(msg, cancelCode)
	msg = binary.BigEndian.AppendUint32(msg, s.up.pid)
	if _, err := out.Write(append(msg, s.up.secret...)); err != nil {
		return
	}
	var one [1]byte
	io.ReadFull(out, one[:]) // the end tells that it was taken
}

// cancelled lets the client's messages go on when the server has taken a cancel of ours.
// PostgreSQL closes the connection of a CancelRequest when it has signalled the process; one
// that is idle then, or reads its next message, drops it (tcop/postgres.c, ProcessInterrupts).
func (s *session) cancelled() {
	s.mu.Lock()
	s.core.cancelling--
	if s.polled != nil {
		s.polled.resumed.Store(true)
	} else if s.waiting {
		s.waiting = false
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	s.mu.Unlock()
	if s.polled != nil {
		s.polled.post()
	}
}
