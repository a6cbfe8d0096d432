package policy

import (
	"fmt"
	"slices"
	"time"
)

// Enrolment is kind Workload: it enrolls what no label does. Exactly one of Cgroup,
// SystemdUnit and Pods is set.
type Enrolment struct {
	Name           string
	Pos            Position
	Cgroup         string // path below the cgroup2 mount
	SystemdUnit    string
	Pods           *PodSelector
	TokenFile      string // a JWT that proves who the workload is
	Labels         map[string]string
	Namespace      string
	ServiceAccount string
}

// PodSelector picks pods of a cluster. What is set must all be true of a pod.
type PodSelector struct {
	Namespaces      []string // any of
	Labels          map[string]string
	ServiceAccounts []string // any of namespace/name, or namespace/*
}

// Matches reports whether a pod is one of those.
func (p *PodSelector) Matches(w *Workload) bool {
	if len(p.Namespaces) > 0 && !slices.Contains(p.Namespaces, w.Namespace) {
		return false
	}
	for k, v := range p.Labels {
		if w.Labels[k] != v {
			return false
		}
	}
	return len(p.ServiceAccounts) == 0 || w.ServiceAccount != "" &&
		(slices.Contains(p.ServiceAccounts, w.Namespace+"/"+w.ServiceAccount) || slices.Contains(p.ServiceAccounts, w.Namespace+"/*"))
}

// SyncMode says when a record counts as written.
type SyncMode uint8

const (
	SyncAlways   SyncMode = iota // on disk
	SyncInterval                 // in the page cache, on disk a moment later; the default
)

// Agent is the daemon's own settings. Every field has a default.
type Agent struct {
	Name    string
	Pos     Position
	User    string // account of the proxy process, default "sluice"
	State   string // directory, default /var/lib/sluice
	Run     string // directory of sockets, default /run/sluice
	BPF     string // bpffs directory of the pins, default /sys/fs/bpf/sluice
	Cgroup  string // parent of what is enrolled, default the root
	Metrics string // listen address, "" for none
	Admin   Admin
	Record  Record
	Issuers []Issuer
	// PassUnmatched lets connections pass that go to an endpoint's port, but to no
	// Database. The default refuses them.
	PassUnmatched bool
	Sessions      int // at most; default 10,000
	// WorkloadSessions bounds those of one enrolled cgroup, so that none starves the
	// others; default 2,000.
	WorkloadSessions int
	Kubernetes       *Kubernetes // nil: this agent knows no cluster
	Log              Log
}

// Admin is the socket that `sluice status` and its kind speak to.
type Admin struct {
	Socket string   // path, default Run/admin.sock
	Users  []string // who beside root may connect
	Groups []string
}

// Record is how sessions are recorded.
type Record struct {
	Directory string // default State/sessions
	Sync      SyncMode
	Interval  time.Duration // of SyncInterval; default 100ms
	Rows      int64         // masked rows kept of one statement
	Bytes     int64         // bytes of them
	Retain    time.Duration // 0: for ever
	MaxBytes  int64         // of all sessions, 0: no bound
}

// Issuer is an OIDC issuer whose tokens are believed.
type Issuer struct {
	Issuer   string
	Audience string
	CAFile   string
	// Claims are required: each must be there and equal the value, or hold it if it
	// is a list.
	Claims map[string]string
	Groups string // claim that lists the groups, default: groups
}

// Believes reports whether a token that was verified before is still one that the
// Agent's issuers say. It does not look at its time.
func (s *Set) Believes(t *Token) bool {
	return slices.ContainsFunc(s.agent.Issuers, func(i Issuer) bool {
		if i.Issuer != t.Issuer || !slices.Contains(t.Audience, i.Audience) {
			return false
		}
		for name, want := range i.Claims {
			if !ClaimIs(t.Claims[name], want) {
				return false
			}
		}
		return true
	})
}

// ClaimIs reports whether a claim is want, or a list that has it.
func ClaimIs(claim any, want string) bool {
	switch c := claim.(type) {
	case string:
		return c == want
	case bool, float64:
		return fmt.Sprint(c) == want
	case []any:
		return slices.ContainsFunc(c, func(e any) bool { s, ok := e.(string); return ok && s == want })
	}
	return false
}

// Log is how the daemon logs.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // text, json
}
