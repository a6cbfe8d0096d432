package redirect_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// reborn N DIR HOME TO makes the cgroup DIR, enters it, connects, leaves it for HOME, and
// removes it, N times, as fast as it can. It needs root.
func rebornAct(a []string) string {
	pid := []byte(itoa(os.Getpid()))
	seen := map[string]int{}
	for range atoi(a[0]) {
		if err := os.MkdirAll(a[1], 0o755); err != nil {
			return err.Error()
		}
		if err := os.WriteFile(a[1]+"/cgroup.procs", pid, 0); err != nil {
			return err.Error()
		}
		sa, family := sockaddr(a[3])
		fd := socket(family, unix.SOCK_STREAM, 0)
		if err := unix.Connect(fd, sa); err != nil {
			seen[errno(err)]++
		} else if got := greeting(fd); len(got) > 5 {
			seen[got[:5]]++
		} else {
			seen[got]++
		}
		reset(fd)
		if err := os.WriteFile(a[2]+"/cgroup.procs", pid, 0); err != nil {
			return err.Error()
		}
		if err := os.Remove(a[1]); err != nil {
			return err.Error()
		}
	}
	return fmt.Sprint(seen)
}

// TestReborn makes the cgroup of a workload again and again, below a parent that is shared
// with others: not once may it pass for one of them.
func TestReborn(t *testing.T) {
	w := newWorld(t, func(o *redirect.Options) { o.PassStrangers = true })
	dir := w.options.Parent + "/agents.slice/bot"
	t.Cleanup(func() { removeCgroup(dir); removeCgroup(filepath.Dir(dir)) })
	p := w.worker(processOptions{cgroup: w.outside, root: true})
	if got := p.do("reborn", "3", dir, w.outside, db4); got != "map[DB:3]" {
		t.Fatalf("while it is not expected: %s; the test is no good", got)
	}
	expect(t, w.kernel, redirect.Expected{Paths: []string{dir}})
	n := itoa(many(1000))
	if got := p.do("reborn", n, dir, w.outside, db4); got != "map[PROXY:"+n+"]" {
		t.Errorf("expected by its path: %s", got)
	}
	unit := w.options.Parent + "/system.slice/report.service"
	t.Cleanup(func() { removeCgroup(unit); removeCgroup(filepath.Dir(unit)) })
	expect(t, w.kernel, redirect.Expected{Names: []string{"report.service"}})
	if got := p.do("reborn", n, unit, w.outside, db4); got != "map[PROXY:"+n+"]" {
		t.Errorf("expected by its name: %s", got)
	}
	// The agent is not needed for it.
	must(t, w.kernel.Close())
	if got := p.do("reborn", "10", unit, w.outside, db4); got != "map[ECONNREFUSED:10]" {
		t.Errorf("without an agent: %s", got)
	}
	k, err := redirect.Open(w.options)
	must(t, err)
	t.Cleanup(func() { k.Remove() })
	w.kernel = k
	w.listen()
	if got := p.do("reborn", "10", unit, w.outside, db4); got != "map[PROXY:10]" {
		t.Errorf("adopted: %s", got)
	}
	expect(t, k, redirect.Expected{Names: []string{"report.service"}})
	for _, problem := range k.Health() {
		t.Errorf("health: %+v", problem)
	}
	if s, err := k.Stats(); err != nil || s.Born != uint64(2*many(1000)+20) || s.Workloads != 1 {
		t.Errorf("enrolled %d, left %d, %v", s.Born, s.Workloads, err)
	}
	expect(t, k, redirect.Expected{})
	if got := p.do("reborn", "3", unit, w.outside, db4); got != "map[DB:3]" {
		t.Errorf("not expected any more: %s", got)
	}
}

// TestExpect makes cgroups that are expected and others that only look like them.
func TestExpect(t *testing.T) {
	w := newWorld(t, func(o *redirect.Options) { o.PassStrangers = true })
	p := w.options.Parent
	long := strings.Repeat("n", 255)
	expect(t, w.kernel, redirect.Expected{
		Paths: []string{p + "/a/bot", p + "/" + long + "/" + long[:150], w.workload + "/inner"},
		Names: []string{"report.service", long},
	})
	tests := []struct {
		path string
		born bool
	}{
		{"a", false},
		{"a/bot", true},
		{"a/bot/below", false}, // it belongs to the one above
		{"a/bot2", false},
		{"bot", false},
		{"report.service", true},
		{"report.service/report.service", false},
		{"system.slice", false},
		{"system.slice/report.service", true},
		{"system.slice/report.service.d", false},
		{"system.slice/xreport.service", false},
		{"system.slice/docker.service", false},
		{"system.slice/docker.service/report.service", false}, // made by whoever may do so there
		{"workload/report.service", false},                    // as here
		{"workload/inner", true},                              // a path is what the operator wrote
		{"s.slice", false},
		{"s.slice/service", false},
		{"s.slice/service/report.service", true},
		{long, true},
		{long + "/" + long[:149], false},
		{long + "/" + long[:150], true},
		{long + "/" + long[:151], false},
		{long + "/" + long[:200], false}, // longer than what is compared
	}
	for _, tt := range tests {
		dir := filepath.Join(p, tt.path)
		must(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { removeCgroup(dir) })
		ids, err := w.kernel.Born()
		must(t, err)
		found := false
		for _, id := range ids {
			found = found || id == cgroupID(t, dir)
		}
		if found != tt.born {
			t.Errorf("%.60s: enrolled by the kernel %v, want %v", tt.path, found, tt.born)
		}
		if path, err := redirect.CgroupPath(hierarchy(t), cgroupID(t, dir)); err != nil || path != dir {
			t.Errorf("path of %s: %s, %v", dir, path, err)
		}
	}
	// One of the first version of the hierarchy is none.
	for _, v1 := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(v1 + "/cgroup.clone_children"); err != nil {
			continue
		}
		expect(t, w.kernel, redirect.Expected{Names: []string{"sluicetest-v1"}})
		before, err := w.kernel.Stats()
		must(t, err)
		must(t, os.Mkdir(v1+"/sluicetest-v1", 0o755))
		must(t, os.Remove(v1+"/sluicetest-v1"))
		if after, err := w.kernel.Stats(); err != nil || after.Born != before.Born {
			t.Errorf("in %s: %d, %v", v1, after.Born-before.Born, err)
		}
	}
	for what, e := range map[string]redirect.Expected{
		"outside":       {Paths: []string{w.outside}},
		"the parent":    {Paths: []string{p}},
		"the root":      {Paths: []string{"/"}},
		"too deep":      {Paths: []string{p + strings.Repeat("/d", 16)}},
		"too long":      {Paths: []string{p + strings.Repeat("/"+long, 4)}},
		"no name":       {Names: []string{""}},
		"a path":        {Names: []string{"a/b"}},
		"too long name": {Names: []string{long + "n"}},
		"the agent":     {Names: []string{"agent"}},
		"NUL":           {Names: []string{"a\x00b"}},
	} {
		if err := w.kernel.Expect(e); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

// TestExpectChildren makes a cgroup below one whose children are expected: it is refused
// until somebody decides, agent or no agent.
func TestExpectChildren(t *testing.T) {
	w := newWorld(t, func(o *redirect.Options) { o.PassStrangers = true })
	pods := w.options.Parent + "/kubepods"
	must(t, os.Mkdir(pods, 0o755))
	t.Cleanup(func() { removeCgroup(pods) })
	expect(t, w.kernel, redirect.Expected{Parents: []string{pods}})
	p := w.worker(processOptions{cgroup: w.outside, root: true})
	undecided := func(want ...uint64) {
		t.Helper()
		ids, err := w.kernel.Undecided()
		must(t, err)
		if !slices.Equal(ids, want) {
			t.Errorf("undecided: %d, want %d", ids, want)
		}
	}
	pod := pods + "/pod1"
	for _, dir := range []string{pod, pod + "/pod2", w.options.Parent + "/pod3"} {
		must(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { removeCgroup(dir) })
	}
	id := cgroupID(t, pod)
	undecided(id) // what is made deeper, or beside, is nobody's child
	must(t, w.kernel.Enroll(pod, false))
	undecided()
	if ids, err := w.kernel.Born(); err != nil || len(ids) != 0 {
		t.Errorf("born: %d, %v", ids, err)
	}
	n := itoa(many(200))
	again := pods + "/again"
	if got := p.do("reborn", n, again, w.outside, db4); got != "map[PROXY:"+n+"]" {
		t.Errorf("undecided, in a namespace with a listener: %s", got)
	}
	must(t, w.kernel.Forget(id))
	must(t, w.kernel.Close())
	if got := p.do("reborn", "10", again, w.outside, db4); got != "map[ECONNREFUSED:10]" {
		t.Errorf("undecided, without an agent: %s", got)
	}
	if got := p.do("reborn", "3", pod+"/inner", w.outside, db4); got != "map[DB:3]" {
		t.Errorf("decided to be left alone, without an agent: %s", got)
	}
	k, err := redirect.Open(w.options)
	must(t, err)
	t.Cleanup(func() { k.Remove() })
	w.kernel = k
	expect(t, k, redirect.Expected{})
	if got := p.do("reborn", "3", again, w.outside, db4); got != "map[DB:3]" {
		t.Errorf("not expected any more: %s", got)
	}
}

// expect tells the kernel; where it can't, a shared parent is refused instead.
func expect(t *testing.T, k *redirect.Kernel, e redirect.Expected) {
	t.Helper()
	if err := k.Expect(e); errors.Is(err, redirect.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}
