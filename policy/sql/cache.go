package sql

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// shards keeps sessions from waiting for each other; a power of two.
const shards = 16

// Cache holds judgements by exact text, path, view and catalog. It is bounded,
// safe for concurrent use, and a hit allocates nothing. Refusals for names that
// the catalog does not know are not kept.
type Cache struct {
	opts   Options
	limit  int // bytes a shard
	seed   maphash.Seed
	shards [shards]shard

	hits, misses, evicted atomic.Uint64
}

type shard struct {
	mu      sync.Mutex
	entries map[uint64]*entry
	// The ring of entries in order of last use.
	root entry
	size int
}

type entry struct {
	hash       uint64
	text       string
	path       []string
	params     []uint32
	parse      bool
	view       *policy.View
	catalog    *Catalog
	judgement  *protocol.Judgement
	size       int
	prev, next *entry
}

// NewCache returns a Cache of at most about limit bytes (default: 64 MiB) that
// judges with o what it does not hold.
func NewCache(limit int, o Options) *Cache {
	if limit <= 0 {
		limit = 64 << 20
	}
	c := &Cache{opts: o, limit: limit / shards, seed: maphash.MakeSeed()}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries = make(map[uint64]*entry)
		s.root.prev, s.root.next = &s.root, &s.root
	}
	return c
}

// Judge is [Judge] from memory.
func (c *Cache) Judge(cat *Catalog, v *policy.View, q *protocol.Query) (j *protocol.Judgement, stale bool) {
	h := c.hash(v, q)
	s := &c.shards[h%shards]
	s.mu.Lock()
	if e := s.entries[h]; e != nil && e.is(cat, v, q) {
		s.toFront(e)
		s.mu.Unlock()
		c.hits.Add(1)
		return e.judgement, false
	}
	s.mu.Unlock()
	c.misses.Add(1)
	j, stale = Judge(cat, v, q, c.opts)
	if !stale {
		c.keep(s, h, cat, v, q, j)
	}
	return j, stale
}

// is reports whether e answers the question. A hash is not trusted.
func (e *entry) is(cat *Catalog, v *policy.View, q *protocol.Query) bool {
	return e.view == v && e.catalog == cat && e.parse == q.Parse && e.text == q.Text &&
		slices.Equal(e.path, q.Path) && slices.Equal(e.params, q.ParamTypes)
}

func (c *Cache) keep(s *shard, h uint64, cat *Catalog, v *policy.View, q *protocol.Query, j *protocol.Judgement) {
	e := &entry{hash: h, text: q.Text, path: slices.Clone(q.Path), params: slices.Clone(q.ParamTypes),
		parse: q.Parse, view: v, catalog: cat, judgement: j}
	e.size = 512 + len(q.Text) + len(j.Text) + 256*len(j.Plans)
	for i := range j.Plans {
		e.size += 96 * len(j.Plans[i].Columns)
	}
	if e.size > c.limit/8 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.entries[h]; old != nil {
		s.remove(old)
	}
	for s.size+e.size > c.limit {
		s.remove(s.root.prev)
		c.evicted.Add(1)
	}
	s.entries[h] = e
	s.size += e.size
	e.link(&s.root)
}

func (s *shard) remove(e *entry) {
	delete(s.entries, e.hash)
	s.size -= e.size
	e.prev.next, e.next.prev = e.next, e.prev
}

func (s *shard) toFront(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.link(&s.root)
}

func (e *entry) link(after *entry) {
	e.prev, e.next = after, after.next
	e.prev.next, e.next.prev = e, e
}

// CacheStats are counters since the start, and what is held now.
type CacheStats struct {
	Hits, Misses, Evicted uint64
	Entries, Bytes        int
}

// Stats returns the numbers for metrics.
func (c *Cache) Stats() CacheStats {
	st := CacheStats{Hits: c.hits.Load(), Misses: c.misses.Load(), Evicted: c.evicted.Load()}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st.Entries += len(s.entries)
		st.Bytes += s.size
		s.mu.Unlock()
	}
	return st
}

func (c *Cache) hash(v *policy.View, q *protocol.Query) uint64 {
	h := maphash.String(c.seed, q.Text) ^ uint64(uintptr(unsafe.Pointer(v)))*0x9e3779b97f4a7c15
	for _, p := range q.Path {
		h = h*31 + maphash.String(c.seed, p)
	}
	return h
}
