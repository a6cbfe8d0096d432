package session

import (
	"sync"

	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/protocol"
)

// maxDecisions bounds the judgements whose words are remembered.
const maxDecisions = 16384

// decisions remembers what is recorded of each judgement, which is shared by all
// sessions and runs.
type decisions struct {
	mu    sync.RWMutex
	known map[*protocol.Plan][]record.Decision // by the first plan, which templates share
}

func (d *decisions) of(j *protocol.Judgement) []record.Decision {
	if len(j.Plans) == 0 {
		return nil
	}
	d.mu.RLock()
	words := d.known[&j.Plans[0]]
	d.mu.RUnlock()
	if words != nil {
		return words
	}
	words = make([]record.Decision, len(j.Plans))
	for i := range j.Plans {
		p := &j.Plans[i]
		words[i] = record.Decision{Verdict: p.Verdict, Rule: p.Rule, Tag: p.Statement.Tag, Observed: p.Observed}
		if len(p.Statement.Accesses) > 0 {
			words[i].Object = p.Statement.Accesses[0].Object.String()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= maxDecisions {
		d.known = make(map[*protocol.Plan][]record.Decision)
	}
	d.known[&j.Plans[0]] = words
	return words
}
