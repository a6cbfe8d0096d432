package redirect_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

func ptr[T any](v *T) unsafe.Pointer { return unsafe.Pointer(v) }

// packetAct: packet INDEX MAC FROM TO [HOW OWN-MAC] sends a SYN by AF_PACKET and waits for an answer.
func packetAct(a []string) string {
	index := atoi(a[0])
	mac, err := net.ParseMAC(a[1])
	if err != nil {
		return err.Error()
	}
	from, to := netip.MustParseAddrPort(a[2]), netip.MustParseAddrPort(a[3])
	kind, protocol, packet := uint16(unix.ETH_P_IP), uint16(0), syn4(from, to)
	if from.Addr().Is6() {
		kind, packet = unix.ETH_P_IPV6, syn6(from, to)
	}
	protocol = kind<<8 | kind>>8
	how := append(a, "dgram")[4]
	sort := unix.SOCK_DGRAM
	if how != "dgram" {
		sort = unix.SOCK_RAW
		own, err := net.ParseMAC(a[5])
		if err != nil {
			return err.Error()
		}
		frame := append(append([]byte{}, mac...), own...)
		if how == "vlan" { // a tag of priority only: the receiver takes it off
			frame = append(frame, 0x81, 0, 0, 0)
		}
		packet = append(binary.BigEndian.AppendUint16(frame, kind), packet...)
	}
	fd, err := unix.Socket(unix.AF_PACKET, sort, int(protocol))
	if err != nil {
		return errno(err)
	}
	defer unix.Close(fd)
	if how == "bypass" {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return errno(err)
		}
	}
	sa := &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index, Halen: 6}
	copy(sa.Addr[:], mac)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	b := make([]byte, 2000)
	for range 5 { // the neighbours must find each other first
		if err := unix.Sendto(fd, packet, 0, sa); err != nil {
			return errno(err)
		}
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			continue
		}
		skip := 20
		if kind == unix.ETH_P_IPV6 {
			skip = 40
		}
		if how != "dgram" {
			skip += 14
		}
		tcp := b[min(n, skip):n]
		if len(tcp) >= 20 && binary.BigEndian.Uint16(tcp) == to.Port() && tcp[13]&0x12 == 0x12 {
			return "LEAKED"
		}
	}
	return "silence"
}

func tcpSYN(from, to netip.AddrPort) []byte {
	t := make([]byte, 20)
	binary.BigEndian.PutUint16(t, from.Port())
	binary.BigEndian.PutUint16(t[2:], to.Port())
	binary.BigEndian.PutUint32(t[4:], 1)
	t[12], t[13] = 5<<4, 2
	binary.BigEndian.PutUint16(t[14:], 1000)
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()
	pseudo := append(append([]byte{}, src...), dst...)
	pseudo = append(pseudo, 0, 6, 0, 20)
	binary.BigEndian.PutUint16(t[16:], checksum(append(pseudo, t...)))
	return t
}

func syn4(from, to netip.AddrPort) []byte {
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], 40)
	copy(ip[12:], from.Addr().AsSlice())
	copy(ip[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(ip, tcpSYN(from, to)...)
}

// syn6 hides the SYN behind a destination option.
func syn6(from, to netip.AddrPort) []byte {
	ip := make([]byte, 48)
	ip[0], ip[6], ip[7] = 0x60, 60, 64
	binary.BigEndian.PutUint16(ip[4:], 28)
	copy(ip[8:], from.Addr().AsSlice())
	copy(ip[24:], to.Addr().AsSlice())
	copy(ip[40:], []byte{6, 0, 1, 4, 0, 0, 0, 0}) // next: TCP; PadN
	return append(ip, tcpSYN(from, to)...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// srhAct: srh VIA LAST sends a datagram with a segment routing header, which needs no
// capability.
func srhAct(a []string) string {
	via, last := netip.MustParseAddrPort(a[0]), netip.MustParseAddr(a[1])
	fd := socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	defer unix.Close(fd)
	header := make([]byte, 8+32)
	header[1], header[2], header[3], header[4] = 4, 4, 1, 1
	l, v := last.As16(), via.Addr().As16()
	copy(header[8:], l[:])
	copy(header[24:], v[:])
	if err := unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_RTHDR, string(header)); err != nil {
		return "setsockopt: " + errno(err)
	}
	sa, _ := sockaddr(via.String())
	return errno2(unix.Sendto(fd, []byte("x"), 0, sa))
}
