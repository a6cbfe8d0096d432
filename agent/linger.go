package agent

import (
	"context"
	"sync"
	"time"
)

// endGrace is how long the sessions that began while the agent lingered may take to end,
// unless another one takes over.
const endGrace = 2 * time.Second

// linger returns a context that outlives ctx until the connections that are open when ctx
// ends are closed, for as long as the configuration says. Others are served meanwhile, so
// that one long session does not keep everybody else from the database.
func (r *redirector) linger(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var waiting sync.WaitGroup
	waiting.Go(func() {
		defer cancel()
		select {
		case <-longer.Done():
			return
		case <-ctx.Done():
		}
		grace := daemonGrace
		if k := r.rules.Load().set.Agent().Kubernetes; k != nil {
			grace = k.Drain
		}
		end := time.NewTimer(grace)
		defer end.Stop()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		var newest uint64
		if h := r.hub.Load(); h != nil {
			newest = h.newest()
			r.log.Info("stopping: what is open may go on", "connections", h.open(newest), "for", grace)
		}
		for {
			h := r.hub.Load()
			if h == nil || h.open(newest) == 0 {
				return
			}
			select {
			case <-longer.Done():
				return
			case <-end.C:
				r.log.Info("connections are ended by the stop", "connections", h.open(newest))
				return
			case <-tick.C:
			}
		}
	})
	return longer, func() { cancel(); waiting.Wait() }
}

// newest is the number of the connection that was given last.
func (h *hub) newest() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next
}

// open counts the connections that are open, up to that number.
func (h *hub) open(newest uint64) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for id := range h.conns {
		if id <= newest {
			n++
		}
	}
	return n
}
