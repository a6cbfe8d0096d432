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
