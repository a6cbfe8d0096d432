package redirect_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// serveUnix greets with DB on a unix socket of a namespace.
func serveUnix(t testing.TB, netns *os.File, name string) {
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
	t.Cleanup(func() { unix.Shutdown(fd, unix.SHUT_RDWR); unix.Close(fd) })
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
}

// TestUnix redirects unix sockets, abstract and by path.
func TestUnix(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(dir+"/..", 0o755))
	path, abstract := dir+"/.s.PGSQL.5432", "@sluicetest-db"
	l, err := w.kernel.ListenUnix(w.wl, redirect.UnixEndpoint(abstract))
	if errors.Is(err, redirect.ErrUnsupported) {
		t.Log("this kernel cannot: ", err)
		return
	}
	must(t, err)
	m, err := w.kernel.ListenUnix(w.wl, redirect.UnixEndpoint(path))
	must(t, err)
	for _, name := range []string{path, abstract, "@sluicetest-other"} {
		serveUnix(t, w.wl, name)
	}
	p := w.worker(processOptions{})
	serve := func(l *redirect.UnixListener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			unix.Write(c.FD, fmt.Appendf(nil, "PROXY %s %v", c.Endpoint, c.Origin.CgroupID == cgroupID(t, w.workload) && c.Origin.UID == 1000))
			c.Close()
		}
	}
	go serve(l)
	go serve(m)
	out := w.worker(processOptions{cgroup: w.outside})
	check := func(when string, p *process, want map[string]string) {
		t.Helper()
		for name, pattern := range want {
			if got := p.do("unix", name); !like(got, pattern) {
				t.Errorf("%s, to %s: %s, want %s", when, name, got, pattern)
			}
		}
	}
	check("workload", p, map[string]string{abstract: "PROXY " + abstract + " true", path: "PROXY " + path + " true", "@sluicetest-other": "DB", "@sluicetest-d": "ECONNREFUSED"})
	check("outside", out, map[string]string{abstract: "DB", path: "DB"})
	// The name of a path can be spelled otherwise: this is why it is a convenience.
	check("workload", p, map[string]string{dir + "/./.s.PGSQL.5432": "DB"})
	within(t, w.wl, func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		f := os.NewFile(uintptr(fd), "foreign")
		t.Cleanup(func() { f.Close() })
		if err == nil {
			q := w.worker(processOptions{files: []*os.File{f}})
			if got := q.do("unixpassed", abstract); got != "ECONNREFUSED" {
				t.Errorf("a socket from outside: %s", got)
			}
		}
		return err
	})
	must(t, l.Close())
	check("closed", p, map[string]string{abstract: "ECONNREFUSED"})
	w.listener.Close()
	check("no agent", p, map[string]string{path: "ECONNREFUSED"})
	must(t, m.Close())
	must(t, w.kernel.ForgetUnix(redirect.UnixEndpoint(abstract)))
	check("forgotten", p, map[string]string{abstract: "DB"})
	for _, bad := range []redirect.UnixEndpoint{"", "@", "run/x", "/a\x00b"} {
		if _, err := w.kernel.ListenUnix(w.wl, bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
