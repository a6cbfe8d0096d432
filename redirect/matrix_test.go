package redirect_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// TestOddities has rows of the bypass matrix in which a socket or an address is unusual.
func TestOddities(t *testing.T) {
	w := newWorld(t)
	w.listener.Close()
	w.hold = 5 * time.Second
	w.listen()
	p := w.worker(processOptions{})
	for _, tt := range []struct {
		name, act string
		args      []string
		want      string
	}{
		{"port left to connect", "noport", []string{"10.77.1.2:0", db4}, "PROXY 10.77.2.2:5432 from 10.77.1.2:*"},
		{"port left to connect, v6", "noport", []string{"[fd77:1::2]:0", db6}, "PROXY [fd77:2::2]:5432 *"},
		{"bound to a mapped address", "connect", []string{"[::ffff:10.77.2.2]:5432", "[::ffff:10.77.1.2]:0"}, "PROXY 10.77.2.2:5432 from 10.77.1.2:*"},
		{"bound to a mapped address, for v6", "connect", []string{db6, "[::ffff:10.77.1.2]:0"}, "E*"},
		{"made an IPv4 socket", "addrform", []string{other4, db4}, "PROXY 10.77.2.2:5432 *"},
		{"flow label and scope", "flow", []string{db6}, "PROXY [fd77:2::2]:5432 *"},
		{"multipath, fast open", "mptcpfast", []string{db4}, "PROXY 10.77.2.2:5432 *"},
		{"multipath, fast open, v6", "mptcpfast", []string{db6}, "PROXY [fd77:2::2]:5432 *"},
	} {
		got := p.do(tt.act, tt.args...)
		if got == "no MPTCP" || strings.HasPrefix(tt.name, "multipath") && got == "ENOTSUP" {
			t.Logf("%s: this kernel says %s", tt.name, got)
			continue
		}
		if !like(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	for _, answer := range strings.Split(p.do("samesource", db4, "4455"), " | ") {
		if !like(answer, "PROXY 10.77.2.2:5432 from 127.0.0.1:4455 *") && answer != "EADDRNOTAVAIL" {
			t.Errorf("from the same port again: %s", answer)
		}
	}
}

// TestMoves has the ways in which a workload might leave its cgroup, and those in which it
// may move inside of it.
func TestMoves(t *testing.T) {
	w := newWorld(t)
	sibling := w.options.Parent + "/sibling"
	must(t, os.Mkdir(sibling, 0o755))
	t.Cleanup(func() { removeCgroup(sibling) })
	p := w.worker(processOptions{})
	for _, to := range []string{sibling, w.options.Parent, w.outside, hierarchy(t)} {
		for _, act := range []string{"move", "cloneinto"} {
			if got := p.do(act, to); got != "EACCES" && got != "EPERM" {
				t.Errorf("%s to %s: %s", act, to, got)
			}
		}
	}
	// A controller of the first version is another tree.
	for _, v1 := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/net_cls"} {
		dir := v1 + "/" + filepath.Base(filepath.Dir(w.options.Parent))
		if _, err := os.Stat(v1 + "/cgroup.clone_children"); err != nil || os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { removeCgroup(dir) })
		must(t, os.WriteFile(dir+"/cgroup.procs", []byte(p.do("pid")), 0))
		if got := p.do("connect", db4); !like(got, "PROXY*") {
			t.Errorf("in a cgroup of %s: %s", v1, got)
		}
		must(t, os.WriteFile(v1+"/cgroup.procs", []byte(p.do("pid")), 0))
	}
	// What is delegated to it below stays below.
	below := w.workload + "/delegated"
	must(t, os.Mkdir(below, 0o755))
	for _, file := range []string{"", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control"} {
		must(t, os.Chown(below+file, 1000, 1000))
	}
	t.Cleanup(func() { removeTree(below) })
	q := w.worker(processOptions{cgroup: below})
	if got := q.do("threaded", below+"/t", db4); !like(got, "PROXY*") {
		t.Errorf("a thread in a cgroup of its own: %s", got)
	}
	r := w.worker(processOptions{cgroup: below, root: true, unshare: syscall.CLONE_NEWUSER | syscall.CLONE_NEWCGROUP})
	if got := r.do("connect", db4); !like(got, "PROXY*") {
		t.Errorf("in a namespace of cgroups: %s", got)
	}
}

// TestDepth nests cgroups as deep as programs look, and deeper: what is too deep to tell
// is refused.
func TestDepth(t *testing.T) {
	for _, pass := range []bool{false, true} {
		w := newWorld(t, func(o *redirect.Options) { o.PassStrangers = pass })
		at := w.workload
		t.Cleanup(func() { removeTree(filepath.Join(w.workload, "d")) })
		for depth := 1; depth <= 60; depth++ {
			at += "/d"
			must(t, os.Mkdir(at, 0o755))
			want, datagram := "PROXY*", "EPERM*"
			switch depth {
			case 1, 14, 15, 16, 17, 30, 40:
			case 47, 48, 60:
				want = "*"
			default:
				continue
			}
			p := w.worker(processOptions{cgroup: at})
			got := p.do("connect", db4)
			if !like(got, want) || like(got, "DB*") {
				t.Errorf("%d deep, shared parent %v: %s", depth, pass, got)
			}
			if got := p.do("udp", db4); !like(got, datagram) {
				t.Errorf("a datagram, %d deep, shared parent %v: %s", depth, pass, got)
			}
			p.stop()
		}
	}
}

// TestSetns takes sockets and threads to other network namespaces.
func TestSetns(t *testing.T) {
	w := newWorld(t)
	other := newNamespace(t)
	p := w.worker(processOptions{root: true, files: []*os.File{other, w.db}})
	p.do("keep", "old", "4")
	// A socket keeps the namespace that it was made in.
	if got := p.do("setns", "3", "old", db4); !like(got, "PROXY*") {
		t.Errorf("an old socket in another namespace: %s", got)
	}
	for _, ns := range []string{"3", "4"} { // one that leads nowhere, and the database's own
		if got := p.do("setns", ns, "", db4); got != refused() {
			t.Errorf("a new socket in namespace %s: %s", ns, got)
		}
	}
}

// TestRemovedCgroup uses a socket whose cgroup is gone.
func TestRemovedCgroup(t *testing.T) {
	for _, pass := range []bool{false, true} {
		w := newWorld(t, func(o *redirect.Options) { o.PassStrangers = pass })
		second := w.options.Parent + "/second"
		must(t, os.Mkdir(second, 0o755))
		t.Cleanup(func() { removeCgroup(second) })
		must(t, w.kernel.Enroll(second, false))
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		must(t, err)
		a, b := os.NewFile(uintptr(pair[0]), "a"), os.NewFile(uintptr(pair[1]), "b")
		defer a.Close()
		defer b.Close()
		giver := w.worker(processOptions{cgroup: second, files: []*os.File{a}})
		taker := w.worker(processOptions{files: []*os.File{b}})
		giver.do("keep", "s", "4")
		giver.do("pass", "s")
		taker.do("take", "s")
		giver.stop()
		removeCgroup(second)
		if exists(second) {
			t.Fatal("the cgroup is still there")
		}
		if got := taker.do("use", "s", db4); !like(got, "PROXY*") {
			t.Errorf("shared parent %v: %s", pass, got)
		}
	}
}

// TestHarvest redirects the redirect address itself to a listener of the workload: it gets
// its own connections and not the endpoint's. README.md names it; this keeps it true.
func TestHarvest(t *testing.T) {
	w := newWorld(t)
	p := w.worker(processOptions{root: true})
	if got := p.do("bind", "127.0.0.1:9999"); got != "ok" {
		t.Fatal(got)
	}
	at := w.kernel.RedirectAddress()
	nft(t, w.wl, fmt.Sprintf("table ip h { chain o { type nat hook output priority -100; ip daddr 127.0.0.0/8 tcp dport %d dnat to 127.0.0.1:9999; }; }", at.Port()))
	if got := p.do("connect", db4); like(got, "DB*") {
		t.Errorf("the endpoint was reached: %s", got)
	}
	risks, err := redirect.Inspect(w.workload)
	must(t, err)
	for _, r := range risks {
		if r.Code == redirect.RiskNetAdmin {
			return
		}
	}
	t.Errorf("Inspect does not tell that this is possible: %+v", risks)
}

// TestEnrollForking enrolls a process whose children come and go, and connect as they do.
func TestEnrollForking(t *testing.T) {
	w := newWorld(t)
	later := w.options.Parent + "/later"
	must(t, os.Mkdir(later, 0o755))
	t.Cleanup(func() { removeCgroup(later) })
	p := w.worker(processOptions{cgroup: w.outside})
	must(t, os.WriteFile(later+"/cgroup.procs", []byte(p.do("pid")), 0))
	for range many(10) {
		must(t, w.kernel.Unenroll(later))
		done := make(chan string)
		go func() { done <- p.do("spawn", "400", db4) }()
		time.Sleep(200 * time.Millisecond)
		must(t, w.kernel.Enroll(later, true))
		if got := <-done; strings.Contains(got, "DB") || !strings.Contains(got, "PROXY") {
			t.Fatalf("children saw %s", got)
		}
	}
}

// removeTree removes cgroups that are empty, from below.
func removeTree(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeTree(filepath.Join(dir, e.Name()))
		}
	}
	removeCgroup(dir)
}
