package sql

import (
	"strings"
	"sync"

	"sluicegate.io/sluice/policy"
)

// pieces remembers what depends on a catalog and a view only: what is masked of each
// relation, for which the definitions of views are analysed, and the sub-selects
// that read relations. It is safe for concurrent use.
type pieces struct {
	mu    sync.RWMutex
	masks map[*Relation][]*masked
	text  map[pieceKey]string // "" if it could not be proven
}

// pieceKey tells the sub-selects of one relation apart.
type pieceKey struct {
	rel  *Relation
	only bool
	sys  string
}

// maxPieces bounds the views that a catalog remembers pieces for.
const maxPieces = 256

// pieceStore holds the pieces of one catalog.
type pieceStore struct {
	mu    sync.Mutex
	views map[*policy.View]*pieces
}

func (s *pieceStore) of(v *policy.View) *pieces {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.views[v]
	if p == nil {
		if len(s.views) >= maxPieces {
			clear(s.views)
		}
		p = &pieces{masks: make(map[*Relation][]*masked), text: make(map[pieceKey]string)}
		s.views[v] = p
	}
	return p
}

func (p *pieces) masksOf(r *Relation) (m []*masked, ok bool) {
	if p == nil {
		return nil, false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	m, ok = p.masks[r]
	return m, ok
}

func (p *pieces) keepMasks(r *Relation, m []*masked) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.masks[r] = m
}

// piece is the sub-select that reads a reference, and whether it is proven to do
// what it is for. One with a key in it is not kept.
func (a *analysis) piece(r *reference, only bool) (text string, proven bool) {
	if r.rows != nil || a.known == nil {
		return a.subselect(r, only, ""), false
	}
	for _, m := range r.masks {
		if m != nil && m.rule.Mask.Kind == hashMask {
			return a.subselect(r, only, ""), false
		}
	}
	k := pieceKey{rel: r.rel, only: only, sys: strings.Join(r.sys, ",")}
	a.known.mu.RLock()
	text, ok := a.known.text[k]
	a.known.mu.RUnlock()
	if !ok {
		text = a.subselect(r, only, "")
		if !prove(text, r.rel, r.masks) {
			text = ""
		}
		a.known.mu.Lock()
		a.known.text[k] = text
		a.known.mu.Unlock()
	}
	if text == "" {
		a.fail("0A000", r.rv.Location, "the masks of %s cannot be put into a query", r.rel.object())
	}
	return text, true
}
