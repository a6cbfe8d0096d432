package postgres

import (
	"time"

	"golang.org/x/sys/unix"
)

// retire ends a session whose server's stays, where goroutines drive it: the one that
// reads the server has to stop, and nothing may have come meanwhile.
func (se *session) retire() {
	conn := se.server.conn
	conn.SetReadDeadline(time.Unix(1, 0))
	<-se.stopped
	conn.SetReadDeadline(time.Time{})
	se.mu.Lock()
	clean := se.core.ended == nil && len(se.server.pending()) == 0 && len(se.server.ahead) == 0
	se.mu.Unlock()
	if !clean {
		se.srv.Stats.PoolDiscards[DiscardMidway].Add(1)
		se.end(nil, nil)
		return
	}
	se.once.Do(func() {
		se.kept = true
		close(se.done)
		se.client.conn.Close()
	})
}

// detach returns the descriptor of the server's session, which is the caller's then,
// -1 if its bytes are not those on the socket.
func (up *upstream) detach() int {
	fd := up.fd
	if fd < 0 {
		if fd = detach(up.conn); fd >= 0 {
			up.conn.Close()
		}
	}
	up.fd = -1
	return fd
}

// open makes a net.Conn of it.
func (up *upstream) open() (err error) {
	if up.fd < 0 {
		return nil
	}
	fd := up.fd
	up.fd = -1
	up.conn, err = attach(fd) // which has closed it, if that failed
	return err
}

// shut makes a descriptor of it, if that can be.
func (up *upstream) shut() {
	if up.fd < 0 {
		up.fd = up.detach()
	}
}

func (up *upstream) close() {
	if up.fd >= 0 {
		unix.Close(up.fd)
		up.fd = -1
	} else if up.conn != nil {
		up.conn.Close()
	}
}
