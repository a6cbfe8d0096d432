package session

import (
	"fmt"
	"sync"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// room counts the sessions that go on, in all and by enrolled cgroup.
type room struct {
	mu   sync.Mutex
	all  int
	each map[uint64]int
}

// enter takes the place of one session, or says that there is none.
func (s *Server) enter(c *Conn, a *policy.Agent) *protocol.Refusal {
	r := &s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.all >= a.Sessions:
		return &protocol.Refusal{Code: "53300", Message: "too many sessions through Sluice", Fatal: true,
			Detail: fmt.Sprintf("This host's agent serves %d.", a.Sessions)}
	case r.each[c.CgroupID] >= a.WorkloadSessions:
		return &protocol.Refusal{Code: "53300", Message: "too many sessions of this workload", Fatal: true,
			Detail: fmt.Sprintf("A workload may have %d.", a.WorkloadSessions), Hint: "Close connections that are not used, or use a pool."}
	}
	if r.each == nil {
		r.each = make(map[uint64]int)
	}
	r.all++
	r.each[c.CgroupID]++
	return nil
}

// leave gives back what enter took.
func (s *Server) leave(c *Conn) {
	r := &s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.each[c.CgroupID]--; r.each[c.CgroupID] <= 0 {
		delete(r.each, c.CgroupID)
	}
}
