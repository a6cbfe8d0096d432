package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// aheadLimit bounds what is read of a client while it waits for a call of the Gate.
const aheadLimit = 256 << 10

// patience is how long a call of the Gate may take before somebody looks after
// the client meanwhile.
const patience = 10 * time.Millisecond

// held looks after the client while the Gate is asked: a call that takes long is
// cancelled when the client goes away, or when it says so.
type held struct {
	client *stream
	parent context.Context

	mu       sync.Mutex
	inside   bool
	calls    uint64 // counts enter
	seen     uint64 // calls when the timer last fired
	armed    bool
	watching bool
	ctx      context.Context
	stop     context.CancelCauseFunc

	timer *time.Timer   // fires at most once each patience, since most calls take microseconds
	done  chan struct{} // one token for each watch that has ended
}

func newHeld(parent context.Context, client *stream) *held {
	h := &held{client: client, parent: parent, done: make(chan struct{}, 1)}
	h.timer = time.AfterFunc(time.Hour, h.look)
	h.timer.Stop()
	return h
}

var errCancelled = errors.New("canceled by the client")

// enter begins a call and returns its context. leave has to follow.
func (h *held) enter() context.Context {
	h.mu.Lock()
	if h.ctx == nil || h.ctx.Err() != nil {
		h.ctx, h.stop = context.WithCancelCause(h.parent)
	}
	h.inside = true
	h.calls++
	if !h.armed && h.client != nil {
		h.armed = true
		h.timer.Reset(patience)
	}
	ctx := h.ctx
	h.mu.Unlock()
	return ctx
}

// leave ends a call.
func (h *held) leave() {
	h.mu.Lock()
	h.inside = false
	watching := h.watching
	h.mu.Unlock()
	if watching {
		h.client.conn.SetReadDeadline(time.Unix(1, 0))
		<-h.done
		h.client.conn.SetReadDeadline(time.Time{})
		h.mu.Lock()
		h.watching, h.armed = false, false
		h.mu.Unlock()
	}
}

// alone has nobody look after the client: whoever does calls abandon.
func (h *held) alone() { h.client = nil }

// abandon cancels the call under way because the client is gone.
func (h *held) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.inside {
		h.stop(io.EOF)
	}
}

// cancel cancels the call under way, and reports whether there is one.
func (h *held) cancel() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.inside {
		h.stop(errCancelled)
	}
	return h.inside
}

// close lets go of the last context and the timer.
func (h *held) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer.Stop()
	h.inside = false
	if h.stop != nil {
		h.stop(nil)
	}
}

// look starts to watch if the call that it saw last time is still under way.
func (h *held) look() {
	h.mu.Lock()
	switch {
	case !h.inside:
		h.armed = false
		h.mu.Unlock()
	case h.seen != h.calls:
		h.seen = h.calls
		h.timer.Reset(patience)
		h.mu.Unlock()
	default:
		h.watching = true
		h.mu.Unlock()
		h.watch()
		h.done <- struct{}{}
	}
}

// watch reads ahead of the client until leave, so that its end is noticed.
func (h *held) watch() {
	buf := make([]byte, 4096)
	for len(h.client.ahead) < aheadLimit {
		n, err := h.client.conn.Read(buf)
		h.client.ahead = append(h.client.ahead, buf[:n]...)
		if err == nil {
			continue
		}
		if t := net.Error(nil); errors.As(err, &t) && t.Timeout() {
			return
		}
		h.client.aheadErr = err
		h.mu.Lock()
		h.stop(err)
		h.mu.Unlock()
		return
	}
}
