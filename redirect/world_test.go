package redirect_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// Where things are in the test networks.
const (
	db4, db6       = "10.77.2.2:5432", "[fd77:2::2]:5432"
	other4, other6 = "10.77.2.2:8080", "[fd77:2::2]:8080" // the same host, not protected
	closed4        = "10.77.2.2:5433"                     // protected, and nothing listens
)

var endpoints = []redirect.Endpoint{
	{Prefix: netip.MustParsePrefix("10.77.2.2/32"), Port: 5432},
	{Prefix: netip.MustParsePrefix("10.77.2.2/32"), Port: 5433},
	{Prefix: netip.MustParsePrefix("fd77:2::/64"), Port: 5432},
	{Prefix: netip.MustParsePrefix("127.0.0.1/32"), Port: 5432},
	{Prefix: netip.MustParsePrefix("::1/128"), Port: 5432},
}

// A world is a workload's network, a database's, this process's between them, and an
// installation with one enrolled cgroup.
type world struct {
	t        testing.TB
	kernel   *redirect.Kernel
	listener *redirect.Listener
	options  redirect.Options
	workload string // the enrolled cgroup
	outside  string // a cgroup that is not below the parent
	wl, db   *os.File
	mac      string // of this end of the workload's veth
	index    int    // of the workload's end
	own      string // its mac
	// hold is how long serve leaves a connection open: one that is closed before it was
	// read is reset, and what was sent may be lost with it.
	hold time.Duration

	mu    sync.Mutex
	conns map[string]redirect.Origin // by the workload's address
}

var worlds int

// newWorld makes a world, and takes it down at the end of the test.
func newWorld(t testing.TB, change ...func(*redirect.Options)) *world {
	t.Helper()
	needRoot(t)
	worlds++
	w := &world{t: t, conns: map[string]redirect.Origin{}}
	base := filepath.Join(hierarchy(t), fmt.Sprintf("sluicetest-redirect-%d-%d", os.Getpid(), worlds))
	for _, dir := range []string{base, base + "/agent", base + "/outside", base + "/parent", base + "/parent/workload"} {
		must(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { removeCgroup(dir) })
	}
	w.workload, w.outside = base+"/parent/workload", base+"/outside"
	w.options = redirect.Options{Parent: base + "/parent", AgentCgroup: base + "/agent", Pin: "/sys/fs/bpf/" + filepath.Base(base)}
	for _, f := range change {
		f(&w.options)
	}
	enter(t, w.options.AgentCgroup)
	w.network()
	w.open()
	return w
}

// open installs and serves.
func (w *world) open() {
	w.t.Helper()
	k, err := redirect.Open(w.options)
	must(w.t, err)
	w.kernel = k
	w.t.Cleanup(func() { k.Remove() })
	must(w.t, k.SetEndpoints(endpoints))
	must(w.t, k.Enroll(w.workload, false))
	w.listen()
}

func (w *world) listen() {
	w.t.Helper()
	l, err := w.kernel.Listen(w.wl)
	must(w.t, err)
	w.listener = l
	go w.serve(l)
}

// serve greets whoever comes with the destination and the source.
func (w *world) serve(l *redirect.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		w.conns[c.Source.String()] = c.Origin
		w.mu.Unlock()
		unix.Write(c.FD, fmt.Appendf(nil, "PROXY %s from %s", c.Origin.Destination, c.Source))
		if w.hold > 0 {
			time.AfterFunc(w.hold, func() { c.Close() })
			continue
		}
		c.Close()
	}
}

func (w *world) worker(o processOptions) *process {
	w.t.Helper()
	if o.cgroup == "" {
		o.cgroup = w.workload
	}
	if o.netns == nil {
		o.netns = w.wl
	}
	return start(w.t, o)
}

// network makes the namespaces and wires them.
func (w *world) network() {
	t := w.t
	w.wl, w.db = newNamespace(t), newNamespace(t)
	must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	for i, ns := range []*os.File{w.wl, w.db} {
		here, there := fmt.Sprintf("st%d", i), "eth0"
		if old, err := netlink.LinkByName(here); err == nil {
			must(t, netlink.LinkDel(old))
		}
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: here}, PeerName: there, PeerNamespace: netlink.NsFd(int(ns.Fd()))}))
		t.Cleanup(func() {
			if l, err := netlink.LinkByName(here); err == nil {
				netlink.LinkDel(l)
			}
		})
		wire(t, here, i+1, 1)
		within(t, ns, func() error {
			wire(t, there, i+1, 2)
			for _, gw := range []string{fmt.Sprintf("10.77.%d.1", i+1), fmt.Sprintf("fd77:%d::1", i+1)} {
				if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)}); err != nil {
					return fmt.Errorf("route by %s: %w", gw, err)
				}
			}
			l, err := netlink.LinkByName(there)
			if i == 0 && err == nil {
				w.index, w.own = l.Attrs().Index, l.Attrs().HardwareAddr.String()
			}
			return err
		})
		if l, err := netlink.LinkByName(here); err == nil && i == 0 {
			w.mac = l.Attrs().HardwareAddr.String()
		}
	}
	for _, at := range []string{db4, db6, other4, other6} {
		serveDB(t, w.db, at)
	}
}

func wire(t testing.TB, name string, net, host int) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	for _, a := range []string{fmt.Sprintf("10.77.%d.%d/24", net, host), fmt.Sprintf("fd77:%d::%d/64", net, host)} {
		addr, err := netlink.ParseAddr(a)
		must(t, err)
		if strings.Contains(a, "::") {
			addr.Flags = unix.IFA_F_NODAD
		}
		must(t, netlink.AddrAdd(l, addr))
	}
	must(t, netlink.LinkSetUp(l))
}

// serveEcho answers one connection with what it sends.
func serveEcho(t testing.TB, netns *os.File, at string) {
	t.Helper()
	var l net.Listener
	within(t, netns, func() (err error) {
		l, err = net.Listen("tcp", at)
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
		io.Copy(c, c)
	}()
}

// serveDB greets with DB.
func serveDB(t testing.TB, netns *os.File, at string) {
	t.Helper()
	var l net.Listener
	within(t, netns, func() (err error) {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		l, err = c.Listen(context.Background(), "tcp", at)
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("DB"))
			time.AfterFunc(5*time.Second, func() { c.Close() })
		}
	}()
}

func newNamespace(t testing.TB) *os.File {
	t.Helper()
	var f *os.File
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f, err = os.Open("/proc/thread-self/ns/net")
		}
		if err == nil {
			var lo netlink.Link
			if lo, err = netlink.LinkByName("lo"); err == nil {
				err = netlink.LinkSetUp(lo)
			}
		}
		result <- err
	}()
	must(t, <-result)
	t.Cleanup(func() { f.Close() })
	return f
}

func hierarchy(t testing.TB) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(dir + "/cgroup.controllers"); err == nil {
			return dir
		}
	}
	t.Skip("no cgroup2 hierarchy")
	return ""
}

// enter moves this process into a cgroup for the test.
func enter(t testing.TB, dir string) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	_, home, _ := strings.Cut(string(data), "0::")
	home = filepath.Join(hierarchy(t), strings.TrimSpace(home))
	pid := fmt.Appendf(nil, "%d", os.Getpid())
	must(t, os.WriteFile(dir+"/cgroup.procs", pid, 0))
	t.Cleanup(func() { os.WriteFile(home+"/cgroup.procs", pid, 0) })
}

// removeCgroup removes a cgroup as soon as it is empty.
func removeCgroup(dir string) {
	for range 100 {
		if err := os.Remove(dir); err == nil || os.IsNotExist(err) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
