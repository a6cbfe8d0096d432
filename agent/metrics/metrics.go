// Package metrics shows what the agent counts: a Prometheus collector that reads
// the counters of others when it is asked, and the HTTP handler for /metrics,
// /healthz and /readyz.
//
// It counts nothing itself, and owns no listener: the redirector opens that. No
// label ever holds a subject, a text, or anything else that a workload chooses.
package metrics

import (
	"net/http"
	"time"

	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/tally"
)

// Sources are what a Collector reads. A nil field is left out of the metrics. All
// are called once a scrape, and must not block on the network.
type Sources struct {
	Traffic     *tally.Traffic
	Record      func() record.Stats
	Identity    func() identity.Stats
	Credentials func() map[string]credential.Stats // by Database
	Kernel      func() Kernel
	Catalogs    func() map[string]time.Time // when each Database's catalog was loaded
	Restarts    func() uint64               // of the proxy
	Policy      func() Policy
	Version     string
}

// Kernel is what the redirector says of its programs and maps.
type Kernel struct {
	Maps     map[string]Fill   // by name
	Refusals map[string]uint64 // connections refused, by reason
	Enrolled int               // cgroups
	Problems int               // of redirect's Health
}

// Fill is how full a BPF map is.
type Fill struct{ Used, Max uint64 }

// Policy is what the agent says of its configuration.
type Policy struct {
	Loaded   time.Time // of the set in force
	Reloads  uint64
	Failures uint64 // sets that were refused
}

// A Condition is something that must hold for the agent to be ready. Check returns
// why it does not. It must not block.
type Condition struct {
	Name  string // such as "redirect", "record", "policy", "catalog/shop"
	Check func() error
}

// Handler serves /metrics, /healthz (the process answers) and /readyz (every
// condition holds; else 503 and the names of those that do not).
func Handler(s Sources, ready func() []Condition) http.Handler { return http.NotFoundHandler() }
