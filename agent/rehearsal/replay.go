package rehearsal

import (
	"cmp"
	"slices"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// A Change is a text that another policy would treat in another way.
type Change struct {
	Subject  string `json:"subject"`
	Database string `json:"database"`
	Text     string `json:"text"`
	Count    int    `json:"count"`
	Was      string `json:"was"` // a verdict, or "observed": it ran, and would have been refused
	WasRule  string `json:"wasRule,omitempty"`
	Would    string `json:"wouldBe"`
	Rule     string `json:"rule,omitempty"`
	Why      string `json:"why,omitempty"` // of a refusal
	// Denies says that it ran and would be refused, or held for a human.
	Denies bool `json:"newlyDenied"`
}

// Replay judges runs by set and tells what changes, what would newly be denied
// first. unjudged counts those of which the recording holds a part only, or whose
// Database set does not have.
func Replay(set *policy.Set, runs []*Run) (changes []Change, unjudged int) {
	byWhat := map[Change]int{}
	for _, r := range runs {
		if r.Cut || set.Database(r.Database) == nil {
			unjudged += r.Count
			continue
		}
		v, _ := set.View(withLabels(set, r.Subject), r.Database, r.Time)
		j := r.judge(v, nil)
		would, rule := Worst(j)
		c := Change{Subject: r.Subject.String(), Database: r.Database, Text: r.Text,
			Was: r.Verdict.String(), WasRule: r.Rule, Would: would.String(), Rule: rule}
		switch {
		case r.Refused:
			c.Was = protocol.Deny.String()
		case r.Observed:
			c.Was = "observed"
		}
		passes := would >= protocol.Mask
		if v.Observe() {
			passes = true
			if would < protocol.Mask {
				c.Would = "observed"
			}
		}
		c.Denies = r.ran() && !passes
		if c.Was == c.Would && !c.Denies {
			continue
		}
		if !c.Denies && r.Failed && !passes {
			continue // the server refused it then, and Sluice would now
		}
		if j.Refusal != nil {
			c.Why = j.Refusal.Message
		}
		if n, ok := byWhat[c]; ok {
			changes[n].Count += r.Count
			continue
		}
		byWhat[c] = len(changes)
		c.Count = r.Count
		changes = append(changes, c)
	}
	slices.SortStableFunc(changes, func(a, b Change) int {
		if a.Denies != b.Denies {
			if a.Denies {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Count, a.Count)
	})
	return changes, unjudged
}
