package session

import (
	"strings"
	"sync"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/protocol"
)

// scanners are those of a configuration, by the detectors that they have: there
// are as many as there are different sets of reveals.
type scanners struct {
	mu    sync.Mutex
	known map[string]*mask.Scanner
}

// of returns the scanner of a view, nil if it looks for nothing.
func (s *scanners) of(v *policy.View) (*mask.Scanner, error) {
	names := v.Detect()
	if len(names) == 0 {
		return nil, nil
	}
	key := strings.Join(names, ",")
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[key]; known != nil {
		return known, nil
	}
	fresh, err := mask.NewScanner(names)
	if err != nil {
		return nil, err
	}
	if s.known == nil {
		s.known = make(map[string]*mask.Scanner)
	}
	s.known[key] = fresh
	return fresh, nil
}

// Value implements [protocol.Scanner]: it replaces what the detectors of the view
// find in one value, and counts it.
func (g *Gate) Value(r *protocol.Run, _, _ int, value []byte) ([]byte, bool) {
	x, ok := r.State.(*run)
	if !ok || x.scanner == nil {
		return value, false
	}
	out, hits := x.scanner.Value(value)
	if !hits.Any() {
		return value, false
	}
	for d, n := range hits {
		if n > 0 {
			g.s.o.Traffic.Masked.Add(mask.Detector(d).String(), uint64(n))
			x.found += int64(n)
		}
	}
	return out, true
}

// unseen refuses what would return values that the detectors don't see.
func (g *Gate) unseen(j *protocol.Judgement) *protocol.Refusal {
	if g.scanner == nil || j.Refusal != nil {
		return nil
	}
	for i := range j.Plans {
		p := &j.Plans[i]
		if p.Effect.Kind == protocol.CopiesOut && !p.Observed && !p.Free && (p.Copy == nil || p.Copy.Binary) {
			return &protocol.Refusal{Code: "42501", Rule: "database:" + g.conn.Database + "/detect",
				Message: "COPY TO STDOUT in binary format is not available here, since content detectors don't look into it",
				Hint:    "Use the text or csv format."}
		}
	}
	return nil
}
