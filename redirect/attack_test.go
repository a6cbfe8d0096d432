package redirect_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// nft runs rules in a namespace; scripts/setup.sh installs nftables.
func nft(t testing.TB, netns *os.File, rules string) {
	t.Helper()
	within(t, netns, func() error {
		out, err := exec.Command("nft", rules).CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
}

// TestForged leaves a connection behind whose SYN was lost, on a socket that stays open,
// and takes its tuple from outside: an origin must not outlive its connection.
func TestForged(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	out := w.worker(processOptions{cgroup: w.outside})
	port := int(w.kernel.RedirectAddress().Port())
	nft(t, w.wl, fmt.Sprintf("table inet lost { chain i { type filter hook input priority 0; tcp dport %d tcp flags & (syn|ack) == syn drop; }; }", port))
	tuple := strings.Fields(p.do("lost", db4, itoa(port)))
	if len(tuple) != 3 || tuple[0] != "EINPROGRESS" {
		t.Fatalf("connect without an answer: %v", tuple)
	}
	if s, err := w.kernel.Stats(); err != nil || s.Handovers != 1 {
		t.Fatalf("%d handovers while the SYN is lost, %v: the test is no good", s.Handovers, err)
	}
	if got := p.do("abandon", "lost"); got != "ok" {
		t.Fatal(got)
	}
	nft(t, w.wl, "delete table inet lost")
	if got := out.do("connect", tuple[2], tuple[1]); got != "ECONNREFUSED" {
		t.Errorf("from %s to %s: %s", tuple[1], tuple[2], got)
	}
	if s, err := w.kernel.Stats(); err != nil || s.Handovers != 0 {
		t.Errorf("%d handovers are left, %v", s.Handovers, err)
	}
}

// TestSimultaneousOpen waits with half a connection for a workload's port: TCP would join
// the two without asking for a listener.
func TestSimultaneousOpen(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	out := w.worker(processOptions{cgroup: w.outside, root: true})
	at := w.kernel.RedirectAddress()
	net := at.Addr().As4()
	// Learn the third byte of the address that stands for db4.
	tuple := strings.Fields(p.do("tuple", db4))
	if len(tuple) != 2 {
		t.Fatal(tuple)
	}
	net[2] = netip.MustParseAddrPort(tuple[1]).Addr().As4()[2]
	for _, from := range []string{"127.0.0.1:4711", "10.77.1.2:4711"} {
		for last := range 256 {
			net[3] = byte(last)
			squat := netip.AddrPortFrom(netip.AddrFrom4(net), at.Port()).String()
			if got := out.do("pending", squat, from); got != "ECONNREFUSED" && got != "EPERM" {
				t.Fatalf("from %s to %s: %s", squat, from, got)
			}
		}
		if got := p.do("connect", db4, from); !like(got, "PROXY*") {
			t.Errorf("from %s: %s", from, got)
		}
	}
	for _, squat := range []string{"[::1]:", "[::]:"} {
		if got := out.do("pending", squat+itoa(int(at.Port())), "[::1]:4712"); got != "ECONNREFUSED" && got != "EPERM" {
			t.Errorf("from %s: %s", squat, got)
		}
	}
	if got := p.do("connect", db6, "[::1]:4712"); !like(got, "PROXY*") {
		t.Errorf("v6: %s", got)
	}
	if s, err := w.kernel.Stats(); err != nil || s.Refused["squatter"] == 0 {
		t.Errorf("counters: %+v, %v", s, err)
	}
}

// TestShare has a workload that lets its handshakes hang: its neighbours must not notice.
func TestShare(t *testing.T) {
	w := newWorld(t)
	second := w.options.Parent + "/second"
	must(t, os.Mkdir(second, 0o755))
	t.Cleanup(func() { removeCgroup(second) })
	must(t, w.kernel.Enroll(second, false))
	p, q := w.worker(processOptions{root: true}), w.worker(processOptions{cgroup: second})
	got := p.do("hang", "3000", db4)
	s, err := w.kernel.Stats()
	must(t, err)
	if s.Handovers < 1000 || s.Handovers > 1100 || s.Refused["full"] == 0 {
		t.Errorf("%d handovers, %d refused: %s", s.Handovers, s.Refused["full"], got)
	}
	if got := q.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("a neighbour: %s", got)
	}
	p.stop()
	for range 100 {
		if s, err = w.kernel.Stats(); err == nil && s.Handovers == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if s.Handovers != 0 {
		t.Errorf("%d handovers are left", s.Handovers)
	}
	if got := w.worker(processOptions{}).do("burst", "300", db4); got != "map["+db4+" right:300]" {
		t.Errorf("afterwards: %s", got)
	}
}

// TestIOUring connects by io_uring, in each of the ways in which it calls connect.
func TestIOUring(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	for _, how := range []string{"inline", "async", "sqpoll"} {
		got := p.do("uring", how, db4)
		if got == "ENOSYS" || got == "EPERM" {
			t.Skip("no io_uring here: ", got)
		}
		if !like(got, "PROXY 10.77.2.2:5432*") {
			t.Errorf("%s: %s", how, got)
		}
		if got := p.do("uring", how, other4); !like(got, "DB*") {
			t.Errorf("%s, not protected: %s", how, got)
		}
	}
}

// TestOptions sets options of sockets that lead elsewhere, first without capabilities and
// then as root over the namespace.
func TestOptions(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	root := w.worker(processOptions{root: true})
	tests := []struct {
		name, user, root string
	}{
		{"transparent", "EPERM", "PROXY*"},
		{"transparent from elsewhere", "EPERM", "*"},
		{"mark", "EPERM", "PROXY*"},
		{"lsrr", "EPERM", "*"},
		{"repair", "EPERM", "*"},
		{"freebind", "E*", "*"},
		{"unicast", "PROXY*", "PROXY*"},
		{"dontroute", "PROXY*", "PROXY*"},
		{"srh", "*", "*"},
		{"long", "PROXY [[]fd77:2::2]:5432*", "PROXY [[]fd77:2::2]:5432*"},
	}
	for _, tt := range tests {
		for _, as := range []struct {
			who  string
			p    *process
			want string
		}{{"user", p, tt.user}, {"root", root, tt.root}} {
			got := as.p.do("option", tt.name, strconv.Itoa(w.index))
			if !like(got, strings.ReplaceAll(as.want, "[[]", "[")) || strings.Contains(got, "DB") {
				t.Errorf("%s as %s: %s, want %s", tt.name, as.who, got, as.want)
			}
		}
	}
}

// TestFastOpenCookie has the workload get a cookie first, and send data with the SYN then.
func TestFastOpenCookie(t *testing.T) {
	w := newWorld(t)
	within(t, w.wl, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte("1027"), 0) // client, server, all listeners
	})
	w.listener.Close()
	w.hold = 5 * time.Second
	w.listen()
	p := w.worker(processOptions{})
	for i := range 20 {
		for _, to := range []string{db4, db6} {
			if got := p.do("fastopen", to); !like(got, "PROXY "+to+" *") {
				t.Fatalf("%d to %s: %s", i, to, got)
			}
		}
	}
	if n := atoi(p.do("netstat", "TCPFastOpenPassive")); n == 0 {
		t.Error("no data came with a SYN: the test is no good")
	}
	if s, err := w.kernel.Stats(); err != nil || s.Handovers != 0 {
		t.Errorf("%d handovers are left, %v", s.Handovers, err)
	}
}

// TestAccepted connects with sockets that accept returned: they are their listener's.
func TestAccepted(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	if got := p.do("accepted", "", db4); !like(got, "PROXY*") {
		t.Errorf("an enrolled listener: %s", got)
	}
	q := w.worker(processOptions{cgroup: w.outside})
	if got := q.do("accepted", "keep", other4); !like(got, "DB*") {
		t.Fatalf("outside: %s", got)
	}
	must(t, os.WriteFile(w.workload+"/cgroup.procs", []byte(q.do("pid")), 0))
	if got := q.do("accepted", "use", db4); got != refused() {
		t.Errorf("a listener from before: %s", got)
	}
}

// TestStoppedAgent stops an agent until its backlog is full, and lets it go on: whoever
// was queued is served, and as who it is.
func TestStoppedAgent(t *testing.T) {
	w := newWorld(t, func(o *redirect.Options) { o.Backlog = 256 })
	must(t, w.kernel.Close())
	agent := startAgent(t, w, "")
	p := w.worker(processOptions{})
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Fatal(got)
	}
	must(t, agent.Process.Signal(syscall.SIGSTOP))
	opened := p.do("open", "600", db4)
	must(t, agent.Process.Signal(syscall.SIGCONT))
	got := p.do("opened", db4)
	right, _, _ := strings.Cut(strings.TrimPrefix(got, "right "), ",")
	if atoi(right) < 257 { // the backlog, and one
		t.Errorf("opened %s, then %s", opened, got)
	}
	t.Log(opened, got)
}

// TestPassedRights passes sockets by SCM_RIGHTS, in both directions.
func TestPassedRights(t *testing.T) {
	w := newWorld(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	a, b := os.NewFile(uintptr(pair[0]), "a"), os.NewFile(uintptr(pair[1]), "b")
	defer a.Close()
	defer b.Close()
	in := w.worker(processOptions{files: []*os.File{a}})
	out := w.worker(processOptions{cgroup: w.outside, files: []*os.File{b}})
	out.do("keep", "new", "4")
	out.do("pass", "new")
	in.do("take", "new")
	if got := in.do("use", "new", db4); got != refused() {
		t.Errorf("from outside: %s", got)
	}
	in.do("keep", "own", "4")
	in.do("pass", "own")
	out.do("take", "own")
	if got := out.do("use", "own", db4); !like(got, "PROXY*") {
		t.Errorf("to outside: %s", got)
	}
	// What is connected already is an accomplice's, and nobody sees it: README.md.
	out.do("keep", "connected", "4")
	if got := out.do("use", "connected", db4); !like(got, "DB*") {
		t.Fatal(got)
	}
	out.do("pass", "connected")
	in.do("take", "connected")
	if got := in.do("use", "connected", db4); got != "EISCONN" {
		t.Errorf("connected: %s", got)
	}
}

// TestDelegation gives the workload's user the cgroup above: Inspect must say so.
func TestDelegation(t *testing.T) {
	w := newWorld(t)
	w.worker(processOptions{})
	must(t, os.Chown(w.options.Parent+"/cgroup.procs", 1000, 1000))
	risks, err := redirect.Inspect(w.workload)
	must(t, err)
	for _, r := range risks {
		if r.Code == redirect.RiskCgroupWrite && r.Breaks {
			return
		}
	}
	t.Errorf("risks: %+v", risks)
}
