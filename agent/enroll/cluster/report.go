package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/policy"
)

// How often a node writes its report: when something changed, but not more often than
// the first, and at least as often as the second, so that silence means something.
const (
	reportLeast = 5 * time.Second
	reportMost  = time.Minute
)

// Report is what the agent of one node tells. Its fields are those of reportSchema.
type Report struct {
	Agent           string    `json:"agent,omitempty"`
	Time            time.Time `json:"time"`
	InForce         int64     `json:"inForce"`
	Digest          string    `json:"digest,omitempty"`
	Refused         int64     `json:"refused"`
	Refusals        []refusal `json:"refusals,omitempty"`
	Pods            int64     `json:"pods"`
	PodsNotEnforced int64     `json:"podsNotEnforced"`
	Concerns        []concern `json:"concerns,omitempty"`
	NotEnforced     []badPod  `json:"notEnforced,omitempty"`
	Sessions        int64     `json:"sessions"`
	Denials         int64     `json:"denials"`
	Workloads       []held    `json:"workloads,omitempty"`
}

// held is an enrolled pod.
type held struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Enforced  bool   `json:"enforced"`
	Listener  bool   `json:"listener"`
	Sessions  int64  `json:"sessions"`
	Denials   int64  `json:"denials"`
}

// still is the report without what changes all the time.
func (r Report) still() Report {
	r.Time, r.Sessions, r.Denials = time.Time{}, 0, 0
	r.Workloads = slices.Clone(r.Workloads)
	for i := range r.Workloads {
		r.Workloads[i].Sessions, r.Workloads[i].Denials = 0, 0
	}
	return r
}

type refusal struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
	Generation int64  `json:"generation"`
	Reason     string `json:"reason"`
	Message    string `json:"message"`
}

type concern struct {
	Kind            string `json:"kind"`
	Name            string `json:"name"`
	Pods            int64  `json:"pods"`
	PodsNotEnforced int64  `json:"podsNotEnforced"`
}

type badPod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Reason    string `json:"reason"`
}

// tell makes the report of this node.
func (s *Source) tell(now time.Time) Report {
	_, good, refused := s.objects.standing()
	r := Report{Agent: s.o.Version, Time: now.UTC().Truncate(time.Second), InForce: int64(len(good)), Digest: digest(good), Refused: int64(len(refused))}
	for k, f := range refused {
		r.Refusals = append(r.Refusals, refusal{k.Kind, k.Name, f.UID, f.Generation, f.Reason, f.Message})
	}
	slices.SortFunc(r.Refusals, func(a, b refusal) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	r.Refusals = r.Refusals[:min(len(r.Refusals), refusalsListed)]
	var pods []enroll.Pod
	if s.o.Pods != nil {
		pods = slices.DeleteFunc(s.o.Pods(), func(p enroll.Pod) bool { return p.Decision == enroll.Exempt })
	}
	for i := range pods {
		r.Pods++
		why := loose(&pods[i])
		r.Sessions += int64(pods[i].Open)
		r.Denials += int64(pods[i].Refused)
		r.Workloads = append(r.Workloads, held{pods[i].Namespace, pods[i].Pod, why == "", pods[i].Listener, int64(pods[i].Open), int64(pods[i].Refused)})
		if why != "" {
			r.PodsNotEnforced++
			r.NotEnforced = append(r.NotEnforced, badPod{pods[i].Namespace, pods[i].Pod, bound(why, 256)})
		}
	}
	slices.SortFunc(r.NotEnforced, func(a, b badPod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	r.NotEnforced = r.NotEnforced[:min(len(r.NotEnforced), podsListed)]
	slices.SortFunc(r.Workloads, func(a, b held) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	r.Workloads = r.Workloads[:min(len(r.Workloads), workloadsListed)]
	if set := s.current.Load(); set != nil {
		r.Concerns = concerns(set, good, pods)
	}
	return r
}

// loose says why a pod is not enforced, "" if it is.
func loose(p *enroll.Pod) string {
	switch {
	case p.Problem != "":
		return p.Problem
	case p.Decision != enroll.Enrolled:
		return "it is not decided yet whether it is enrolled: its connections to databases are refused"
	}
	return p.Unenforced
}

// concerns counts the pods that each object in force is about. Of a pod that has a
// Policy for its token or its process that is not known before it connects.
func concerns(set *policy.Set, good map[Key]*version, pods []enroll.Pod) []concern {
	var all []concern
	for _, v := range sorted(good) {
		c := concern{Kind: v.Kind, Name: v.Name}
		for i := range pods {
			if concerned(set, v.Key, &pods[i].Workload) {
				c.Pods++
				if loose(&pods[i]) != "" {
					c.PodsNotEnforced++
				}
			}
		}
		if c.Pods > 0 {
			all = append(all, c)
		}
	}
	return all[:min(len(all), concernsListed)]
}

func concerned(set *policy.Set, k Key, pod *policy.Workload) bool {
	sub := &policy.Subject{Workload: *pod}
	switch k.Kind {
	case "Workload":
		return pod.Name == k.Name
	case "Database":
		return slices.ContainsFunc(set.Policies(), func(p *policy.Policy) bool { return p.Concerns(sub, k.Name) })
	}
	return slices.ContainsFunc(set.Policies(), func(p *policy.Policy) bool { return p.Name == k.Name && p.Concerns(sub, "") })
}

// report writes this node's report until ctx is done.
func (s *Source) report(ctx context.Context) {
	var last Report
	var written time.Time
	failed := ""
	tick := time.NewTicker(reportLeast)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.told:
			// Not at once: what changes tends to change again.
			if time.Since(written) < reportLeast {
				continue
			}
		}
		now := time.Now()
		next := s.tell(now)
		if reflect.DeepEqual(next.still(), last.still()) && now.Sub(written) < reportMost {
			continue
		}
		next.Time = now.UTC().Truncate(time.Second)
		if err := s.apply(ctx, next); err != nil {
			if text := err.Error(); text != failed && ctx.Err() == nil {
				failed = text
				s.log.Warn("report of this node not written", "error", err)
			}
			continue
		}
		last, written, failed = next, now, ""
	}
}

// apply writes the report by server-side apply. Nobody else writes it.
func (s *Source) apply(ctx context.Context, r Report) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	u, err := untyped(r)
	if err != nil {
		return err
	}
	k := NodeReport()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": Group + "/" + Version, "kind": k.Name, "metadata": map[string]any{"name": s.o.Node}, "report": u}}
	_, err = s.dynamic.Resource(k.Resource()).Apply(ctx, s.o.Node, obj, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		return fmt.Errorf("apply report: %w", err)
	}
	return nil
}

const (
	manager      = "sluice"
	writeTimeout = 10 * time.Second
)

// untyped is what JSON makes of v.
func untyped(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	// Numbers become int64, as the client wants them.
	if err := u.UnmarshalJSON(append([]byte(`{"apiVersion":"v1","kind":"X","v":`), append(data, '}')...)); err != nil {
		return nil, err
	}
	m, _ := u.Object["v"].(map[string]any)
	return m, nil
}

func bound(s string, most int) string {
	if len(s) > most {
		return s[:most-3] + "..."
	}
	return s
}
