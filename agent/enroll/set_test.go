package enroll_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/redirect"
)

// kernel notes what is asked of it. It has no network namespaces.
type kernel struct {
	listens  int
	said     []string
	expected redirect.Expected
}

func (k *kernel) Enroll(path string, running bool) error {
	k.said = append(k.said, "enroll "+filepath.Base(path)+" "+strconv.FormatBool(running))
	return nil
}

func (k *kernel) Forget(uint64) error { k.said = append(k.said, "forget"); return nil }

func (k *kernel) Expect(e redirect.Expected) error {
	slices.Sort(e.Paths)
	k.expected = e
	return nil
}

func (k *kernel) SetUnix([]redirect.UnixEndpoint) error { return nil }

func (k *kernel) ListenUnix(*os.File, redirect.UnixEndpoint) (*redirect.UnixListener, error) {
	return nil, redirect.ErrNoNamespace
}

func (k *kernel) GuardVeths(*os.File) ([]string, error) { return nil, nil }

func (k *kernel) UnguardVeths(*os.File) error { return nil }

func (k *kernel) Born() ([]uint64, error) { return nil, nil }

func (k *kernel) Listen(*os.File) (*redirect.Listener, error) {
	k.listens++
	return nil, redirect.ErrNoNamespace
}

// make makes a cgroup of a tree that only looks like one.
func makeCgroup(t *testing.T, path string, populated int) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "cgroup.events"), []byte("populated "+strconv.Itoa(populated)+"\nfrozen 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestUnit(t *testing.T) {
	mount := t.TempDir()
	for _, dir := range []string{"system.slice/report.service", "system.slice/docker.service/bot.service", "user.slice/user-1000.slice/user@1000.service/app.slice",
		"agents.slice/agents-night.slice/crawl.scope", `system.slice/dev-disk-by\x2dlabel.service`} {
		makeCgroup(t, filepath.Join(mount, dir), 0)
	}
	if os.Geteuid() == 0 { // what is an account's is not systemd's
		makeCgroup(t, filepath.Join(mount, "agents.slice/bot/report.service"), 1)
		if err := os.Chown(filepath.Join(mount, "agents.slice/bot"), 1000, 1000); err != nil {
			t.Fatal(err)
		}
	}
	for unit, want := range map[string]string{
		"report.service":               "system.slice/report.service",
		"crawl.scope":                  "agents.slice/agents-night.slice/crawl.scope",
		"agents-night.slice":           "agents.slice/agents-night.slice",
		"bot.service":                  "", // whoever may make cgroups below a service must not pass for another
		"stopped.service":              "",
		"report":                       "",
		"user-1000.slice":              "user.slice/user-1000.slice",
		"app.slice":                    "", // of a user's own manager
		`dev-disk-by\x2dlabel.service`: `system.slice/dev-disk-by\x2dlabel.service`,
	} {
		got, err := enroll.Unit(mount, unit)
		if want == "" {
			if !errors.Is(err, enroll.ErrNoCgroup) {
				t.Errorf("%s: %q, %v, want ErrNoCgroup", unit, got, err)
			}
			continue
		}
		if err != nil || got != filepath.Join(mount, want) {
			t.Errorf("%s: %q, %v, want %s", unit, got, err, want)
		}
	}
}

func TestSetFollowsItsTargets(t *testing.T) {
	mount := t.TempDir()
	k := &kernel{}
	s := enroll.New(mount, k, enroll.Options{})
	said := func(want ...string) {
		t.Helper()
		s.Scan()
		if !slices.Equal(k.said, want) {
			t.Errorf("the kernel was told %q, want %q", k.said, want)
		}
		k.said = nil
	}
	bot := enroll.Target{Name: "bot", Cgroup: "/agents.slice/bot"}
	report := enroll.Target{Name: "report", Unit: "report.service"}
	s.Want([]enroll.Target{bot, report})
	said()
	for _, w := range s.Workloads() {
		if w.Enrolled || w.Problem == "" {
			t.Errorf("before there is a cgroup: %+v", w)
		}
	}
	path := filepath.Join(mount, bot.Cgroup)
	makeCgroup(t, path, 0)
	said("enroll bot false")
	said() // once
	makeCgroup(t, filepath.Join(mount, "system.slice/report.service"), 1)
	said("enroll report.service true")
	id, err := redirect.CgroupID(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, ok := s.Lookup(id); !ok || got.Name != "bot" {
		t.Errorf("lookup: %+v, %v", got, ok)
	}
	// Made again, it is another one.
	makeCgroup(t, path+".new", 1)
	if err := errors.Join(os.RemoveAll(path), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	said("forget", "enroll bot true")
	if got, _, ok := s.Lookup(id); !ok || got.Name != "bot" {
		t.Errorf("the last connections of the old one: %+v, %v", got, ok)
	}
	if want := (redirect.Expected{Paths: []string{path}, Names: []string{"report.service"}}); !reflect.DeepEqual(k.expected, want) {
		t.Errorf("expected: %+v, want %+v", k.expected, want)
	}
	// A token is no reason to enroll again; another cgroup is.
	bot.Token = "/token"
	s.Want([]enroll.Target{bot})
	said("forget")
	if now, err := redirect.CgroupID(path); err != nil {
		t.Fatal(err)
	} else if got, _, _ := s.Lookup(now); got.Token != "/token" {
		t.Errorf("after a change of its token: %+v", got)
	}
	s.Want(nil)
	said("forget")
	if all := s.Workloads(); len(all) != 0 {
		t.Errorf("left: %+v", all)
	}
}

// TestManyNamespaces has a workload with more network namespaces than it may have listeners.
func TestManyNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	mount, k := t.TempDir(), &kernel{}
	path := filepath.Join(mount, "bot")
	makeCgroup(t, path, 1)
	var pids strings.Builder
	for range 70 {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		pids.WriteString(strconv.Itoa(cmd.Process.Pid) + "\n")
	}
	if err := os.WriteFile(filepath.Join(path, "cgroup.procs"), []byte(pids.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	s := enroll.New(mount, k, enroll.Options{})
	s.Want([]enroll.Target{{Name: "bot", Cgroup: "/bot"}})
	if k.listens != 1+64 { // that of this process, and as many as one may have
		t.Errorf("asked for %d listeners", k.listens)
	}
}
