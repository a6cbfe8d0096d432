package redirect_test

import (
	"slices"
	"testing"
)

// BenchmarkConnect measures socket(2) and connect(2) of workers, alternating in one run, and reports
// nanoseconds (the median of 12 rounds) and ratios.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	in := w.worker(processOptions{})
	out := w.worker(processOptions{cgroup: w.outside})
	serveDB(b, w.wl, "127.0.0.1:8081")
	rounds := map[string][]int{}
	cases := []struct {
		name, to string
		p        *process
	}{
		{"unenrolled", "127.0.0.1:8081", out},
		{"unmatched", "127.0.0.1:8081", in},
		{"matched", db4, in},
	}
	for b.Loop() {
		for range 12 {
			for _, c := range cases {
				rounds[c.name] = append(rounds[c.name], atoi(c.p.do("time", "200", c.to)))
			}
		}
	}
	ns := map[string]float64{}
	for _, c := range cases {
		slices.Sort(rounds[c.name])
		ns[c.name] = float64(rounds[c.name][len(rounds[c.name])/2])
		b.ReportMetric(ns[c.name], c.name+"-ns")
	}
	b.ReportMetric(ns["unmatched"]/ns["unenrolled"], "unmatched/unenrolled")
	b.ReportMetric(ns["matched"]/ns["unenrolled"], "matched/unenrolled")
}
