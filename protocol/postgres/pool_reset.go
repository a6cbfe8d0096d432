package postgres

import (
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a reset sends. RESET ROLE follows where it has to, because DISCARD ALL leaves a
// login without the role that ALTER ROLE ... SET role gives it. A trigger for logins does
// what no reset repeats, so a database that has one is not for pooling. Each session is
// asked once for either.
const (
	discardAll = "DISCARD ALL"
	resetRole  = "RESET ROLE"
	showRole   = "SHOW role"
	askTrigger = "SELECT FROM pg_catalog.pg_event_trigger WHERE evtevent OPERATOR(pg_catalog.=) 'login'"
)

// reset is the cleaning of a session of the server under way.
type reset struct {
	up    *upstream
	asks  bool     // whether there is a trigger
	tags  []string // that are to come, each with its ReadyForQuery
	ready bool     // the next is that
	buf   []byte
}

// resetReply bounds what a server says to a reset.
const resetReply = 16 << 10

func newReset(up *upstream) *reset {
	r := &reset{up: up, asks: !up.asked, tags: resetTags[:1]}
	switch {
	case r.asks:
		r.tags = resetTags
	case up.role:
		r.tags = resetTags[:2]
	}
	return r
}

var (
	resetTags    = []string{discardAll, "RESET", "SHOW", "SELECT 0"}
	resetShort   = resetMessages(discardAll)
	resetToRole  = resetMessages(discardAll, resetRole)
	resetAndAsks = resetMessages(discardAll, resetRole, showRole, askTrigger)
)

func resetMessages(texts ...string) (b []byte) {
	for _, t := range texts {
		b = appendMessage(b, 'Q', t, "\x00", "")
	}
	return b
}

func (r *reset) messages() []byte {
	if r.asks {
		return resetAndAsks
	}
	if r.up.role {
		return resetToRole
	}
	return resetShort
}

// send sends the reset, and is false if that did not go at once.
func (r *reset) send(fd int) bool {
	b := r.messages()
	n, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return err == nil && n == len(b)
}

// readable reads what there is. done tells that the session is clean.
func (r *reset) readable(fd int) (done bool, why Discard) {
	var b [2048]byte
	for {
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false, notDiscarded
		case err != nil || n == 0:
			return false, DiscardLost
		}
		if done, why = r.bytes(b[:n]); done || why != notDiscarded {
			return done, why
		}
		if n < len(b) {
			return false, notDiscarded
		}
	}
}

// overTLS does the whole of it with a connection that waits.
func (r *reset) overTLS(conn net.Conn) Discard {
	conn.SetDeadline(time.Now().Add(resetLimit))
	defer conn.SetDeadline(time.Time{})
	if _, err := conn.Write(r.messages()); err != nil {
		return DiscardReset
	}
	b := make([]byte, 2048)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return DiscardLost
		}
		if done, why := r.bytes(b[:n]); done || why != notDiscarded {
			return why
		}
	}
}

// bytes looks at what the server says to the reset. Anything but what has to come is a
// reason not to use the session again.
func (r *reset) bytes(b []byte) (done bool, why Discard) {
	r.buf = append(r.buf, b...)
	if len(r.buf) > resetReply {
		return false, DiscardReset
	}
	at := 0
	for len(r.tags) > 0 {
		kind, size, ok := frame(r.buf[at:])
		if !ok || size >= header && len(r.buf)-at < size {
			r.buf = append(r.buf[:0], r.buf[at:]...)
			return false, notDiscarded
		}
		if size < header {
			return false, DiscardReset
		}
		if why := r.message(kind, r.buf[at+header:at+size]); why != notDiscarded {
			return false, why
		}
		at += size
	}
	if at != len(r.buf) || r.up.differs() {
		return false, DiscardReset
	}
	r.buf = nil
	r.up.asked = true
	return true, notDiscarded
}

func (r *reset) message(kind byte, body []byte) Discard {
	switch {
	case kind == 'S':
		name, rest, ok := cstring(body)
		value, _, ok2 := cstring(rest)
		if !ok || !ok2 {
			return DiscardReset
		}
		r.up.reported(string(name), string(value))
	case r.ready && kind == 'Z' && string(body) == "I":
		r.ready = false
		r.tags = r.tags[1:]
	case !r.ready && kind == 'C' && strings.TrimSuffix(string(body), "\x00") == r.tags[0]:
		r.ready = true
	case !r.ready && r.asks && len(r.tags) <= 2 && kind == 'T':
	case !r.ready && r.asks && len(r.tags) == 2 && kind == 'D':
		r.up.role = string(body) != "\x00\x01\x00\x00\x00\x04none"
	case !r.ready && r.asks && len(r.tags) == 1 && kind == 'D':
		return DiscardTrigger
	default:
		return DiscardReset
	}
	return notDiscarded
}

// reported notes the value of a setting that the server reports.
func (up *upstream) reported(name, value string) {
	if up.now == nil {
		up.now = make(map[string]string)
	}
	up.now[name] = value
}

// differs reports whether a setting is another one than at the login, as far as the
// server reports it.
func (up *upstream) differs() bool {
	for name, value := range up.now {
		if first, ok := up.settings[name]; !ok || first != value {
			return true
		}
	}
	clear(up.now)
	return false
}
