package agent

import (
	"slices"
	"sync"
	"time"

	"sluicegate.io/sluice/agent/channel"
)

// closedSoon is how long the redirector is not told that a connection is over, in case
// there are more to tell of.
const closedSoon = 5 * time.Millisecond

// over are connections that the redirector is to be told of.
type over struct {
	mu  sync.Mutex
	ids []uint64
}

// closed tells the redirector, soon, that a connection is over.
func (p *proxy) closed(id uint64) {
	p.over.mu.Lock()
	p.over.ids = append(p.over.ids, id)
	n := len(p.over.ids)
	p.over.mu.Unlock()
	switch n {
	case 1:
		time.AfterFunc(closedSoon, p.tellClosed)
	case channel.ManyClosed:
		p.tellClosed()
	}
}

func (p *proxy) tellClosed() {
	p.over.mu.Lock()
	ids := p.over.ids
	p.over.ids = nil
	p.over.mu.Unlock()
	for part := range slices.Chunk(ids, channel.ManyClosed) {
		if err := p.conn.Send(&channel.Closed{Conns: part}); err != nil && p.ctx.Err() == nil {
			p.log.Debug("redirector not told", "error", err)
		}
	}
}

// tellDenied tells what was refused since the last time.
func (p *proxy) tellDenied() {
	if p.server == nil {
		return
	}
	var m channel.Denied
	send := func() {
		if err := p.conn.Send(&m); err != nil && p.ctx.Err() == nil {
			p.log.Debug("redirector not told", "error", err)
		}
		m = channel.Denied{}
	}
	for cgroup, n := range p.server.Denied() {
		m.Cgroups, m.Counts = append(m.Cgroups, cgroup), append(m.Counts, n)
		if len(m.Cgroups) == channel.ManyDenied {
			send()
		}
	}
	if len(m.Cgroups) > 0 {
		send()
	}
}
