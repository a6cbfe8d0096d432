// Package tally has the counters that packages of the agent keep about
// themselves: cheap enough for every statement, bounded in memory, and read by
// package agent/metrics, which is the only one that knows Prometheus.
//
// It publishes nothing, and has no registry: who counts owns the counter.
package tally

import (
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Histogram counts durations in fixed buckets. The zero value is ready.
type Histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

// bounds are the upper bounds of the buckets, the last one being infinite: 2 for
// each octave would be too many for Prometheus, so 1, 2.5, 5 a decade.
var bounds = [...]time.Duration{
	1 * time.Microsecond, 2500, 5 * time.Microsecond,
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Bounds returns the upper bounds of the buckets but the last, which has none.
func Bounds() []time.Duration { return bounds[:] }

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	i := sort.Search(len(bounds), func(i int) bool { return d <= bounds[i] })
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Durations is a snapshot of a Histogram: how many fell into each bucket of
// Bounds and beyond, not cumulative, and their sum.
type Durations struct {
	Counts []uint64
	Sum    time.Duration
}

// Snapshot returns what was counted. It is not atomic as a whole.
func (h *Histogram) Snapshot() Durations {
	d := Durations{Counts: make([]uint64, len(h.buckets)), Sum: time.Duration(h.sum.Load())}
	for i := range h.buckets {
		d.Counts[i] = h.buckets[i].Load()
	}
	return d
}

// Other is the name under which a Names counts what came after it was full.
const Other = "other"

// Names counts by name, for labels whose values a configuration bounds loosely or
// not at all. The zero value keeps 200 names.
type Names struct {
	Max int // names kept; what comes later is counted under Other. Default: 200

	mu     sync.RWMutex
	counts map[string]*atomic.Uint64
}

// Add adds n to name.
func (c *Names) Add(name string, n uint64) {
	c.mu.RLock()
	p := c.counts[name]
	c.mu.RUnlock()
	if p == nil {
		p = c.slow(name)
	}
	p.Add(n)
}

// Set makes n what was counted for name, where another counts.
func (c *Names) Set(name string, n uint64) {
	c.mu.RLock()
	p := c.counts[name]
	c.mu.RUnlock()
	if p == nil {
		p = c.slow(name)
	}
	p.Store(n)
}

func (c *Names) slow(name string) *atomic.Uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.counts[name]; p != nil {
		return p
	}
	most := c.Max
	if most == 0 {
		most = 200
	}
	if c.counts == nil {
		c.counts = map[string]*atomic.Uint64{Other: {}}
	}
	if len(c.counts) > most || name == Other {
		return c.counts[Other]
	}
	p := new(atomic.Uint64)
	c.counts[strings.Clone(name)] = p // it may be part of a large buffer
	return p
}

// Snapshot returns the counts by name. Other is in it if anything was counted there.
func (c *Names) Snapshot() map[string]uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make(map[string]uint64, len(c.counts))
	for name, p := range c.counts {
		if n := p.Load(); n > 0 {
			all[name] = n
		}
	}
	return all
}
