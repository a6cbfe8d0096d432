package session

import "sync"

// denied counts what was refused, by the enrolled cgroup. What is counted is taken every
// few seconds.
type denied struct {
	mu sync.Mutex
	by map[uint64]uint32
}

func (d *denied) add(cgroup uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = map[uint64]uint32{}
	}
	d.by[cgroup]++
}

// Denied returns how many sessions and statements were refused since it was last called, by
// the id of the enrolled cgroup.
func (s *Server) Denied() map[uint64]uint32 {
	s.denied.mu.Lock()
	defer s.denied.mu.Unlock()
	by := s.denied.by
	s.denied.by = nil
	return by
}
