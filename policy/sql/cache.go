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
// safe for concurrent use, and a hit allocates nothing. Texts that differ only in
// literals share a template. Refusals for names that the catalog does not know are
// not kept.
type Cache struct {
	opts   Options
	limit  int // bytes a shard
	seed   maphash.Seed
	shards [shards]shard

	hits, templates, misses, evicted atomic.Uint64
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
	user       string
	parse      bool
	view       *policy.View
	catalog    *Catalog
	judgement  *protocol.Judgement
	template   *template // in place of text and judgement
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
	return c.JudgeInto(cat, v, q, nil)
}

// JudgeInto is Judge for a caller that uses one judgement at a time: one that a
// template gives is good until s is used again, and costs no memory.
func (c *Cache) JudgeInto(cat *Catalog, v *policy.View, q *protocol.Query, s *Scratch) (j *protocol.Judgement, stale bool) {
	h := c.hash(v, q)
	if e := c.find(h, cat, v, q, true); e != nil {
		c.hits.Add(1)
		return e.judgement, false
	}
	th := c.templateHash(v, q)
	if e := c.find(th, cat, v, q, false); e != nil {
		if s == nil {
			s = new(Scratch)
		}
		if j, ok := e.template.answer(q.Text, s); ok {
			c.templates.Add(1)
			return j, false
		}
	}
	c.misses.Add(1)
	var holes []hole
	j, stale = judgeHoles(cat, v, q, c.opts, &holes)
	if stale {
		return j, stale
	}
	c.keep(h, cat, v, q, j, nil)
	if len(holes) > 0 && len(holes) <= maxHoles {
		if t := newTemplate(q.Text, holes, j, c.opts.maxLength()); t != nil {
			c.keep(th, cat, v, q, j, t)
		}
	}
	return j, false
}

// maxHoles bounds a template: what has more is not sent twice.
const maxHoles = 1024

// find returns the entry with a hash if it is about the same question.
func (c *Cache) find(h uint64, cat *Catalog, v *policy.View, q *protocol.Query, exact bool) *entry {
	s := &c.shards[h%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[h]
	if e == nil || (e.template == nil) != exact || !e.is(cat, v, q) || exact && e.text != q.Text {
		return nil
	}
	s.toFront(e)
	return e
}

// is reports whether e is about the same session and rights. A hash is not trusted.
func (e *entry) is(cat *Catalog, v *policy.View, q *protocol.Query) bool {
	return e.view == v && e.catalog == cat && e.parse == q.Parse && e.user == q.User &&
		slices.Equal(e.path, q.Path) && slices.Equal(e.params, q.ParamTypes)
}

func (c *Cache) keep(h uint64, cat *Catalog, v *policy.View, q *protocol.Query, j *protocol.Judgement, t *template) {
	s := &c.shards[h%shards]
	e := &entry{hash: h, path: slices.Clone(q.Path), params: slices.Clone(q.ParamTypes),
		user: q.User, parse: q.Parse, view: v, catalog: cat, template: t}
	if t == nil {
		e.text, e.judgement = q.Text, j
		e.size = 512 + len(q.Text) + len(j.Text)
	} else {
		e.size = t.bytes()
	}
	e.size += 256 * len(j.Plans)
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
	Hits, Misses, Evicted uint64 // Hits are of exact texts and of templates
	Templates             uint64 // of these, of templates
	Entries, Bytes        int
}

// Stats returns the numbers for metrics.
func (c *Cache) Stats() CacheStats {
	st := CacheStats{Hits: c.hits.Load() + c.templates.Load(), Templates: c.templates.Load(), Misses: c.misses.Load(), Evicted: c.evicted.Load()}
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
	return c.with(maphash.String(c.seed, q.Text), v, q)
}

func (c *Cache) templateHash(v *policy.View, q *protocol.Query) uint64 {
	return c.with(shape(c.seed, q.Text)+1, v, q)
}

// with adds what else a question depends on to a hash.
func (c *Cache) with(h uint64, v *policy.View, q *protocol.Query) uint64 {
	h ^= uint64(uintptr(unsafe.Pointer(v))) * 0x9e3779b97f4a7c15
	if q.User != "" {
		h = h*31 + maphash.String(c.seed, q.User)
	}
	for _, p := range q.Path {
		h = h*31 + maphash.String(c.seed, p)
	}
	return h
}
