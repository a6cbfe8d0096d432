package redirect_test

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestConnect has the ways to connect of the bypass matrix, part (a) and (b).
func TestConnect(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	tests := []struct {
		name, act string
		args      []string
		want      string // a pattern: * stands for anything
	}{
		{"ipv4", "connect", []string{db4}, "PROXY 10.77.2.2:5432 from 127.0.0.1:* peer 10.77.2.2:5432"},
		{"ipv6", "connect", []string{db6}, "PROXY [fd77:2::2]:5432 from [::1]:* peer [fd77:2::2]:5432"},
		{"v6only", "v6only", []string{db6}, "PROXY [fd77:2::2]:5432 from * peer [fd77:2::2]:5432"},
		{"v4-mapped", "connect", []string{"[::ffff:10.77.2.2]:5432"}, "PROXY 10.77.2.2:5432 from 127.0.0.1:* peer [::ffff:10.77.2.2]:5432"},
		{"unspecified", "connect", []string{"0.0.0.0:5432"}, "PROXY 127.0.0.1:5432 *"},
		{"unspecified v6", "connect", []string{"[::]:5432"}, "PROXY [::1]:5432 *"},
		{"unspecified mapped", "connect", []string{"[::ffff:0.0.0.0]:5432"}, "PROXY 127.0.0.1:5432 *"},
		{"unmatched", "connect", []string{other4}, "DB peer 10.77.2.2:8080"},
		{"unmatched v6", "connect", []string{other6}, "DB peer [fd77:2::2]:8080"},
		{"unmatched mapped", "connect", []string{"[::ffff:10.77.2.2]:8080"}, "DB peer *"},
		{"non-blocking, twice, and elsewhere", "nonblock", []string{db4, other4}, "EINPROGRESS ok EISCONN PROXY 10.77.2.2:5432 *"},
		{"reconnect to protected", "again", []string{other4, db4}, "DB * | PROXY 10.77.2.2:5432 * peer 10.77.2.2:5432"},
		{"reconnect to unprotected", "again", []string{db4, other4}, "PROXY * | DB peer 10.77.2.2:8080"},
		{"reconnect to both", "again", []string{db4, "10.77.2.2:5433", db4}, "PROXY 10.77.2.2:5432 * | PROXY 10.77.2.2:5433 * | PROXY 10.77.2.2:5432 *"},
		{"reconnect v6", "again", []string{other6, db6}, "DB * | PROXY [fd77:2::2]:5432 *"},
		{"address of the other family", "mixed", []string{db4}, "EINVAL"},
		{"bound to eth0", "connect", []string{db4, "10.77.1.2:0"}, "PROXY 10.77.2.2:5432 from 10.77.1.2:* peer 10.77.2.2:5432"},
		{"bound to eth0 and port", "connect", []string{db4, "10.77.1.2:4321"}, "PROXY 10.77.2.2:5432 from 10.77.1.2:4321 *"},
		{"bound to another loopback", "connect", []string{db4, "127.0.0.5:0"}, "PROXY * from 127.0.0.5:* *"},
		{"bound v6", "connect", []string{db6, "[fd77:1::2]:0"}, "PROXY [fd77:2::2]:5432 from [fd77:1::2]:* *"},
		{"device", "device", []string{db4, "eth0"}, "ECONNREFUSED"},
		{"device lo", "device", []string{db4, "lo"}, "ECONNREFUSED"},
		{"device v6", "device", []string{db6, "eth0"}, "ECONNREFUSED"},
		{"device, unmatched", "device", []string{other4, "eth0"}, "DB *"},
		{"fast open", "fastopen", []string{db4}, "PROXY 10.77.2.2:5432 *"},
		{"fast open with cookie", "fastopen", []string{db4}, "PROXY 10.77.2.2:5432 *"},
		{"fast open v6", "fastopen", []string{db6}, "PROXY [fd77:2::2]:5432 *"},
		{"fast open connect", "fastopenconnect", []string{db4}, "PROXY 10.77.2.2:5432 *"},
		{"udp", "udp", []string{db4}, "EPERM *"},
		{"udp v6", "udp", []string{db6}, "EPERM *"},
		{"udp elsewhere", "udp", []string{other4}, "ok ok"},
		{"redirect address", "connect", []string{w.kernel.RedirectAddress().String()}, "ECONNREFUSED"},
		{"bind the redirect port", "bind", []string{w.kernel.RedirectAddress().String()}, "EPERM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if !hasErrno() {
				want = strings.ReplaceAll(want, "ECONNREFUSED", "EPERM")
			}
			if got := p.do(tt.act, tt.args...); !like(got, want) {
				t.Errorf("%s %v = %q, want %q", tt.act, tt.args, got, want)
			}
		})
	}
	t.Run("mptcp", func(t *testing.T) {
		for to, want := range map[string]string{db4: "PROXY 10.77.2.2:5432 *", db6: "PROXY [fd77:2::2]:5432 *", other4: "DB *"} {
			if got := p.do("mptcp", to); got == "no MPTCP" {
				t.Skip("this kernel has no MPTCP")
			} else if !like(got, want) {
				t.Errorf("mptcp to %s = %q, want %q", to, got, want)
			}
		}
	})
	s, err := w.kernel.Stats()
	must(t, err)
	if s.Handovers != 0 {
		t.Errorf("%d handovers are left", s.Handovers)
	}
	for _, problem := range w.kernel.Health() {
		t.Errorf("health: %+v", problem)
	}
}

// TestOrigin checks each field of an origin.
func TestOrigin(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	pid := p.do("pid")
	got := p.do("connect", db4)
	_, source, _ := strings.Cut(got, " from ")
	source, _, _ = strings.Cut(source, " ")
	w.mu.Lock()
	o := w.conns[source]
	w.mu.Unlock()
	if o.Destination.String() != db4 || strconv.Itoa(int(o.PID)) != pid || o.UID != 1000 {
		t.Errorf("origin %+v of %q, wanted process %s of user 1000", o, got, pid)
	}
	if id := cgroupID(t, w.workload); o.CgroupID != id {
		t.Errorf("cgroup %d, want %d", o.CgroupID, id)
	}
	if o.NetnsCookie != w.listener.NetnsCookie() || o.NetnsCookie == 0 {
		t.Errorf("namespace %d, want %d", o.NetnsCookie, w.listener.NetnsCookie())
	}
	if up := uptime(t); o.At > up || o.At < up-10*time.Second {
		t.Errorf("at %v, and it is %v now", o.At, up)
	}
	if o.StartTime > 0 {
		if at := time.Duration(o.StartTime); at > o.At || at < o.At-10*time.Second {
			t.Errorf("started %v, connected %v", at, o.At)
		}
	} else {
		t.Log("this kernel does not give the start time")
	}
}

// TestBurst makes 10,000 connections in 16 threads, with failures between them.
func TestBurst(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	n := many(10_000)
	got := p.do("burst", itoa(n), db4, "10.77.2.2:5433", "10.77.2.2:5434", db6)
	want := strings.ReplaceAll("map[10.77.2.2:5432 right:# 10.77.2.2:5433 right:# 10.77.2.2:5434 ECONNREFUSED:# [fd77:2::2]:5432 right:#]", "#", itoa(n/4))
	if got != want {
		t.Errorf("burst: %s\nwant   %s", got, want)
	}
}

// TestReuse reconnects from the same port right after a reset, 3,000 times.
func TestReuse(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	n := itoa(many(3000))
	if got := p.do("reuse", n, db4, "4444"); got != "map[right:"+n+"]" {
		t.Errorf("reuse: %s", got)
	}
	if s, err := w.kernel.Stats(); err != nil || s.Handovers != 0 {
		t.Errorf("%d handovers are left, %v", s.Handovers, err)
	}
}

// TestFull fills the table of handovers: what does not fit is refused.
func TestFull(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	undo, err := w.kernel.FillHandovers()
	must(t, err)
	if got := p.do("connect", db4); got != "ECONNREFUSED" {
		t.Errorf("with a full table: %s", got)
	}
	undo()
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("afterwards: %s", got)
	}
}
