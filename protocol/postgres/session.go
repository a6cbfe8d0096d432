package postgres

import (
	"context"
	"errors"
)

// Serve serves one connection until either side ends it or ctx is done. It
// closes the connection and whatever it dialled, and has no goroutine left when
// it returns. The error says why the session ended if that was not by the
// client's Terminate; it holds no payload, and the client has been told already.
func (s *Server) Serve(ctx context.Context, a Accepted) error {
	a.Conn.Close()
	return errors.New("serve: not there yet")
}
