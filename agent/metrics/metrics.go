// Package metrics shows what the agent counts: a Prometheus collector that reads
// the counters of others when it is asked, and the HTTP handler for /metrics,
// /healthz and /readyz.
//
// It counts nothing itself, and owns no listener: the redirector opens that. No
// label ever holds a subject, a text, or anything else that a workload chooses.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/protocol"
)

// Sources are what a Collector reads. A nil field is left out of the metrics. All
// are called once a scrape, and must not block on the network.
type Sources struct {
	Traffic     func() *tally.Traffic
	Record      func() record.Stats
	Identity    func() identity.Stats
	Credentials func() map[string]credential.Stats // by Database
	Kernel      func() Kernel
	Catalogs    func() map[string]time.Time // when each Database's catalog was loaded
	Restarts    func() uint64               // of the proxy
	Policy      func() Policy
	Version     func() string // of the agent
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
	Loaded   time.Time // when the set in force was
	Reloads  uint64
	Failures uint64 // sets that were refused
}

// Collector is a prometheus.Collector over Sources.
type Collector struct{ s Sources }

// NewCollector returns a Collector that reads s.
func NewCollector(s Sources) *Collector { return &Collector{s} }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	e := emitter{out}
	version := ""
	if c.s.Version != nil {
		version = c.s.Version()
	}
	e.gauge(build, 1, version)
	if c.s.Traffic != nil {
		e.traffic(c.s.Traffic())
	}
	if c.s.Record != nil {
		e.record(c.s.Record())
	}
	if c.s.Identity != nil {
		e.identity(c.s.Identity())
	}
	if c.s.Credentials != nil {
		e.credentials(c.s.Credentials())
	}
	if c.s.Kernel != nil {
		e.kernel(c.s.Kernel())
	}
	if c.s.Catalogs != nil {
		for db, loaded := range c.s.Catalogs() {
			e.gauge(catalogAge, time.Since(loaded).Seconds(), db)
		}
	}
	if c.s.Restarts != nil {
		e.count(restarts, c.s.Restarts())
	}
	if c.s.Policy != nil {
		p := c.s.Policy()
		e.gauge(policyLoaded, float64(p.Loaded.UnixNano())/1e9)
		e.count(policyReloads, p.Reloads, "accepted")
		e.count(policyReloads, p.Failures, "refused")
	}
}

// emitter sends metrics to a scrape.
type emitter struct{ out chan<- prometheus.Metric }

func (e emitter) count(d *prometheus.Desc, n uint64, labels ...string) {
	e.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) names(d *prometheus.Desc, n *tally.Names) {
	for name, count := range n.Snapshot() {
		e.count(d, count, name)
	}
}

func (e emitter) durations(d *prometheus.Desc, h *tally.Histogram) {
	s := h.Snapshot()
	buckets := make(map[float64]uint64, len(s.Counts))
	var total uint64
	for i, bound := range tally.Bounds() {
		total += s.Counts[i]
		buckets[bound.Seconds()] = total
	}
	total += s.Counts[len(s.Counts)-1]
	e.out <- prometheus.MustNewConstHistogram(d, total, s.Sum.Seconds(), buckets)
}

func (e emitter) traffic(t *tally.Traffic) {
	e.count(connections, t.Accepted.Load())
	e.names(rejected, &t.Rejected)
	e.gauge(sessions, float64(t.Sessions.Load()))
	e.names(sessionsEnded, &t.Ended)
	t.Statements(func(a protocol.Action, v protocol.Verdict, n uint64) {
		e.count(statements, n, a.String(), v.String())
	})
	e.names(denials, &t.Denials)
	e.names(observed, &t.Observed)
	e.names(errors, &t.Errors)
	e.names(masked, &t.Masked)
	e.count(foreign, t.Foreign.Load())
	e.gauge(held, float64(t.Held.Load()))
	e.count(bytes, t.FromWorkload.Load(), "from_workload")
	e.count(bytes, t.ToWorkload.Load(), "to_workload")
	e.count(bytes, t.FromServer.Load(), "from_server")
	e.count(bytes, t.ToServer.Load(), "to_server")
	e.durations(decision, &t.Decision)
	e.durations(added, &t.Added)
	e.count(judgements, t.JudgementHits.Load(), "hit")
	e.count(judgements, t.JudgementMisses.Load(), "miss")
	e.count(limited, t.Limited.Load())
	e.count(violations, t.Violations.Load())
	e.count(cancels, t.Cancels.Load())
	e.gauge(poolIdle, float64(t.PoolIdle.Load()))
	e.count(poolTaken, t.PoolHits.Load(), "hit")
	e.count(poolTaken, t.PoolMisses.Load(), "miss")
	e.names(poolDiscards, &t.PoolDiscards)
	e.names(unanswered, &t.Unanswered)
	e.count(catalogLoads, t.CatalogLoads.Load(), "ok")
	e.count(catalogLoads, t.CatalogErrors.Load(), "error")
}

func (e emitter) record(s record.Stats) {
	e.count(recordEvents, s.Events)
	e.count(recordBytes, s.Bytes)
	e.count(recordRefused, s.Refused)
	e.count(recordSyncs, s.Syncs)
	e.gauge(recordLag, s.Lag.Seconds())
	e.gauge(recordSize, float64(s.Size))
	e.gauge(recordSegments, float64(s.Segments))
	e.gauge(recordFull, flag(s.Full))
	e.gauge(recordFailed, flag(s.Failed))
}

func (e emitter) identity(s identity.Stats) {
	e.count(tokens, s.Verified, "verified")
	e.count(tokens, s.Refused, "refused")
	e.count(tokens, s.Expired, "expired")
	e.count(tokens, s.Misbound, "misbound")
	e.count(issuerFetches, s.KeyFetches)
	e.count(issuerErrors, s.IssuerErrors)
}

func (e emitter) credentials(all map[string]credential.Stats) {
	for db, s := range all {
		e.count(proofs, s.Proofs, db)
		e.count(credentialErrors, s.Errors, db)
		e.count(derivations, s.CacheMisses, db)
	}
}

func (e emitter) kernel(k Kernel) {
	for name, fill := range k.Maps {
		e.gauge(mapUsed, float64(fill.Used), name)
		e.gauge(mapMax, float64(fill.Max), name)
	}
	for reason, n := range k.Refusals {
		e.count(connects, n, reason)
	}
	e.gauge(enrolled, float64(k.Enrolled))
	e.gauge(problems, float64(k.Problems))
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
