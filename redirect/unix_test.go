package redirect_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// serveUnix greets with DB on a unix socket of a namespace. It returns what ends it.
func serveUnix(t testing.TB, netns *os.File, name string) (stop func()) {
	t.Helper()
	var fd int
	within(t, netns, func() (err error) {
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
			return err
		}
		if name[0] == '/' {
			if err := os.Chmod(name, 0o777); err != nil {
				return err
			}
		}
		return unix.Listen(fd, 16)
	})
	ended := false
	stop = func() {
		if !ended {
			ended = true
			unix.Shutdown(fd, unix.SHUT_RDWR)
			unix.Close(fd)
		}
	}
	t.Cleanup(stop)
	go func() {
		for {
			c, _, err := unix.Accept(fd)
			if err != nil {
				return
			}
			unix.Write(c, []byte("DB"))
			unix.Close(c)
		}
	}()
	return stop
}

// unixWorld is a world with endpoints that are unix sockets, in a folder of their own.
type unixWorld struct {
	*world
	dir, path, abstract string
	listeners           []*redirect.UnixListener
	guarded             bool
}

// newUnixWorld makes one; nil if this kernel cannot redirect unix sockets.
func newUnixWorld(t *testing.T, change ...func(*redirect.Options)) *unixWorld {
	t.Helper()
	u := &unixWorld{world: newWorld(t, change...), abstract: "@sluicetest-db"}
	var err error
	u.dir, err = os.MkdirTemp("/dev/shm", "sluicetest-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(u.dir) })
	must(t, os.Chmod(u.dir, 0o755))
	u.path = u.dir + "/.s.PGSQL.5432"
	all := []redirect.UnixEndpoint{redirect.UnixEndpoint(u.path), redirect.UnixEndpoint(u.abstract)}
	if err := u.kernel.SetUnix(all); errors.Is(err, redirect.ErrUnsupported) {
		t.Log("this kernel cannot: ", err)
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	u.listenUnix(all)
	weak := u.kernel.UnixWeak()
	u.guarded = len(weak) == 0
	t.Log("not held by the guard: ", weak)
	return u
}

func (u *unixWorld) listenUnix(all []redirect.UnixEndpoint) {
	u.t.Helper()
	for _, e := range all {
		l, err := u.kernel.ListenUnix(u.wl, e)
		must(u.t, err)
		u.listeners = append(u.listeners, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				right := c.Origin.CgroupID == cgroupID(u.t, u.workload) && c.Origin.UID == 1000
				unix.Write(c.FD, fmt.Appendf(nil, "PROXY %s %v", c.Endpoint, right))
				c.Close()
			}
		}()
	}
}

func (u *unixWorld) check(when string, p *process, want map[string]string) {
	u.t.Helper()
	for name, pattern := range want {
		if got := p.do("unix", name); !like(got, pattern) {
			u.t.Errorf("%s, to %s: %s, want %s", when, name, got, pattern)
		}
	}
}

// TestUnix redirects unix sockets, abstract and by path.
func TestUnix(t *testing.T) {
	u := newUnixWorld(t)
	if u == nil {
		return
	}
	for _, name := range []string{u.path, u.abstract, "@sluicetest-other"} {
		serveUnix(t, u.wl, name)
	}
	p, out := u.worker(processOptions{}), u.worker(processOptions{cgroup: u.outside})
	u.check("workload", p, map[string]string{u.abstract: "PROXY " + u.abstract + " true", u.path: "PROXY " + u.path + " true",
		"@sluicetest-other": "DB", "@sluicetest-d": "ECONNREFUSED"})
	u.check("outside", out, map[string]string{u.abstract: "DB", u.path: "DB"})
	within(t, u.wl, func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		f := os.NewFile(uintptr(fd), "foreign")
		t.Cleanup(func() { f.Close() })
		if err == nil {
			q := u.worker(processOptions{files: []*os.File{f}})
			if got := q.do("unixpassed", u.abstract); got != "ECONNREFUSED" {
				t.Errorf("a socket from outside: %s", got)
			}
		}
		return err
	})
	must(t, u.listeners[1].Close())
	u.check("closed", p, map[string]string{u.abstract: "ECONNREFUSED"})
	u.listener.Close()
	u.check("no agent", p, map[string]string{u.path: "ECONNREFUSED"})
	must(t, u.listeners[0].Close())
	must(t, u.kernel.SetUnix(nil))
	u.check("forgotten", p, map[string]string{u.abstract: "DB", u.path: "DB", u.dir + "/./.s.PGSQL.5432": "DB"})
	for _, bad := range []redirect.UnixEndpoint{"", "@", "run/x", "/a\x00b"} {
		if err := u.kernel.SetUnix([]redirect.UnixEndpoint{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := u.kernel.ListenUnix(u.wl, "/not/named"); err == nil {
		t.Error("listens for what is no endpoint")
	}
}

// TestUnixAliases reaches for the socket of a path by other names: where there is a guard
// none leads to it, and where there is none, UnixWeak has said so.
func TestUnixAliases(t *testing.T) {
	u := newUnixWorld(t)
	if u == nil {
		return
	}
	stop := serveUnix(t, u.wl, u.path)
	serveUnix(t, u.wl, u.dir+"/other")
	link, hard, elsewhere := u.dir+"/link", u.dir+"/hard", u.dir+"/elsewhere"
	must(t, os.Symlink(u.path, link))
	must(t, os.Link(u.path, hard))
	must(t, os.Mkdir(elsewhere, 0o755))
	must(t, unix.Mount(u.dir, elsewhere, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(elsewhere, unix.MNT_DETACH) })
	aliases := []string{u.dir + "/./.s.PGSQL.5432", u.dir + "//.s.PGSQL.5432", u.dir + "/elsewhere/../.s.PGSQL.5432", link, hard,
		elsewhere + "/.s.PGSQL.5432", "/proc/self/root" + u.path}
	p, out := u.worker(processOptions{}), u.worker(processOptions{cgroup: u.outside})
	want := "DB"
	if u.guarded {
		want = "ECONNREFUSED"
	}
	try := func(when string) {
		t.Helper()
		for _, alias := range aliases {
			u.check(when, p, map[string]string{alias: want})
			u.check(when+", outside", out, map[string]string{alias: "DB"})
		}
		u.check(when, p, map[string]string{u.dir + "/other": "DB", u.path: "PROXY*"})
	}
	try("first")
	stop() // the server is started again: another socket under the same name
	must(t, os.Remove(u.path))
	must(t, os.Remove(hard))
	serveUnix(t, u.wl, u.path)
	must(t, os.Link(u.path, hard))
	try("another socket")
	if s, err := u.kernel.Stats(); err != nil || u.guarded && s.Refused["unix-alias"] != uint64(2*len(aliases)) {
		t.Errorf("counted %d, %v", s.Refused["unix-alias"], err)
	}
	// The folder is made again, and nobody has told the kernel yet.
	must(t, os.Rename(u.dir, u.dir+"-old"))
	t.Cleanup(func() { os.RemoveAll(u.dir + "-old") })
	must(t, os.Mkdir(u.dir, 0o755))
	serveUnix(t, u.wl, u.path)
	u.check("another folder", p, map[string]string{u.dir + "/./.s.PGSQL.5432": want, u.path: "PROXY*"})
	// What is passed without an agent is none of it.
	u.listener.Close()
	u.check("no agent", p, map[string]string{u.dir + "/./.s.PGSQL.5432": want, u.path: "ECONNREFUSED"})
}

// TestUnixAdopted has a squatter wait under the name that a dead agent listened on.
func TestUnixAdopted(t *testing.T) {
	u := newUnixWorld(t)
	if u == nil {
		return
	}
	serveUnix(t, u.wl, u.abstract)
	p := u.worker(processOptions{})
	u.check("before", p, map[string]string{u.abstract: "PROXY*"})
	for _, l := range u.listeners {
		l.Abandon()
	}
	must(t, u.kernel.Close())
	for _, l := range u.listeners {
		serveUnix(t, u.wl, l.Name())
	}
	u.check("no agent", p, map[string]string{u.abstract: "ECONNREFUSED"})
	k, err := redirect.Open(u.options)
	must(t, err)
	t.Cleanup(func() { k.Remove() })
	u.kernel = k
	u.listen()
	u.check("an agent that does not listen yet", p, map[string]string{u.abstract: "ECONNREFUSED", u.path: "ECONNREFUSED"})
	must(t, k.SetUnix([]redirect.UnixEndpoint{redirect.UnixEndpoint(u.abstract)}))
	u.listenUnix([]redirect.UnixEndpoint{redirect.UnixEndpoint(u.abstract)})
	u.check("adopted", p, map[string]string{u.abstract: "PROXY*"})
}

// TestUnixPeer has a workload enter a cgroup of version 1 whose name looks like the line of
// another workload in /proc/PID/cgroup.
func TestUnixPeer(t *testing.T) {
	u := newUnixWorld(t)
	if u == nil {
		return
	}
	second := u.options.Parent + "/second"
	must(t, os.Mkdir(second, 0o755))
	t.Cleanup(func() { removeCgroup(second) })
	must(t, u.kernel.Enroll(second, false))
	p := u.worker(processOptions{})
	for _, v1 := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(v1 + "/cgroup.clone_children"); err != nil {
			continue
		}
		top := v1 + "/sluicetest-0::"
		dir := top + strings.TrimPrefix(second, hierarchy(t)) + "/x"
		must(t, os.MkdirAll(dir, 0o755))
		t.Cleanup(func() { removeTree(top) })
		must(t, os.WriteFile(dir+"/cgroup.procs", []byte(p.do("pid")), 0))
		u.check("in "+dir, p, map[string]string{u.abstract: "PROXY " + u.abstract + " true"})
		must(t, os.WriteFile(v1+"/cgroup.procs", []byte(p.do("pid")), 0))
	}
}
