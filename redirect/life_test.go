package redirect_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

func itoa(n int) string            { return strconv.Itoa(n) }
func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// waitable makes a socket of Dial block, for the tests' simple reads.
func waitable(fd int) int {
	unix.SetNonblock(fd, false)
	return fd
}

// TestKilledAgent kills an agent under load, and starts another that adopts.
func TestKilledAgent(t *testing.T) {
	w := newWorld(t)
	must(t, w.kernel.Close())
	agent := startAgent(t, w, "")
	p := w.worker(processOptions{})
	out := w.worker(processOptions{cgroup: w.outside, root: true})
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Fatalf("with an agent of another process: %s", got)
	}
	done := make(chan string)
	go func() { done <- p.do("loop", "1500", db4) }()
	time.Sleep(300 * time.Millisecond)
	agent.Process.Kill()
	agent.Wait()
	squat := func() string { return out.do("bind", "0.0.0.0:"+itoa(int(w.kernel.RedirectAddress().Port()))) }
	squatted := squat()
	for range 20 { // one of the connections may just have that port as its own
		if squatted != "EADDRINUSE" {
			break
		}
		time.Sleep(50 * time.Millisecond)
		squatted = squat()
	}
	if squatted != "ok" {
		t.Errorf("squatter: %s", squatted)
	}
	time.Sleep(300 * time.Millisecond)
	startAgent(t, w, "")
	got := <-done
	if strings.Contains(got, "DB") || !strings.Contains(got, "PROXY") || !strings.Contains(got, "ECONNREFUSED") {
		t.Errorf("under load: %s", got)
	}
	t.Log(got)
	if got := out.do("harvested"); got != "EAGAIN" {
		t.Errorf("the squatter: %s", got)
	}
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("after adoption: %s", got)
	}
	if _, err := redirect.Open(w.options); !errors.Is(err, redirect.ErrInUse) {
		t.Errorf("a second agent: %v", err)
	}
	if !redirect.Held(w.options.Pin) {
		t.Error("nobody holds the pins")
	}
	if redirect.Held(w.options.Pin + "-none") {
		t.Error("somebody holds pins that are not there")
	}
}

// TestYield replaces an agent under load by one of another process and cgroup.
func TestYield(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	next := &world{t: t, wl: w.wl, options: w.options}
	next.options.AgentCgroup = filepath.Dir(w.options.AgentCgroup) + "/next"
	must(t, os.Mkdir(next.options.AgentCgroup, 0o755))
	t.Cleanup(func() { removeCgroup(next.options.AgentCgroup) })
	done := make(chan string)
	go func() { done <- p.do("loop", "2500", db4) }()
	time.Sleep(300 * time.Millisecond)
	if w.listener.Replaced() {
		t.Error("replaced by nobody")
	}
	must(t, w.kernel.Yield())
	if err := w.kernel.Yield(); !errors.Is(err, redirect.ErrClosed) {
		t.Errorf("yields twice: %v", err)
	}
	if err := w.kernel.Enroll(w.workload, false); !errors.Is(err, redirect.ErrClosed) {
		t.Errorf("enrolls after it has yielded: %v", err)
	}
	time.Sleep(300 * time.Millisecond)
	if w.listener.Replaced() {
		t.Error("replaced by nobody, after it has yielded")
	}
	startAgent(t, next, "")
	for began := time.Now(); !w.listener.Replaced(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			t.Fatal("not replaced")
		}
	}
	must(t, w.kernel.Close())
	got := <-done
	t.Log(got)
	if strings.Contains(got, "DB") || strings.Contains(got, "ECONNREFUSED") || !strings.Contains(got, "PROXY") {
		t.Errorf("under load: %s", got)
	}
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("by the next agent: %s", got)
	}
}

// TestYieldedConnections has connections of agents to a database when others, in cgroups
// of their own, take over: the guards of veths let each agent's through.
func TestYieldedConnections(t *testing.T) {
	w := newWorld(t)
	if names, err := w.kernel.GuardVeths(w.wl); err != nil || len(names) != 1 {
		t.Fatalf("guarded %v, %v", names, err)
	}
	serveEcho(t, w.db, closed4)
	open, err := redirect.Dial(t.Context(), w.wl, addr(closed4))
	must(t, err)
	open = waitable(open)
	defer unix.Close(open)
	echo := func(when string) {
		t.Helper()
		unix.Write(open, []byte(when))
		if got := greeting(open); got != when {
			t.Errorf("%s: a connection of the first agent: %q", when, got)
		}
	}
	echo("before")
	must(t, w.kernel.Yield())
	// Each agent that is killed leaves its cgroup; the fourth takes over from the third at the
	// depth of another class of pods.
	for _, name := range []string{"second", "third", "class/fourth"} {
		next := &world{t: t, wl: w.wl, options: w.options}
		next.options.AgentCgroup = filepath.Dir(w.options.AgentCgroup) + "/" + name
		must(t, os.MkdirAll(next.options.AgentCgroup, 0o755))
		agent := startAgent(t, next, db4)
		if name == "second" {
			must(t, w.kernel.Close())
		}
		echo(name)
		agent.Process.Kill()
		agent.Wait()
		removeCgroup(next.options.AgentCgroup)
	}
	removeCgroup(filepath.Dir(w.options.AgentCgroup) + "/class")
	k, err := redirect.Open(w.options)
	must(t, err)
	t.Cleanup(func() { k.Remove() })
	echo("again the first")
	if got, err := k.Agents(); err != nil || len(got) != 1 || got[0] != cgroupID(t, w.options.AgentCgroup) {
		t.Errorf("agents: %v, %v", got, err)
	}
}

// TestAdopt opens again what was closed: enrolments and endpoints are still there.
func TestAdopt(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	address := w.kernel.RedirectAddress()
	must(t, w.kernel.Close())
	if got := p.do("connect", db4); got != "ECONNREFUSED" {
		t.Errorf("closed: %s", got)
	}
	k, err := redirect.Open(w.options)
	must(t, err)
	t.Cleanup(func() { k.Remove() })
	if k.RedirectAddress() != address {
		t.Error("the redirect address changed")
	}
	if ids, err := k.Enrolled(); err != nil || len(ids) != 1 || ids[0] != cgroupID(t, w.workload) {
		t.Errorf("enrolled: %v, %v", ids, err)
	}
	if refused, err := k.Refusals(); err != nil || len(refused) != 1 || refused[cgroupID(t, w.workload)] != 1 {
		t.Errorf("refused to it: %v, %v", refused, err)
	}
	w.kernel = k
	w.listen()
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("adopted: %s", got)
	}
	p.do("connect", address.String())
	if refused, err := k.Refusals(); err != nil || refused[cgroupID(t, w.workload)] != 2 {
		t.Errorf("refused to it: %v, %v", refused, err)
	}
	for _, problem := range k.Health() {
		t.Errorf("health: %+v", problem)
	}
	must(t, os.Remove(k.LinkPin("sluice_connect4")))
	if problems := k.Health(); len(problems) != 1 || problems[0].Code != redirect.ProblemDetached {
		t.Errorf("health without connect4: %+v", problems)
	}
	must(t, k.Remove())
	if exists(w.options.Pin) {
		t.Error("the pins are still there")
	}
	// The link whose pin was taken away by hand goes a little later.
	got := p.do("connect", db4)
	for range 100 {
		if like(got, "DB*") {
			break
		}
		time.Sleep(20 * time.Millisecond)
		got = p.do("connect", db4)
	}
	if !like(got, "DB*") {
		t.Errorf("removed: %s", got)
	}
	if got := p.do("udp", db4); got != "ok ok" {
		t.Errorf("removed, by UDP: %s", got)
	}
}

// TestSideBySide has two installations in one namespace.
func TestSideBySide(t *testing.T) {
	a, b := newWorld(t), &world{}
	*b = world{t: t, wl: a.wl, db: a.db, conns: map[string]redirect.Origin{}}
	parent := filepath.Dir(a.options.Parent) + "/second"
	b.workload = parent + "/workload"
	for _, dir := range []string{parent, b.workload} {
		must(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { removeCgroup(dir) })
	}
	b.options = a.options
	b.options.Parent, b.options.Pin = parent, a.options.Pin+"-b"
	b.open()
	pa, pb := a.worker(processOptions{}), b.worker(processOptions{})
	if a.kernel.RedirectAddress() == b.kernel.RedirectAddress() {
		t.Fatal("they share an address")
	}
	check := func(when string, want string, p *process) {
		t.Helper()
		for _, to := range []string{db4, db6} {
			if got := p.do("connect", to); !like(got, want) {
				t.Errorf("%s: %s", when, got)
			}
		}
	}
	check("a", "PROXY*", pa)
	check("b", "PROXY*", pb)
	if sa, _ := a.kernel.Stats(); sa.HandedOver != 2 {
		t.Errorf("a handed over %d", sa.HandedOver)
	}
	for _, problem := range append(a.kernel.Health(), b.kernel.Health()...) {
		t.Errorf("health: %+v", problem)
	}
	must(t, a.kernel.Close())
	check("a without an agent", "ECONNREFUSED", pa)
	check("b beside a dead a", "PROXY*", pb)
	must(t, b.kernel.Remove())
	check("a beside a removed b", "ECONNREFUSED", pa)
	check("b removed", "DB*", pb)
}

// TestSweep removes what a dead agent left, once its workload has ended.
func TestSweep(t *testing.T) {
	root := "/sys/fs/bpf/sluicetest-redirect-sweep"
	w := newWorld(t, func(o *redirect.Options) { o.Pin = root + "/one" })
	p := w.worker(processOptions{})
	sweep := func(want int, when string) {
		t.Helper()
		if removed, err := redirect.Sweep(root); err != nil || len(removed) != want {
			t.Errorf("%s: swept %v, %v", when, removed, err)
		}
	}
	sweep(0, "alive")
	must(t, w.kernel.Close())
	sweep(0, "with a workload")
	p.stop()
	time.Sleep(50 * time.Millisecond)
	sweep(1, "without")
	if exists(w.options.Pin) {
		t.Error("the pins are still there")
	}
}

// TestSweepRoot keeps what sits on the root of all cgroups, which is never empty: its
// workloads would be free from when an agent ends until the next one has installed itself.
func TestSweepRoot(t *testing.T) {
	root := "/sys/fs/bpf/sluicetest-redirect-sweep"
	w := newWorld(t, func(o *redirect.Options) {
		o.Pin, o.Parent, o.PassStrangers = root+"/one", hierarchy(t), true
	})
	p := w.worker(processOptions{})
	must(t, w.kernel.Close())
	if removed, err := redirect.Sweep(root); err != nil || len(removed) != 0 {
		t.Errorf("swept %v, %v", removed, err)
	}
	if got := p.do("connect", db4); got != "ECONNREFUSED" {
		t.Errorf("after an agent that ended: %s", got)
	}
	k, err := redirect.Open(w.options)
	must(t, err)
	must(t, k.Remove())
}

// TestDial checks the ways in which a dial ends.
func TestDial(t *testing.T) {
	w := newWorld(t)
	if _, err := redirect.Dial(t.Context(), w.wl, addr("10.77.2.2:5499")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("closed port: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := redirect.Dial(ctx, w.wl, addr("10.77.2.99:5432")); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("nobody there: %v", err)
	}
	file, err := os.Open("/dev/null")
	must(t, err)
	defer file.Close()
	if _, err := redirect.Dial(t.Context(), file, addr(db4)); !errors.Is(err, redirect.ErrNoNamespace) {
		t.Errorf("no namespace: %v", err)
	}
	fd, err := redirect.Dialer{Mark: 7}.Dial(t.Context(), w.wl, addr(db6))
	must(t, err)
	if got := greeting(waitable(fd)); got != "DB" {
		t.Errorf("got %q", got)
	}
	unix.Close(fd)
	for to, want := range map[string]string{db4: "DB"} { // from this process's own namespace
		fd, err := redirect.Dial(t.Context(), nil, addr(to))
		must(t, err)
		if got := greeting(waitable(fd)); got != want {
			t.Errorf("got %q", got)
		}
		unix.Close(fd)
	}
}

// TestNoIPv6 listens where there is no ::1.
func TestNoIPv6(t *testing.T) {
	w := newWorld(t)
	within(t, w.wl, func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6", []byte("1"), 0)
	})
	w.listener.Close()
	w.listen()
	if v4, v6 := w.listener.Families(); !v4 || v6 {
		t.Skipf("families %v, %v", v4, v6)
	}
	p := w.worker(processOptions{})
	if got := p.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("IPv4: %s", got)
	}
	if got := p.do("connect", db6); got != refused() {
		t.Errorf("IPv6: %s", got)
	}
}

// TestInspect looks at workers of several kinds.
func TestInspect(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{})
	codes := func() map[redirect.RiskCode]bool {
		risks, err := redirect.Inspect(w.workload)
		must(t, err)
		found := map[redirect.RiskCode]bool{}
		for _, r := range risks {
			found[r.Code] = true
			if !strings.HasSuffix(r.Text, ".") {
				t.Errorf("no sentence: %q", r.Text)
			}
		}
		return found
	}
	got := codes()
	for code, want := range map[redirect.RiskCode]bool{
		redirect.RiskRunning: true, redirect.RiskNetRaw: false, redirect.RiskSysAdmin: false,
		redirect.RiskHostNetwork: false, redirect.RiskCgroupWrite: false,
	} {
		if got[code] != want {
			t.Errorf("unprivileged: %s is %v", code, got[code])
		}
	}
	p.stop()
	w.worker(processOptions{root: true})
	got = codes()
	for _, code := range []redirect.RiskCode{redirect.RiskNetRaw, redirect.RiskNetAdmin, redirect.RiskSysAdmin, redirect.RiskPtrace, redirect.RiskCgroupWrite} {
		if !got[code] {
			t.Errorf("root: %s is missing", code)
		}
	}
}

// TestProbe wants no finding that stops, and names each.
func TestProbe(t *testing.T) {
	needRoot(t)
	for _, f := range redirect.Probe() {
		t.Logf("%-8s %s: %s", f.Level, f.Name, f.Text)
		if f.Level == redirect.Fatal || f.Name == "" || f.Text == "" {
			t.Errorf("%+v", f)
		}
	}
}
