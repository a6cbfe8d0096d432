package session

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// Relay passes the bytes of a connection whose destination is no Database, where
// kind Agent says `unmatched: pass`. Nothing is judged, nothing is recorded.
func (s *Server) Relay(ctx context.Context, c Conn) {
	defer c.Net.Close()
	dialling, cancel := context.WithTimeout(ctx, 30*time.Second)
	upstream, err := s.o.Redirector.Dial(dialling, c.ID)
	cancel()
	if err != nil {
		s.o.Log.Info("destination of a passed connection not reachable", "destination", c.to(), "error", err)
		return
	}
	defer upstream.Close()
	stop := context.AfterFunc(ctx, func() { c.Net.Close(); upstream.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pipe(upstream, c.Net) })
	both.Go(func() { pipe(c.Net, upstream) })
	both.Wait()
}

// pipe copies until from ends, and tells to.
func pipe(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	if t, ok := to.(interface{ CloseWrite() error }); ok {
		t.CloseWrite()
	}
}
