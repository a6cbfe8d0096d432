package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// matches reports whether all that the selector says is proven of sub.
func (s *Selector) matches(sub *Subject) bool {
	if s.Any {
		return true
	}
	w := &sub.Workload
	if s.ServiceAccount != "" {
		namespace, name, _ := strings.Cut(s.ServiceAccount, "/")
		if w.Namespace != namespace || w.ServiceAccount == "" || name != "*" && w.ServiceAccount != name {
			return false
		}
	}
	if s.Namespace != "" && w.Namespace != s.Namespace {
		return false
	}
	if s.Workload != "" && w.Name != s.Workload {
		return false
	}
	for k, v := range s.Labels {
		if w.Labels[k] != v {
			return false
		}
	}
	if s.OIDC != nil && !s.OIDC.matches(sub.Token) {
		return false
	}
	return s.Process == nil || s.Process.matches(&sub.Process)
}

func (o *OIDCSelector) matches(t *Token) bool {
	if t == nil || t.Issuer != o.Issuer || o.Subject != "" && t.Subject != o.Subject {
		return false
	}
	if o.Audience != "" && !slices.Contains(t.Audience, o.Audience) {
		return false
	}
	if len(o.Groups) > 0 && !slices.ContainsFunc(t.Groups, func(g string) bool { return slices.Contains(o.Groups, g) }) {
		return false
	}
	for k, v := range o.Claims {
		if got, ok := t.Claims[k].(string); !ok || got != v {
			return false
		}
	}
	return true
}

func (p *ProcessSelector) matches(is *Process) bool {
	// A process that the kernel told nothing of has PID 0, and uid 0 is then no fact.
	if is.PID == 0 {
		return false
	}
	return (p.Exe == "" || is.Exe == p.Exe) &&
		(p.User == "" || is.User == p.User) &&
		(p.UID == nil || is.UID == *p.UID)
}

// Example returns a subject that the selector matches and of which nothing else
// is known, for tests and explanations.
func (s *Selector) Example() *Subject {
	sub := &Subject{}
	sub.Workload.Namespace = s.Namespace
	if namespace, name, found := strings.Cut(s.ServiceAccount, "/"); found {
		if name == "*" {
			name = "example"
		}
		sub.Workload.Namespace, sub.Workload.ServiceAccount = namespace, name
	}
	sub.Workload.Name = s.Workload
	sub.Workload.Labels = maps.Clone(s.Labels)
	if o := s.OIDC; o != nil {
		t := &Token{Issuer: o.Issuer, Subject: o.Subject, Claims: map[string]any{}, Expires: time.Unix(1<<40, 0)}
		if o.Audience != "" {
			t.Audience = []string{o.Audience}
		}
		if len(o.Groups) > 0 {
			t.Groups = o.Groups[:1]
		}
		for k, v := range o.Claims {
			t.Claims[k] = v
		}
		sub.Token = t
	}
	if p := s.Process; p != nil {
		sub.Process = Process{PID: 1, Exe: p.Exe, User: p.User}
		if p.UID != nil {
			sub.Process.UID = *p.UID
		}
	}
	return sub
}

// String names the subjects as a person would.
func (s *Selector) String() string {
	if s.Any {
		return "every workload"
	}
	var parts []string
	add := func(what, value string) {
		if value != "" {
			parts = append(parts, what+" "+value)
		}
	}
	add("service account", s.ServiceAccount)
	add("namespace", s.Namespace)
	add("workload", s.Workload)
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		add("label", k+"="+s.Labels[k])
	}
	if o := s.OIDC; o != nil {
		add("token subject", o.Subject)
		add("token group", strings.Join(o.Groups, " or "))
		add("token audience", o.Audience)
		for _, k := range slices.Sorted(maps.Keys(o.Claims)) {
			add("token claim", k+"="+o.Claims[k])
		}
		add("of", o.Issuer)
	}
	if p := s.Process; p != nil {
		add("process", p.Exe)
		add("user", p.User)
		if p.UID != nil {
			add("uid", fmt.Sprint(*p.UID))
		}
	}
	return strings.Join(parts, ", ")
}
