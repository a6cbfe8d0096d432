package agent

import (
	"maps"
	"sync"
)

// refusals count sessions and statements that the proxy has refused, by enrolled cgroup, for
// as long as that is enrolled.
type refusals struct {
	mu sync.Mutex
	by map[uint64]uint64
}

// maxRefusing bounds of how many cgroups is counted: the proxy names them.
const maxRefusing = 16384

func (r *refusals) add(cgroup, n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by = map[uint64]uint64{}
	}
	if _, known := r.by[cgroup]; known || len(r.by) < maxRefusing {
		r.by[cgroup] += n
	}
}

// with adds what is counted of the cgroups in all, and forgets the others.
func (r *refusals) with(all map[uint64]uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.by, func(id, n uint64) bool {
		_, enrolled := all[id]
		if enrolled {
			all[id] += n
		}
		return !enrolled
	})
}

// activity is what each enrolled cgroup does: connections that are open, and what was refused
// since it was enrolled, by the kernel or the proxy.
func (r *redirector) activity() (open func(cgroup uint64) int, refused map[uint64]uint64) {
	refused, err := r.kernel.Refusals()
	if err != nil {
		refused = map[uint64]uint64{}
	}
	r.refusals.with(refused)
	h := r.hub.Load()
	return func(cgroup uint64) int {
		if h == nil {
			return 0
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.each[cgroup]
	}, refused
}
