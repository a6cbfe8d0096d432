package redirect_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tupleOf gives the addresses of a socket as the kernel has them, redirect address and
// all: getpeername would not tell.
func tupleOf(port int) string {
	data, err := os.ReadFile("/proc/thread-self/net/tcp")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[3] != "0A" {
			return procAddr(f[1]) + " " + procAddr(f[2])
		}
	}
	return "no such socket"
}

func procAddr(s string) string {
	var ip uint32
	var port uint16
	fmt.Sscanf(s, "%08X:%04X", &ip, &port)
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], ip)
	return netip.AddrPortFrom(netip.AddrFrom4(b), port).String()
}

func localPort(fd int) int {
	return int(netip.MustParseAddrPort(nameOf(unix.Getsockname(fd))).Port())
}

// dropAll has a socket ignore every packet: that takes no capability.
func dropAll(fd int) error {
	code := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &code[0]})
}

// lost TO PORT connects without an answer, and tells the tuple.
func lostAct(a []string) string {
	sa, family := sockaddr(a[0])
	fd := socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	err := unix.Connect(fd, sa)
	kept["lost"] = fd
	return errno2(err) + " " + tupleOf(localPort(fd))
}

// tuple TO connects, and tells the addresses that are behind it.
func tupleAct(a []string) string {
	sa, family := sockaddr(a[0])
	fd := socket(family, unix.SOCK_STREAM, 0)
	defer reset(fd)
	if err := unix.Connect(fd, sa); err != nil {
		return errno(err)
	}
	return tupleOf(localPort(fd))
}

// pending FROM TO leaves half a connection that ignores resets.
func pendingAct(a []string) string {
	from, family := sockaddr(a[0])
	to, _ := sockaddr(a[1])
	fd := socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err := dropSYNLess(fd); err != nil {
		return "filter: " + errno(err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, from); err != nil {
		return "bind: " + errno(err)
	}
	return errno2(unix.Connect(fd, to)) // the descriptor is left open
}

// dropSYNLess has a socket see only packets with a SYN.
func dropSYNLess(fd int) error {
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13}, // the flags of TCP
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 2, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 18},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

// hang N TO starts connections that never hear an answer.
func hangAct(a []string) string {
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 10000, Max: 10000})
	sa, family := sockaddr(a[1])
	seen := map[string]int{}
	for range atoi(a[0]) {
		fd := socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		dropAll(fd)
		seen[errno2(unix.Connect(fd, sa))]++
	}
	return fmt.Sprint(seen)
}

var opened []int

// open N TO starts connections and keeps them.
func openAct(a []string) string {
	sa, family := sockaddr(a[1])
	seen := map[string]int{}
	for range atoi(a[0]) {
		fd := socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		seen[errno2(unix.Connect(fd, sa))]++
		opened = append(opened, fd)
	}
	return fmt.Sprint(seen)
}

// opened TO reads what each was told, and compares it with the socket's own address.
func openedAct(a []string) string {
	right, none := 0, 0
	end := time.Now().Add(4 * time.Second)
	for _, fd := range opened {
		wait := max(int(time.Until(end).Milliseconds()), 1)
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, wait)
		b := make([]byte, 200)
		n, err := unix.Read(fd, b)
		switch {
		case err != nil || n == 0:
			none++
		case string(b[:n]) == "PROXY "+a[0]+" from "+nameOf(unix.Getsockname(fd)):
			right++
		default:
			return "WRONG " + string(b[:n])
		}
		unix.Close(fd)
	}
	return fmt.Sprintf("right %d, none %d", right, none)
}

// accepted HOW TO connects with a socket that accept returned, once it is disconnected.
func acceptedAct(a []string) string {
	if a[0] != "use" {
		l := socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		unix.Listen(l, 4)
		kept["listener"] = l
	}
	l := kept["listener"]
	name, err := unix.Getsockname(l)
	if err != nil {
		return errno(err)
	}
	c := socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	defer reset(c)
	if err := unix.Connect(c, name); err != nil {
		return "connect: " + errno(err)
	}
	fd, _, err := unix.Accept(l)
	if err != nil {
		return "accept: " + errno(err)
	}
	defer reset(fd)
	if err := disconnect(fd); err != nil {
		return "disconnect: " + errno(err)
	}
	if a[0] == "" {
		unix.Close(l)
	}
	// It still has the listener's address, from which nothing but loopback is reached.
	unix.Bind(fd, &unix.SockaddrInet4{})
	return finish(fd, a[1])
}

// option NAME INDEX sets an option that may lead elsewhere, and connects.
func optionAct(a []string) string {
	to := db4
	family := unix.AF_INET
	if a[0] == "srh" || a[0] == "long" {
		to, family = db6, unix.AF_INET6
	}
	fd := socket(family, unix.SOCK_STREAM, 0)
	defer reset(fd)
	var err error
	switch a[0] {
	case "transparent", "transparent from elsewhere":
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
	case "mark":
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 1)
	case "freebind":
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	case "unicast":
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_UNICAST_IF, atoi(a[1])<<24)
	case "dontroute":
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DONTROUTE, 1)
	case "lsrr": // by the router to the database
		err = unix.SetsockoptString(fd, unix.SOL_IP, unix.IP_OPTIONS, "\x83\x07\x04\x0a\x4d\x02\x02\x00")
	case "repair":
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	case "srh":
		header := make([]byte, 8+32)
		header[1], header[2], header[3], header[4] = 4, 4, 1, 1
		last, via := netip.MustParseAddr("fd77:2::2").As16(), netip.MustParseAddr("fd77:1::1").As16()
		copy(header[8:], last[:])
		copy(header[24:], via[:])
		err = unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_RTHDR, string(header))
	}
	if err != nil {
		return errno(err)
	}
	switch a[0] {
	case "freebind", "transparent from elsewhere":
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{10, 99, 99, 99}}); err != nil {
			return errno(err)
		}
	case "long": // the address of RFC 2133, without a scope
		var sa [24]byte
		binary.NativeEndian.PutUint16(sa[:], unix.AF_INET6)
		binary.BigEndian.PutUint16(sa[2:], 5432)
		ip := netip.MustParseAddr("fd77:2::2").As16()
		copy(sa[8:], ip[:])
		if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(ptr(&sa)), 24); e != 0 {
			return errno(e)
		}
		return greeting(fd)
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 400_000})
	sa, _ := sockaddr(to)
	if err := unix.Connect(fd, sa); err != nil {
		return errno(err)
	}
	if a[0] == "repair" {
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 0)
		unix.SetNonblock(fd, true)
		unix.Write(fd, []byte("x"))
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 300)
		b := make([]byte, 100)
		n, err := unix.Read(fd, b)
		return string(b[:max(n, 0)]) + errno2(err)
	}
	return greeting(fd)
}

// netstat NAME gives a counter of the namespace.
func netstatAct(a []string) string {
	data, _ := os.ReadFile("/proc/thread-self/net/netstat")
	lines := strings.Split(string(data), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j, name := range names {
			if name == a[0] {
				return values[j]
			}
		}
	}
	return "0"
}

// pass NAME sends a socket through descriptor 3; take NAME receives one.
func passAct(a []string) string {
	return errno2(unix.Sendmsg(3, []byte("x"), unix.UnixRights(kept[a[0]]), nil, 0))
}

func takeAct(a []string) string {
	oob := make([]byte, 100)
	_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), oob, 0)
	if err != nil {
		return errno(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return "no descriptor"
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err.Error()
	}
	kept[a[0]] = fds[0]
	return "ok"
}

// uring HOW TO connects by io_uring.
func uringAct(a []string) string {
	params := make([]byte, 120)
	if a[0] == "sqpoll" {
		binary.NativeEndian.PutUint32(params[8:], 2) // IORING_SETUP_SQPOLL
	}
	r, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params[0])), 0)
	if e != 0 {
		return errno(e)
	}
	ring := int(r)
	defer unix.Close(ring)
	at := func(off int) uint32 { return binary.NativeEndian.Uint32(params[off:]) }
	const sqOff, cqOff = 40, 80
	sq, err := unix.Mmap(ring, 0, int(at(sqOff+24))+4*int(at(0)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "mmap: " + errno(err)
	}
	cq, err := unix.Mmap(ring, 0x8000000, int(at(cqOff+20))+16*int(at(4)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "mmap: " + errno(err)
	}
	entries, err := unix.Mmap(ring, 0x10000000, 64*int(at(0)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "mmap: " + errno(err)
	}
	fd := socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	defer reset(fd)
	to := netip.MustParseAddrPort(a[1])
	sa, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return errno(err)
	}
	binary.NativeEndian.PutUint16(sa, unix.AF_INET)
	binary.BigEndian.PutUint16(sa[2:], to.Port())
	copy(sa[4:], to.Addr().AsSlice())
	entries[0] = 16 // IORING_OP_CONNECT
	if a[0] == "async" {
		entries[1] = 1 << 4 // IOSQE_ASYNC
	}
	binary.NativeEndian.PutUint32(entries[4:], uint32(fd))
	binary.NativeEndian.PutUint64(entries[8:], 16) // the length
	binary.NativeEndian.PutUint64(entries[16:], uint64(uintptr(unsafe.Pointer(&sa[0]))))
	binary.NativeEndian.PutUint32(sq[at(sqOff+24):], 0)
	binary.NativeEndian.PutUint32(sq[at(sqOff+4):], 1) // the tail
	flags := uintptr(1)                                // IORING_ENTER_GETEVENTS
	if a[0] == "sqpoll" {
		flags |= 2 // IORING_ENTER_SQ_WAKEUP
	}
	if _, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(ring), 1, 1, flags, 0, 0); e != 0 {
		return "enter: " + errno(e)
	}
	result := int32(binary.NativeEndian.Uint32(cq[at(cqOff+20)+8:]))
	if result != 0 {
		return errno(unix.Errno(-result))
	}
	return greeting(fd)
}

// gateway gives the address of the first neighbour on a link.
func gatewayAct([]string) string {
	data, _ := os.ReadFile("/proc/thread-self/net/arp")
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 3 && strings.Count(f[3], ":") == 5 {
			return f[3]
		}
	}
	return "no neighbour"
}

func unixTo(fd int, name string) string {
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		return errno(err)
	}
	return greeting(fd)
}
