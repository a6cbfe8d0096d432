package redirect_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An order is one line to a worker: the name of an act, and what it takes.
type order struct {
	Act  string
	Args []string
}

// worker is a process of a workload: it does what its standard input says.
func worker() {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			os.Exit(2)
		}
		act, ok := acts[o.Act]
		if !ok {
			os.Exit(3)
		}
		out.Encode(act(o.Args))
	}
	os.Exit(0)
}

// A process is a worker as the tests see it.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	lock sync.Mutex
}

type processOptions struct {
	cgroup  string
	netns   *os.File
	root    bool
	files   []*os.File
	unshare uintptr
}

var workerPath = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sluicetest-redirect-")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) })
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "worker")
	return path, os.WriteFile(path, data, 0o755)
})

var cleanups []func()

func cleanup() {
	for _, f := range cleanups {
		f()
	}
}

// start runs a worker in a cgroup and namespace, as user 1000 unless root is asked for.
func start(t testing.TB, o processOptions) *process {
	t.Helper()
	path, err := workerPath()
	must(t, err)
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), roleVariable+"=worker", "GODEBUG=asyncpreemptoff=1") // its signals would interrupt calls
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = o.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: o.unshare}
	if !o.root {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 1000, Gid: 1000}
	}
	if o.cgroup != "" {
		dir, err := os.Open(o.cgroup)
		must(t, err)
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	within(t, o.netns, func() error { return cmd.Start() })
	p := &process{t: t, cmd: cmd, in: in, out: json.NewDecoder(out)}
	t.Cleanup(p.stop)
	return p
}

func (p *process) stop() {
	p.in.Close()
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// do has the worker do something, and returns what it says.
func (p *process) do(act string, args ...string) string {
	p.t.Helper()
	p.lock.Lock()
	defer p.lock.Unlock()
	if err := json.NewEncoder(p.in).Encode(order{act, args}); err != nil {
		p.t.Fatalf("worker: %v", err)
	}
	var answer string
	if err := p.out.Decode(&answer); err != nil {
		p.t.Fatalf("worker, %s: %v", act, err)
	}
	return answer
}

// within runs do on a thread in netns.
func within(t testing.TB, netns *os.File, do func() error) {
	t.Helper()
	if netns == nil {
		must(t, do())
		return
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- do()
	}()
	must(t, <-result)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// errno names an error as the tests expect it.
func errno(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	return err.Error()
}

func sockaddr(s string) (unix.Sockaddr, int) {
	a := netip.MustParseAddrPort(s)
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}, unix.AF_INET6
}

func nameOf(a unix.Sockaddr, err error) string {
	if err != nil {
		return errno(err)
	}
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)).String()
	}
	return "?"
}

// greeting reads the line that every server of the tests sends first.
func greeting(fd int) string {
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 4})
	b := make([]byte, 200)
	n, err := unix.Read(fd, b)
	if err != nil {
		return "read: " + errno(err)
	}
	return string(b[:n])
}

// finish connects and tells who answered, and whom getpeername names.
func finish(fd int, to string) string {
	sa, _ := sockaddr(to)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 4})
	if err := unix.Connect(fd, sa); err != nil {
		return errno(err)
	}
	peer := nameOf(unix.Getpeername(fd))
	return greeting(fd) + " peer " + peer
}

func socket(family, kind, protocol int) int {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1
	}
	return fd
}

// disconnect is connect(2) with AF_UNSPEC.
func disconnect(fd int) error {
	var sa [16]byte
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(ptr(&sa)), 16)
	if e != 0 {
		return e
	}
	return nil
}

// reset makes close send an RST.
func reset(fd int) {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

func atoi(s string) int { n, _ := strconv.Atoi(s); return n }

var kept = map[string]int{}

// acts are what a worker can do. Each gives one line.
var acts = map[string]func([]string) string{
	"pid": func([]string) string { return strconv.Itoa(os.Getpid()) },

	// connect TO [BIND]
	"connect": func(a []string) string {
		_, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_STREAM, 0)
		defer reset(fd)
		if len(a) > 1 {
			sa, _ := sockaddr(a[1])
			if err := unix.Bind(fd, sa); err != nil {
				return "bind: " + errno(err)
			}
		}
		return finish(fd, a[0])
	},
	"v6only": func(a []string) string {
		fd := socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
		defer reset(fd)
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		return finish(fd, a[0])
	},
	"mptcp": func(a []string) string {
		_, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		if fd < 0 {
			return "no MPTCP"
		}
		defer reset(fd)
		return finish(fd, a[0])
	},
	"nonblock": func(a []string) string {
		sa, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		defer reset(fd)
		first := errno(unix.Connect(fd, sa))
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 4000)
		second := errno2(unix.Connect(fd, sa))
		other, _ := sockaddr(a[1])
		third := errno2(unix.Connect(fd, other))
		unix.SetNonblock(fd, false)
		return first + " " + second + " " + third + " " + greeting(fd)
	},
	// again TO... connects one socket to each in turn, with AF_UNSPEC between.
	"again": func(a []string) string {
		_, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_STREAM, 0)
		defer reset(fd)
		out := ""
		for i, to := range a {
			if i > 0 {
				if err := disconnect(fd); err != nil {
					return out + " disconnect: " + errno(err)
				}
				out += " | "
			}
			out += finish(fd, to)
		}
		return out
	},
	"device": func(a []string) string {
		_, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_STREAM, 0)
		defer reset(fd)
		if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, a[1]); err != nil {
			return "bind: " + errno(err)
		}
		began := time.Now()
		out := finish(fd, a[0])
		if time.Since(began) > time.Second {
			out += " (slow)"
		}
		return out
	},
	"mixed": func(a []string) string { // an AF_INET address on an AF_INET6 socket
		fd := socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
		defer reset(fd)
		return finish(fd, a[0])
	},
	"fastopen": func(a []string) string {
		sa, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_STREAM, 0)
		defer reset(fd)
		if err := unix.Sendto(fd, []byte("hello"), unix.MSG_FASTOPEN, sa); err != nil {
			return errno(err)
		}
		return greeting(fd)
	},
	"fastopenconnect": func(a []string) string {
		_, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_STREAM, 0)
		defer reset(fd)
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
		sa, _ := sockaddr(a[0])
		if err := unix.Connect(fd, sa); err != nil {
			return errno(err)
		}
		if _, err := unix.Write(fd, []byte("hello")); err != nil {
			return errno(err)
		}
		return greeting(fd)
	},
	"udp": func(a []string) string {
		sa, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_DGRAM, 0)
		defer unix.Close(fd)
		send := errno2(unix.Sendto(fd, []byte("x"), 0, sa))
		return send + " " + errno2(unix.Connect(fd, sa))
	},
	"raw": func(a []string) string {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, atoi(a[0]))
		if err == nil {
			unix.Close(fd)
		}
		return errno2(err)
	},
	// packet INDEX MAC TO: a SYN past all hooks of sockets. Says if a SYN-ACK came.
	"packet": packetAct,
	"srh":    srhAct,
	// passed FD TO connects a socket that came from outside.
	"passed": func(a []string) string {
		fd, _ := unix.Dup(atoi(a[0]))
		defer unix.Close(fd)
		return finish(fd, a[1])
	},
	"readpassed": func(a []string) string { return greeting(atoi(a[0])) },
	// keep NAME FAMILY makes a socket for later.
	"keep": func(a []string) string {
		family := unix.AF_INET
		if a[1] == "6" {
			family = unix.AF_INET6
		}
		kept[a[0]] = socket(family, unix.SOCK_STREAM, 0)
		return "ok"
	},
	"use":  func(a []string) string { return finish(kept[a[0]], a[1]) },
	"read": func(a []string) string { return greeting(kept[a[0]]) },
	"bind": func(a []string) string {
		sa, family := sockaddr(a[0])
		fd := socket(family, unix.SOCK_STREAM, 0)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		if err := unix.Bind(fd, sa); err != nil {
			return errno(err)
		}
		if err := unix.Listen(fd, 16); err != nil {
			return errno(err)
		}
		kept["squat"] = fd
		return "ok"
	},
	// harvested says if the squatter got a connection.
	"harvested": func(a []string) string {
		unix.SetNonblock(kept["squat"], true)
		fd, _, err := unix.Accept(kept["squat"])
		if err != nil {
			return errno(err)
		}
		unix.Close(fd)
		return "HARVESTED"
	},
	// time N TO gives the lower quartile of the times of socket(2) and connect(2), in
	// nanoseconds: what other load adds is above it.
	"time": func(a []string) string {
		sa, family := sockaddr(a[1])
		times := make([]int, atoi(a[0]))
		for i := range times {
			began := time.Now()
			fd := socket(family, unix.SOCK_STREAM, 0)
			err := unix.Connect(fd, sa)
			times[i] = int(time.Since(began))
			reset(fd)
			if err != nil {
				return errno(err)
			}
		}
		slices.Sort(times)
		return strconv.Itoa(times[len(times)/4])
	},
	"burst":  burstAct,
	"reborn": rebornAct,
	"reuse":  reuseAct,
	"loop":   loopAct,
	"index": func(a []string) string {
		i, err := net.InterfaceByName(a[0])
		if err != nil {
			return err.Error()
		}
		return itoa(i.Index)
	},
	"unix": func(a []string) string {
		return unixTo(socket(unix.AF_UNIX, unix.SOCK_STREAM, 0), a[0])
	},
	"unixpassed": func(a []string) string { return unixTo(3, a[0]) },
	"gateway":    gatewayAct,
	"lost":       lostAct,
	"tuple":      tupleAct,
	"pending":    pendingAct,
	"hang":       hangAct,
	"open":       openAct,
	"opened":     openedAct,
	"accepted":   acceptedAct,
	"option":     optionAct,
	"netstat":    netstatAct,
	"pass":       passAct,
	"take":       takeAct,
	"noport":     noPortAct,
	"samesource": sameSourceAct,
	"mptcpfast":  mptcpFastAct,
	"addrform":   addrFormAct,
	"flow":       flowAct,
	"move":       moveAct,
	"cloneinto":  cloneIntoAct,
	"threaded":   threadedAct,
	"setns":      setnsAct,
	"spawn":      spawnAct,
	"mkdir":      func(a []string) string { return errno2(os.MkdirAll(a[0], 0o755)) },
	"uring":      uringAct,
	// abandon NAME disconnects a socket and leaves it open.
	"abandon": func(a []string) string { return errno2(disconnect(kept[a[0]])) },
}

func errno2(err error) string {
	if err == nil {
		return "ok"
	}
	return errno(err)
}

// burstAct: burst N TO OTHER CLOSED. Threads connect to each in turn; every answer must
// name the destination and the source port of that very connection.
func burstAct(a []string) string {
	n := atoi(a[0])
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		seen  = map[string]int{}
		queue = make(chan int)
	)
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range queue {
				to := a[1+i%(len(a)-1)]
				result := one(to)
				mu.Lock()
				seen[result]++
				mu.Unlock()
			}
		}()
	}
	for i := range n {
		queue <- i
	}
	close(queue)
	wg.Wait()
	return fmt.Sprint(seen)
}

func one(to string) string {
	_, family := sockaddr(to)
	fd := socket(family, unix.SOCK_STREAM, 0)
	if fd < 0 {
		return "no socket"
	}
	defer reset(fd)
	sa, _ := sockaddr(to)
	if err := unix.Connect(fd, sa); err != nil {
		return to + " " + errno(err)
	}
	own := nameOf(unix.Getsockname(fd))
	got := greeting(fd)
	if got == "PROXY "+to+" from "+own {
		return to + " right"
	}
	return to + " WRONG " + got
}

// reuseAct: reuse N TO PORT connects from one port, resets, and connects again at once.
func reuseAct(a []string) string {
	seen := map[string]int{}
	sa, _ := sockaddr(a[1])
	for range atoi(a[0]) {
		fd := socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: atoi(a[2])})
		if err := unix.Connect(fd, sa); err != nil {
			seen[errno(err)]++
		} else if got := greeting(fd); got == "PROXY "+a[1]+" from 127.0.0.1:"+a[2] {
			seen["right"]++
		} else {
			seen["WRONG "+got]++
		}
		reset(fd)
	}
	return fmt.Sprint(seen)
}

// loopAct: loop MILLISECONDS TO connects until the time is over.
func loopAct(a []string) string {
	seen := map[string]int{}
	for end := time.Now().Add(time.Duration(atoi(a[0])) * time.Millisecond); time.Now().Before(end); {
		fd := socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		sa, _ := sockaddr(a[1])
		if err := unix.Connect(fd, sa); err != nil {
			seen[errno(err)]++
		} else if got := greeting(fd); len(got) > 5 {
			seen[got[:5]]++
		} else {
			seen["closed"]++
		}
		reset(fd)
	}
	return fmt.Sprint(seen)
}
