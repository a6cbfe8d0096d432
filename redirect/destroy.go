package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Messages of sock_diag(7), from include/uapi/linux/sock_diag.h and inet_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	diagCgroupID     = 21 // INET_DIAG_CGROUP_ID, since 5.8
	diagRequestLen   = 56 // struct inet_diag_req_v2
	diagMessageLen   = 72 // struct inet_diag_msg
	diagIDOffset     = 4  // of the struct inet_diag_sockid in the message
	diagIDLen        = 48
	diagInode        = 68
	tcpClose         = 7
	tcpListen        = 10
)

// A diagSocket is one row of the kernel's answer.
type diagSocket struct {
	family byte
	id     [diagIDLen]byte
	peer   netip.AddrPort
	inode  uint32
	cgroup uint64
}

// destroy resets the connections that c and its processes have to endpoints, in each of
// their namespaces. It returns how many.
func (k *Kernel) destroy(c cgroup) (int, error) {
	cgroups := map[uint64]bool{}
	if err := c.subtree(func(_ string, id uint64) { cgroups[id] = true }); err != nil {
		return 0, err
	}
	pids, err := c.processes()
	if err != nil {
		return 0, err
	}
	inodes, namespaces := map[uint32]bool{}, map[string]int{}
	for _, pid := range pids {
		socketsOf(pid, inodes)
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
			namespaces[ns] = pid
		}
	}
	match := func(s diagSocket) bool {
		return (cgroups[s.cgroup] || inodes[s.inode]) && k.captures(s.peer)
	}
	var total int
	for _, pid := range namespaces {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			continue // it ended, and its sockets with it
		}
		err = inNamespace(ns, func() error {
			n, err := destroyHere(match)
			total += n
			return err
		})
		ns.Close()
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// socketsOf adds the inodes of the sockets that a process holds.
func socketsOf(pid int, inodes map[uint32]bool) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || !strings.HasPrefix(target, "socket:[") {
			continue
		}
		var inode uint32
		if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err == nil {
			inodes[inode] = true
		}
	}
}

// captures asks the kernel's table whether an address is an endpoint.
func (k *Kernel) captures(peer netip.AddrPort) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return true
	}
	set, err := k.endpointSet()
	if err != nil {
		return true
	}
	defer set.Close()
	var verdict uint32
	key := destination(netip.PrefixFrom(peer.Addr(), peer.Addr().BitLen()), peer.Port())
	return set.Lookup(&key, &verdict) == nil && verdict == verdictCapture
}

// destroyHere resets the matching TCP sockets of this thread's namespace.
func destroyHere(match func(diagSocket) bool) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	var n int
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		sockets, err := dump(fd, family)
		if err != nil {
			return n, err
		}
		for _, s := range sockets {
			if !match(s) {
				continue
			}
			request := diagRequest(sockDestroy, unix.NLM_F_REQUEST|unix.NLM_F_ACK, s.family)
			copy(request[unix.NLMSG_HDRLEN+8:], s.id[:])
			if err := unix.Send(fd, request, 0); err != nil {
				return n, fmt.Errorf("sock_destroy: %w", err)
			}
			switch err := answers(fd, nil); {
			case err == nil:
				n++
			case errors.Is(err, unix.ENOENT): // closed meanwhile
			default:
				return n, fmt.Errorf("sock_destroy: %w", err)
			}
		}
	}
	return n, nil
}

// dump lists the TCP sockets of a family that have a peer.
func dump(fd int, family byte) ([]diagSocket, error) {
	request := diagRequest(sockDiagByFamily, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, family)
	binary.NativeEndian.PutUint32(request[unix.NLMSG_HDRLEN+4:], ^uint32(1<<tcpListen|1<<tcpClose))
	if err := unix.Send(fd, request, 0); err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	var sockets []diagSocket
	err := answers(fd, func(b []byte) {
		if s, ok := parseDiag(b); ok {
			sockets = append(sockets, s)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	return sockets, nil
}

func diagRequest(kind, flags uint16, family byte) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+diagRequestLen)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	b[unix.NLMSG_HDRLEN], b[unix.NLMSG_HDRLEN+1] = family, unix.IPPROTO_TCP
	return b
}

// answers reads until the kernel says that it is done, or acknowledges.
func answers(fd int, each func([]byte)) error {
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			return err
		}
		for b := buffer[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.NLMSG_HDRLEN || length > len(b) {
				return errors.New("malformed answer")
			}
			body := b[unix.NLMSG_HDRLEN:length]
			switch binary.NativeEndian.Uint16(b[4:]) {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return errors.New("malformed answer")
				}
				if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
					return unix.Errno(-code)
				}
				return nil
			default:
				if each != nil {
					each(body)
				}
			}
			b = b[min(len(b), (length+3)&^3):]
		}
	}
}

func parseDiag(b []byte) (s diagSocket, ok bool) {
	if len(b) < diagMessageLen {
		return s, false
	}
	s.family = b[0]
	copy(s.id[:], b[diagIDOffset:])
	port := binary.BigEndian.Uint16(s.id[2:])
	if s.family == unix.AF_INET {
		s.peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte(s.id[20:24])), port)
	} else {
		s.peer = netip.AddrPortFrom(netip.AddrFrom16([16]byte(s.id[20:36])).Unmap(), port)
	}
	s.inode = binary.NativeEndian.Uint32(b[diagInode:])
	for b = b[diagMessageLen:]; len(b) >= 4; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < 4 || length > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:]) == diagCgroupID && length >= 12 {
			s.cgroup = binary.NativeEndian.Uint64(b[4:])
		}
		b = b[min(len(b), (length+3)&^3):]
	}
	return s, true
}
