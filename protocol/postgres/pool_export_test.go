package postgres

// PoolSettled reports whether no reset is under way.
func (s *Server) PoolSettled() bool {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	for _, k := range s.pool.all {
		if k.reset != nil {
			return false
		}
	}
	return true
}

// Reset feeds reply to the reset of a session whose server has reported settings, in
// pieces of at most size bytes. first tells that it is the first of the session.
func Reset(first bool, settings map[string]string, reply []byte, size int) (done bool, why Discard) {
	up := &upstream{fd: -1, asked: !first, settings: settings}
	r := newReset(up)
	for len(reply) > 0 && !done && why == notDiscarded {
		n := min(size, len(reply))
		done, why = r.bytes(reply[:n])
		reply = reply[n:]
	}
	return done && len(reply) == 0, why
}
