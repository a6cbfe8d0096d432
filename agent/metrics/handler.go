package metrics

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Condition is something that must hold for the agent to be ready. Check returns
// why it does not. It must not block.
type Condition struct {
	Name  string // such as "redirect", "record", "policy", "catalog/shop"
	Check func() error
}

const (
	scrapes       = 3
	scrapeTimeout = 10 * time.Second
)

// Handler serves /metrics, /healthz (the process answers) and /readyz (every
// condition holds; else 503, and a line for each that says why not). ready is
// called for each request, and may be nil.
func Handler(s Sources, ready func() []Condition) http.Handler {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewCollector(s), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes, Timeout: scrapeTimeout}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		plain(w)
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		plain(w)
		var conditions []Condition
		if ready != nil {
			conditions = ready()
		}
		serveReady(w, conditions)
	})
	return mux
}

func plain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
}

func serveReady(w http.ResponseWriter, conditions []Condition) {
	lines := make([]string, 0, len(conditions))
	status := http.StatusOK
	for _, c := range conditions {
		line := "[+] " + c.Name + " ok"
		if err := c.Check(); err != nil {
			line = "[-] " + c.Name + ": " + err.Error()
			status = http.StatusServiceUnavailable
		}
		lines = append(lines, line)
	}
	w.WriteHeader(status)
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
	if status == http.StatusOK {
		fmt.Fprintln(w, "ready")
	} else {
		fmt.Fprintln(w, "not ready")
	}
}
