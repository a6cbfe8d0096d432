package redirect_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noport FROM TO binds to an address and leaves the port to connect.
func noPortAct(a []string) string {
	from, family := sockaddr(a[0])
	fd := socket(family, unix.SOCK_STREAM, 0)
	defer reset(fd)
	unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err := unix.Bind(fd, from); err != nil {
		return "bind: " + errno(err)
	}
	return finish(fd, a[1])
}

// samesource TO PORT connects from one port, closes, and connects from it again at once.
func sameSourceAct(a []string) string {
	var out []string
	for range 3 {
		fd := socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: atoi(a[1])}); err != nil {
			unix.Close(fd)
			return "bind: " + errno(err)
		}
		out = append(out, finish(fd, a[0]))
		unix.Close(fd)
	}
	return strings.Join(out, " | ")
}

func mptcpFastAct(a []string) string {
	sa, family := sockaddr(a[0])
	fd := socket(family, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	if fd < 0 {
		return "no MPTCP"
	}
	defer reset(fd)
	if err := unix.Sendto(fd, []byte("hello"), unix.MSG_FASTOPEN, sa); err != nil {
		return errno(err)
	}
	return greeting(fd)
}

// addrform OTHER TO makes an IPv4 socket of an IPv6 one that is connected, and uses it
// for another destination.
func addrFormAct(a []string) string {
	fd := socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	defer reset(fd)
	mapped := netip.MustParseAddrPort(a[0])
	six := netip.AddrPortFrom(netip.AddrFrom16(mapped.Addr().As16()), mapped.Port())
	if err := unix.Connect(fd, &unix.SockaddrInet6{Addr: six.Addr().As16(), Port: int(six.Port())}); err != nil {
		return "connect: " + errno(err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, 1 /* IPV6_ADDRFORM */, unix.AF_INET); err != nil {
		return "addrform: " + errno(err)
	}
	if err := disconnect(fd); err != nil {
		return "disconnect: " + errno(err)
	}
	return finish(fd, a[1])
}

// flow TO connects with a flow label and a scope in the address.
func flowAct(a []string) string {
	to := netip.MustParseAddrPort(a[0])
	var sa [28]byte
	binary.NativeEndian.PutUint16(sa[:], unix.AF_INET6)
	binary.BigEndian.PutUint16(sa[2:], to.Port())
	binary.BigEndian.PutUint32(sa[4:], 0x0bad1)
	ip := to.Addr().As16()
	copy(sa[8:], ip[:])
	binary.NativeEndian.PutUint32(sa[24:], 1) // lo
	fd := socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	defer reset(fd)
	if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), 28); e != 0 {
		return errno(e)
	}
	return greeting(fd)
}

// move DIR moves this process into a cgroup, of the first or second version.
func moveAct(a []string) string {
	return errno2(os.WriteFile(a[0]+"/cgroup.procs", []byte(itoa(os.Getpid())), 0))
}

// cloneinto DIR starts a process in another cgroup.
func cloneIntoAct(a []string) string {
	dir, err := os.Open(a[0])
	if err != nil {
		return errno(err)
	}
	defer dir.Close()
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return errno2(cmd.Run())
}

// threaded DIR TO makes a threaded cgroup, moves one thread into it, and connects from
// there.
func threadedAct(a []string) string {
	if err := os.Mkdir(a[0], 0o755); err != nil {
		return errno(err)
	}
	if err := os.WriteFile(a[0]+"/cgroup.type", []byte("threaded"), 0); err != nil {
		return "type: " + errno(err)
	}
	result := make(chan string)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		if err := os.WriteFile(a[0]+"/cgroup.threads", []byte(itoa(unix.Gettid())), 0); err != nil {
			result <- "threads: " + errno(err)
			return
		}
		data, _ := os.ReadFile("/proc/thread-self/cgroup")
		if !strings.Contains(string(data), "/"+a[0][strings.LastIndex(a[0], "/")+1:]) {
			result <- "not moved: " + string(data)
			return
		}
		_, family := sockaddr(a[1])
		fd := socket(family, unix.SOCK_STREAM, 0)
		defer reset(fd)
		result <- finish(fd, a[1])
	}()
	return <-result
}

// setns FD NAME TO enters the network namespace of a descriptor, and connects with a
// socket that was made before; or, with no name, with a new one.
func setnsAct(a []string) string {
	result := make(chan string)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(atoi(a[0]), unix.CLONE_NEWNET); err != nil {
			result <- "setns: " + errno(err)
			return
		}
		fd, there := kept[a[1]]
		if !there {
			fd = socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		}
		defer reset(fd)
		result <- finish(fd, a[2])
	}()
	return <-result
}

// spawn MILLISECONDS TO has children of this process, made one after the other and many at
// once, connect until the time is over.
func spawnAct(a []string) string {
	var mu sync.Mutex
	seen := map[string]int{}
	end := time.Now().Add(time.Duration(atoi(a[0])) * time.Millisecond)
	_, port, _ := strings.Cut(a[1], ":")
	host := strings.TrimSuffix(a[1], ":"+port)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				out, err := exec.Command("/bin/bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port+" && head -c 5 <&3").Output()
				word := string(out)
				if err != nil && word == "" {
					word = "refused"
				}
				mu.Lock()
				seen[word]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return fmt.Sprint(seen)
}
