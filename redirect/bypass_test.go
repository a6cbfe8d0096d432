package redirect_test

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// TestOutside checks that processes that are not enrolled see no change, and cannot
// get at the listener.
func TestOutside(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{cgroup: w.outside})
	for _, to := range []string{db4, db6, other4} {
		if got := p.do("connect", to); !like(got, "DB peer "+to) {
			t.Errorf("outside to %s: %s", to, got)
		}
	}
	if got := p.do("connect", w.kernel.RedirectAddress().String()); got != "ECONNREFUSED" {
		t.Errorf("outside to the redirect address: %s", got)
	}
	if got := p.do("udp", db4); got != "ok ok" {
		t.Errorf("outside by UDP: %s", got)
	}
}

// TestStrangers checks cgroups below the parent that are not enrolled, as a workload
// is that was removed and made again under its name.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Fatalf("before: %s", got)
	}
	p.stop()
	removeCgroup(w.workload)
	must(t, os.Mkdir(w.workload, 0o755))
	p = w.worker(processOptions{})
	if got := p.do("connect", db4); got != refused() {
		t.Errorf("made again: %s", got)
	}
	if got := p.do("connect", other4); !like(got, "DB*") {
		t.Errorf("made again, to what is not protected: %s", got)
	}
	must(t, w.kernel.Enroll(w.workload, true))
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("enrolled again: %s", got)
	}
	below := w.workload + "/below"
	must(t, os.Mkdir(below, 0o755))
	t.Cleanup(func() { removeCgroup(below) })
	q := w.worker(processOptions{cgroup: below})
	if got := q.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("from a delegated cgroup below: %s", got)
	}
	q.stop()
	must(t, w.kernel.Unenroll(w.workload))
	if got := p.do("connect", db4); got != refused() {
		t.Errorf("unenrolled: %s", got)
	}
}

// TestPassStrangers checks a parent that is shared with others.
func TestPassStrangers(t *testing.T) {
	w := newWorld(t, func(o *redirect.Options) { o.PassStrangers = true })
	other := w.options.Parent + "/other"
	must(t, os.Mkdir(other, 0o755))
	t.Cleanup(func() { removeCgroup(other) })
	if got := w.worker(processOptions{}).do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("the workload: %s", got)
	}
	p := w.worker(processOptions{cgroup: other, root: true})
	if got := p.do("connect", db4); got != "DB peer "+db4 {
		t.Errorf("a neighbour: %s", got)
	}
	if got := p.do("raw", "255"); got != "ok" {
		t.Errorf("a raw socket of a neighbour: %s", got)
	}
	if got := p.do("udp", db4); got != "ok ok" {
		t.Errorf("a datagram of a neighbour: %s", got)
	}
}

// TestForeignSockets uses sockets that were born outside: unconnected ones are refused,
// in whatever way they came.
func TestForeignSockets(t *testing.T) {
	w := newWorld(t)
	var files []*os.File
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		within(t, w.wl, func() error {
			fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
			files = append(files, os.NewFile(uintptr(fd), "socket"))
			return err
		})
	}
	p := w.worker(processOptions{files: files})
	if got := p.do("passed", "3", db4); got != refused() {
		t.Errorf("a passed socket: %s", got)
	}
	if got := p.do("passed", "4", db6); got != refused() {
		t.Errorf("a passed v6 socket: %s", got)
	}
	if got := p.do("passed", "3", other4); !like(got, "DB*") {
		t.Errorf("a passed socket to what is not protected: %s", got)
	}

	q := w.worker(processOptions{cgroup: w.outside})
	q.do("keep", "before", "4")
	must(t, os.WriteFile(w.workload+"/cgroup.procs", []byte(q.do("pid")), 0))
	if got := q.do("use", "before", db4); got != refused() {
		t.Errorf("a socket from before the move: %s", got)
	}
	if got := q.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("a socket from after the move: %s", got)
	}

	// The other way a socket keeps its cgroup, too.
	q.do("keep", "after", "4")
	must(t, os.WriteFile(w.outside+"/cgroup.procs", []byte(q.do("pid")), 0))
	if got := q.do("use", "after", db4); !like(got, "PROXY*") {
		t.Errorf("a workload's socket used outside: %s", got)
	}
}

// TestNamespaces connects from namespaces that have no listener.
func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{unshare: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, root: true})
	if got := p.do("connect", db4); got != refused() {
		t.Errorf("from a namespace of its own: %s", got)
	}
	q := w.worker(processOptions{netns: w.db})
	if got := q.do("connect", db4); got != refused() {
		t.Errorf("from another namespace: %s", got)
	}
}

// TestRoot has what only root over the namespace can try.
func TestRoot(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{root: true})
	for _, protocol := range []string{"255", "6", "1"} {
		if got := p.do("raw", protocol); got != "EPERM" {
			t.Errorf("raw socket of protocol %s: %s", protocol, got)
		}
	}
	// Let the neighbours find each other.
	out := w.worker(processOptions{cgroup: w.outside})
	out.do("connect", db4)
	out.do("connect", db6)
	tests := []struct{ from, to string }{{"10.77.1.2:7001", db4}, {"[fd77:1::2]:7002", db6}}
	for _, tt := range tests {
		if got := p.do("packet", itoa(w.index), w.mac, tt.from, tt.to); got != "LEAKED" {
			t.Fatalf("without a guard, a packet socket to %s gets %q: the test is no good", tt.to, got)
		}
	}
	raw := []string{"raw", "bypass", "vlan"}
	for i, how := range raw {
		if got := p.do("packet", itoa(w.index), w.mac, "10.77.1.2:720"+itoa(i), db4, how, w.own); got != "LEAKED" {
			t.Fatalf("without a guard, a packet socket (%s) gets %q: the test is no good", how, got)
		}
	}
	nested := nestedNamespace(t, w)
	if got := nested.do("packet", nested.do("index", "n1"), nested.do("gateway"), "10.77.9.2:7301", db4); got != "LEAKED" {
		t.Fatalf("without a guard, a nested namespace gets %q: the test is no good", got)
	}
	guarded, err := w.kernel.GuardVeths(w.wl)
	if err != nil || len(guarded) != 1 {
		t.Fatalf("guarded %v, %v", guarded, err)
	}
	for i, tt := range tests {
		from := strings.Replace(tt.from, "700", "710", 1)
		if got := p.do("packet", itoa(w.index), w.mac, from, tt.to); got != "silence" {
			t.Errorf("with the guard, packet %d to %s: %s", i, tt.to, got)
		}
	}
	for i, how := range raw {
		if got := p.do("packet", itoa(w.index), w.mac, "10.77.1.2:740"+itoa(i), db4, how, w.own); got != "silence" {
			t.Errorf("with the guard, a packet socket (%s): %s", how, got)
		}
	}
	if got := nested.do("packet", nested.do("index", "n1"), nested.do("gateway"), "10.77.9.2:7501", db4); got != "silence" {
		t.Errorf("with the guard, from a nested namespace: %s", got)
	}
	if got := nested.do("connect", db4); got != refused() {
		t.Errorf("connect from a nested namespace: %s", got)
	}
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("with the guard: %s", got)
	}
	if got := p.do("connect", other4); !like(got, "DB*") {
		t.Errorf("with the guard, to what is not protected: %s", got)
	}
	// The agent dials from the workload's namespace, through the guard.
	for _, to := range []string{db4, db6} {
		fd, err := redirect.Dial(t.Context(), w.wl, addr(to))
		if err != nil {
			t.Errorf("the agent: %v", err)
			continue
		}
		if got := greeting(waitable(fd)); got != "DB" {
			t.Errorf("the agent got %q", got)
		}
		unix.Close(fd)
	}
	s, err := w.kernel.Stats()
	must(t, err)
	if s.Dropped["veth"] < 2 || s.Refused["socket"] != 3 {
		t.Errorf("counters: %+v", s)
	}
}

// nestedNamespace starts a worker in a namespace whose only way out is the workload's.
func nestedNamespace(t *testing.T, w *world) *process {
	t.Helper()
	inner := newNamespace(t)
	within(t, w.wl, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return err
		}
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "n0"}, PeerName: "n1", PeerNamespace: netlink.NsFd(int(inner.Fd()))})
	})
	within(t, w.wl, func() error { wire(t, "n0", 9, 1); return nil })
	within(t, inner, func() error {
		wire(t, "n1", 9, 2)
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("10.77.9.1")})
	})
	// The way back.
	must(t, netlink.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4(10, 77, 9, 0), Mask: net.CIDRMask(24, 32)}, Gw: net.ParseIP("10.77.1.2")}))
	p := w.worker(processOptions{root: true, netns: inner})
	p.do("connect", "10.77.9.1:1") // so that the neighbours know each other
	return p
}

// TestDNAT sends a destination that is not protected to one that is.
func TestDNAT(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	rules := "table ip t { chain o { type nat hook output priority -100; ip daddr 10.77.2.2 tcp dport 8080 dnat to 10.77.2.2:5432; }; }"
	nft(t, w.wl, rules)
	if got := p.do("connect", other4); like(got, "DB*") || like(got, "PROXY*") {
		t.Errorf("by DNAT: %s", got)
	}
	s, err := w.kernel.Stats()
	must(t, err)
	if s.Dropped["egress"] == 0 {
		t.Errorf("the guard saw nothing: %+v", s)
	}
}

// TestSegmentRouting routes a datagram through a neighbour, with an extension header
// that needs no capability.
func TestSegmentRouting(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	before, err := w.kernel.Stats()
	must(t, err)
	got := p.do("srh", "[fd77:1::1]:9", "fd77:2::2")
	if strings.HasPrefix(got, "setsockopt") {
		t.Skip(got)
	}
	after, err := w.kernel.Stats()
	must(t, err)
	if after.Dropped["egress"] <= before.Dropped["egress"] {
		t.Errorf("sent: %s, and the guard saw nothing", got)
	}
}

// TestEnrollRunning enrolls a process that is connected and connects in a loop.
func TestEnrollRunning(t *testing.T) {
	w := newWorld(t)
	later := w.options.Parent + "/later"
	must(t, os.Mkdir(later, 0o755))
	t.Cleanup(func() { removeCgroup(later) })
	p := w.worker(processOptions{cgroup: w.outside})
	// Outside it connects freely; then it is moved, with what it has.
	p.do("keep", "old", "4")
	if got := p.do("use", "old", db4); !like(got, "DB*") {
		t.Fatalf("before: %s", got)
	}
	must(t, os.WriteFile(later+"/cgroup.procs", []byte(p.do("pid")), 0))
	must(t, w.kernel.Enroll(later, true))
	if got := p.do("read", "old"); got != "read: ECONNABORTED" {
		t.Errorf("the old connection: %s", got)
	}
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("a new connection: %s", got)
	}
	// A loop of connects is never let through between.
	must(t, w.kernel.Unenroll(later))
	done := make(chan string)
	go func() { done <- p.do("loop", "500", db4) }()
	time.Sleep(150 * time.Millisecond)
	must(t, w.kernel.Enroll(later, true))
	if got := <-done; strings.Contains(got, "DB") || !strings.Contains(got, "PROXY") {
		t.Errorf("the loop saw %s", got)
	}
	if err := w.kernel.Enroll(w.outside, false); err == nil {
		t.Error("a cgroup that is not below the parent was enrolled")
	}
}

// TestSquatters binds the redirect port, and gets nothing before or after the agent's
// end.
func TestSquatters(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	at := w.kernel.RedirectAddress()
	out := w.worker(processOptions{cgroup: w.outside, root: true})
	if got := out.do("bind", "0.0.0.0:"+itoa(int(at.Port()))); got != "ok" {
		t.Fatalf("outside: %s", got)
	}
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("with a squatter: %s", got)
	}
	w.listener.Close()
	if got := p.do("connect", db4); got != "ECONNREFUSED" {
		t.Errorf("with a squatter and no listener: %s", got)
	}
	if got := out.do("harvested"); got != "EAGAIN" {
		t.Errorf("the squatter: %s", got)
	}
}
