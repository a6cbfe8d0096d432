package redirect_test

import "testing"

// BenchmarkConnect measures connect(2) of a worker, alternating in one run, and reports
// nanoseconds and ratios.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	in := w.worker(processOptions{})
	out := w.worker(processOptions{cgroup: w.outside})
	serveDB(b, w.wl, "127.0.0.1:8081")
	best := map[string]int{}
	cases := []struct {
		name, to string
		p        *process
	}{
		{"unenrolled", "127.0.0.1:8081", out},
		{"unmatched", "127.0.0.1:8081", in},
		{"matched", db4, in},
	}
	for b.Loop() {
		for range 6 {
			for _, c := range cases {
				ns := atoi(c.p.do("time", "500", c.to))
				if best[c.name] == 0 || ns < best[c.name] {
					best[c.name] = ns
				}
			}
		}
	}
	for _, c := range cases {
		b.ReportMetric(float64(best[c.name]), c.name+"-ns")
	}
	b.ReportMetric(float64(best["unmatched"])/float64(best["unenrolled"]), "unmatched/unenrolled")
	b.ReportMetric(float64(best["matched"])/float64(best["unenrolled"]), "matched/unenrolled")
}
