package metrics_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/identity"
	"sluicegate.io/sluice/agent/metrics"
	"sluicegate.io/sluice/agent/record"
	"sluicegate.io/sluice/agent/tally"
	"sluicegate.io/sluice/protocol"
)

func get(t *testing.T, s metrics.Sources, ready func() []metrics.Condition, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	metrics.Handler(s, ready).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	var traffic tally.Traffic
	traffic.Accepted.Add(3)
	traffic.Sessions.Add(2)
	traffic.Statement(protocol.Select, protocol.Mask)
	traffic.Statement(protocol.Select, protocol.Mask)
	traffic.Statement(protocol.ActionUnknown, protocol.Deny)
	traffic.Denials.Add("shop/no-ddl", 1)
	traffic.Denials.Add("", 2)
	traffic.Masked.Add("ssn", 7)
	traffic.ToWorkload.Add(99)
	traffic.Decision.Observe(30 * time.Microsecond)
	traffic.Decision.Observe(time.Minute)
	s := metrics.Sources{
		Traffic:     func() *tally.Traffic { return &traffic },
		Record:      func() record.Stats { return record.Stats{Events: 5, Lag: 1500 * time.Millisecond, Full: true} },
		Identity:    func() identity.Stats { return identity.Stats{Misbound: 4} },
		Credentials: func() map[string]credential.Stats { return map[string]credential.Stats{"shop": {Proofs: 6}} },
		Kernel: func() metrics.Kernel {
			return metrics.Kernel{Maps: map[string]metrics.Fill{"origins": {10, 100}}, Refusals: map[string]uint64{"unknown cgroup": 2}, Enrolled: 1}
		},
		Catalogs: func() map[string]time.Time { return map[string]time.Time{"shop": time.Now().Add(-time.Hour)} },
		Restarts: func() uint64 { return 1 },
		Policy:   func() metrics.Policy { return metrics.Policy{Loaded: time.Unix(1000, 0), Reloads: 2, Failures: 1} },
		Version:  func() string { return "v0" },
	}
	code, body := get(t, s, nil, "/metrics")
	if code != 200 {
		t.Fatalf("status %d: %s", code, body)
	}
	for _, want := range []string{
		`sluice_build_info{version="v0"} 1`,
		`sluice_connections_total 3`,
		`sluice_sessions 2`,
		`sluice_statements_total{action="select",verdict="mask"} 2`,
		`sluice_statements_total{action="unknown",verdict="deny"} 1`,
		`sluice_denials_total{rule="shop/no-ddl"} 1`,
		`sluice_denials_total{rule=""} 2`,
		`sluice_masked_values_total{tag="ssn"} 7`,
		`sluice_bytes_total{direction="to_workload"} 99`,
		`sluice_decision_seconds_bucket{le="2.5e-05"} 0`,
		`sluice_decision_seconds_bucket{le="5e-05"} 1`,
		`sluice_decision_seconds_bucket{le="10"} 1`,
		`sluice_decision_seconds_bucket{le="+Inf"} 2`,
		`sluice_record_lag_seconds 1.5`,
		`sluice_record_full 1`,
		`sluice_tokens_total{result="misbound"} 4`,
		`sluice_credential_proofs_total{database="shop"} 6`,
		`sluice_bpf_map_entries{map="origins"} 10`,
		`sluice_connects_refused_total{reason="unknown cgroup"} 2`,
		`sluice_proxy_restarts_total 1`,
		`sluice_policy_reloads_total{result="refused"} 1`,
		`go_goroutines`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	wrong, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		if strings.HasPrefix(w.Metric, "sluice_") {
			t.Errorf("%s: %s", w.Metric, w.Text)
		}
	}
	if code, body := get(t, metrics.Sources{}, nil, "/metrics"); code != 200 || !strings.Contains(body, "sluice_build_info") {
		t.Errorf("without sources: %d %s", code, body)
	}
}

func TestReady(t *testing.T) {
	err := errors.New("no room to record")
	ready := func() []metrics.Condition {
		return []metrics.Condition{{"policy", func() error { return nil }}, {"record", func() error { return err }}}
	}
	if code, body := get(t, metrics.Sources{}, ready, "/readyz"); code != 503 || !strings.Contains(body, "[-] record: no room to record\n") ||
		!strings.Contains(body, "[+] policy ok\n") {
		t.Errorf("not ready: %d %s", code, body)
	}
	err = nil
	if code, body := get(t, metrics.Sources{}, ready, "/readyz"); code != 200 || !strings.HasSuffix(body, "ready\n") {
		t.Errorf("ready: %d %s", code, body)
	}
	if code, body := get(t, metrics.Sources{}, nil, "/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %s", code, body)
	}
	if code, _ := get(t, metrics.Sources{}, nil, "/"); code != 404 {
		t.Errorf("/: %d", code)
	}
}

// However many names there are, the number of labels stays bounded.
func TestBound(t *testing.T) {
	traffic := &tally.Traffic{}
	for i := range 10_000 {
		traffic.Errors.Add(fmt.Sprint(i), 1)
	}
	_, body := get(t, metrics.Sources{Traffic: func() *tally.Traffic { return traffic }}, nil, "/metrics")
	if n := strings.Count(body, "sluice_statement_errors_total{"); n > 201 {
		t.Errorf("%d labels", n)
	}
	if !strings.Contains(body, `sluice_statement_errors_total{sqlstate="other"} 98`) {
		t.Error("nothing counted as other")
	}
}
