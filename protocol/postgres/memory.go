package postgres

import (
	"math"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"
	"sluicegate.io/sluice/protocol"
)

const (
	// freely is what a session keeps without asking, in bytes.
	freely = 32 << 10
	// portion is how much more a session asks for than it needs, so that it asks seldom.
	portion = 128 << 10
	// smallText is what is never refused for want of memory: with less than that, what is
	// kept can be given up.
	smallText = 4 << 10
)

// memory bounds what sessions keep for as long as their clients like: names, and messages
// and rows that are read as a whole. One workload gets half of it at most.
type memory struct {
	total int64

	mu  sync.Mutex
	all int64
	by  map[string]int64 // by scope
}

// memoryFor is the total where nothing is said: half of what the process may have, else a
// quarter of the machine's.
func memoryFor() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit / 2
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 1 << 30
	}
	return int64(info.Totalram) * int64(info.Unit) / 4
}

func (m *memory) take(scope string, n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all+n > m.total || m.by[scope]+n > m.total/2 {
		return false
	}
	if m.by == nil {
		m.by = map[string]int64{}
	}
	m.all += n
	m.by[scope] += n
	return true
}

func (m *memory) give(scope string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all -= n
	if m.by[scope] -= n; m.by[scope] <= 0 {
		delete(m.by, scope)
	}
}

// allowance is what one session may keep. The zero value has no bound.
type allowance struct {
	from  *memory
	scope string
	most  int64 // bytes, beyond freely
}

// covers reports whether n bytes may be kept, and takes what is missing.
func (a *allowance) covers(n int64) bool {
	missing := n - freely - a.most
	if a.from == nil || missing <= 0 {
		return true
	}
	for _, more := range [...]int64{max(missing, portion), missing} {
		if a.from.take(a.scope, more) {
			a.most += more
			return true
		}
	}
	return false
}

// ease gives back what is far more than is kept.
func (a *allowance) ease(kept int64) {
	spare := a.most - max(kept-freely, 0)
	if a.most == 0 || spare < 2*portion && kept > freely {
		return
	}
	if kept > freely {
		spare -= portion
	}
	a.from.give(a.scope, spare)
	a.most -= spare
}

// kept is what the session keeps, in bytes: what has a name, what is awaited, and what is
// being read as a whole.
func (c *core) kept() int64 {
	return c.names.bytes + c.queue.bytes + int64(c.want) + int64(c.wantBack)
}

// room says if there is room for n more bytes. If not it waits for what is under way, while
// there is any.
func (c *core) room(n int) (s step, ok bool) {
	if c.memory.covers(c.kept() + int64(n)) {
		return stepMore, true
	}
	if c.queue.len > 0 {
		return c.wait(), false
	}
	return stepMore, false
}

// roomForNames is room for what the statements of j give names to.
func (c *core) roomForNames(j *protocol.Judgement) (s step, ok bool) {
	n := 0
	for i := range j.Plans {
		switch e := &j.Plans[i].Effect; e.Kind {
		case protocol.Prepares, protocol.Declares:
			n += 2*len(e.Text) + statementCost
		}
	}
	if n == 0 {
		return stepMore, true
	}
	return c.room(n)
}

var cramped = &protocol.Refusal{Code: "53200", Message: "Sluice has no room for what this session keeps",
	Detail: "Prepared statements, portals and long messages of one workload share a part of its memory.",
	Hint:   "Close prepared statements that are no longer used, and send large values in several statements or with COPY."}

var crampedEnd = &protocol.Refusal{Code: "53200", Message: "Sluice has no room for what the database sends", Fatal: true,
	Detail: cramped.Detail, Hint: "Ask for smaller values, for example with substring()."}

// What a name costs beside its text, in bytes: its judgement, mostly.
const (
	statementCost = 2 << 10
	portalCost    = 512
)

func (st *statement) cost() int64 { return int64(2*len(st.text) + len(st.shape) + statementCost) }
func (po *portal) cost() int64    { return int64(len(po.bind) + portalCost) }
