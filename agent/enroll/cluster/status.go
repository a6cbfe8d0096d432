package cluster

import (
	"fmt"
	"strings"
	"time"

	"sluicegate.io/sluice/policy"
)

// Status is the status of an object. Its fields are those of statusSchema.
type Status struct {
	ObservedGeneration int64       `json:"observedGeneration"`
	Conditions         []Condition `json:"conditions"`
	Pods               int64       `json:"pods"`
	PodsEnforced       int64       `json:"podsEnforced"`
	PodsNotEnforced    int64       `json:"podsNotEnforced"`
	Nodes              string      `json:"nodes"`
	NotEnforced        []badPod    `json:"notEnforced,omitempty"`
}

// Condition is metav1.Condition, without what we have no use for.
type Condition struct {
	Type               string    `json:"type"`
	Status             string    `json:"status"`
	ObservedGeneration int64     `json:"observedGeneration"`
	LastTransitionTime time.Time `json:"lastTransitionTime"`
	Reason             string    `json:"reason"`
	Message            string    `json:"message"`
}

// silent is how old a report may be and still count. Clocks differ, too.
const silent = 3 * time.Minute

// summary is what all nodes say, in numbers.
type summary struct {
	nodes   int // that report
	agree   int // and have the same in force as we
	reports map[string]Report
	digest  string
}

func summarize(reports map[string]Report, own string, now time.Time) summary {
	s := summary{reports: map[string]Report{}, digest: own}
	for node, r := range reports {
		if age := now.Sub(r.Time); age > silent || age < -silent {
			continue
		}
		s.reports[node] = r
		s.nodes++
		if r.Digest == own {
			s.agree++
		}
	}
	return s
}

// status returns the status of the newest version of an object.
func (s *summary) status(v, good *version, r *Refusal, set *policy.Set, now time.Time) Status {
	out := Status{ObservedGeneration: v.Generation}
	accepted := Condition{Type: Accepted, Status: "True", Reason: Fine, Message: "valid, and in force"}
	have := s.agree
	switch {
	case r != nil && r.UID == v.UID && r.Generation == v.Generation:
		accepted.Status, accepted.Reason, accepted.Message = "False", r.Reason, r.Message
		have = 0
	case !v.same(good):
		accepted.Status, accepted.Reason, accepted.Message = "Unknown", Waiting, "not looked at yet"
		have = 0
	}
	for _, node := range s.reports {
		for _, c := range node.Concerns {
			if c.Kind == v.Kind && c.Name == v.Name {
				out.Pods += c.Pods
				out.PodsNotEnforced += c.PodsNotEnforced
			}
		}
		if v.Kind == "Workload" && len(out.NotEnforced) < podsListed && out.PodsNotEnforced > 0 {
			out.NotEnforced = append(out.NotEnforced, node.NotEnforced...)
		}
	}
	out.NotEnforced = out.NotEnforced[:min(len(out.NotEnforced), podsListed)]
	out.PodsEnforced = out.Pods - out.PodsNotEnforced
	out.Nodes = fmt.Sprintf("%d/%d", have, s.nodes)
	enforced := Condition{Type: Enforced}
	enforced.Status, enforced.Reason, enforced.Message = s.enforced(v, good, accepted, &out, set, now)
	for _, c := range []Condition{accepted, enforced} {
		c.ObservedGeneration, c.Message = v.Generation, clip(c.Message)
		out.Conditions = append(out.Conditions, c)
	}
	return out
}

func (s *summary) enforced(v, good *version, accepted Condition, out *Status, set *policy.Set, now time.Time) (status, reason, message string) {
	if accepted.Status != "True" {
		if good != nil && good.UID == v.UID {
			return "False", "LastGood", fmt.Sprintf("generation %d stays in force", good.Generation)
		}
		return "False", "NotAccepted", "nothing of it is in force"
	}
	for node, r := range s.reports {
		for _, f := range r.Refusals {
			if f.Kind == v.Kind && f.Name == v.Name && f.UID == v.UID && f.Generation == v.Generation {
				return "False", "RefusedOnNode", fmt.Sprintf("node %s: %s", node, f.Message)
			}
		}
	}
	if s.agree < s.nodes || s.nodes == 0 {
		return "Unknown", "Spreading", fmt.Sprintf("%d of %d nodes have it in force", s.agree, s.nodes)
	}
	if why := idle(v, set, now); why != "" {
		reason, message, _ = strings.Cut(why, ": ")
		return "False", reason, message
	}
	if out.PodsNotEnforced > 0 {
		return "False", "PodsNotEnforced", fmt.Sprintf("%d of %d pods could get around the redirection", out.PodsNotEnforced, out.Pods)
	}
	return "True", Fine, "in force on every node"
}

// idle says why an object in force refuses nothing, or gives nothing.
func idle(v *version, set *policy.Set, now time.Time) string {
	if set == nil || len(v.docs) != 1 {
		return ""
	}
	switch d := v.docs[0]; {
	case d.Database != nil && d.Database.Enforce == policy.Observe, d.Policy != nil && d.Policy.Enforce == policy.Observe:
		return "Observing: it decides and records, and refuses nothing"
	case d.Policy != nil && d.Policy.Grant && now.Before(d.Policy.NotBefore):
		return "NotYet: it starts at " + d.Policy.NotBefore.UTC().Format(time.RFC3339)
	case d.Policy != nil && d.Policy.Grant && !now.Before(d.Policy.Expires):
		return "Expired: it ended at " + d.Policy.Expires.UTC().Format(time.RFC3339)
	}
	return ""
}

// since takes the times of transitions over from the status that is there.
func (s *Status) since(old Status, now time.Time) {
	for i := range s.Conditions {
		c := &s.Conditions[i]
		c.LastTransitionTime = now.UTC().Truncate(time.Second)
		for _, o := range old.Conditions {
			if o.Type == c.Type && o.Status == c.Status {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
	}
}

func (s *Status) condition(kind string) Condition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return Condition{}
}
