package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// packets sends SYNs that no socket connects, as frames (AF_PACKET) and as IP packets with
// their own header (IPPROTO_RAW), and prints what changes: "answered" by a SYN-ACK, "silence",
// or "refused" if no such socket is to be had.
func packets(to string) {
	dst, err := netip.ParseAddrPort(to)
	if err != nil {
		fmt.Println(err)
		return
	}
	frames, _ := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(swap(unix.ETH_P_IP))) // -1: not to be had
	raw, _ := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	seen, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil || frames < 0 && raw < 0 {
		fmt.Println("refused")
		time.Sleep(time.Hour)
	}
	unix.SetsockoptTimeval(seen, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	was := ""
	for port := uint16(40000); port < 50000; port += 4 {
		// The kernel finds out who the next hop is when it is sent something, on another port.
		if c, err := net.Dial("udp", netip.AddrPortFrom(dst.Addr(), 9).String()); err == nil {
			c.Write([]byte("x"))
			c.Close()
		}
		time.Sleep(100 * time.Millisecond)
		src, link, hop, err := way()
		if err != nil {
			fmt.Println(err)
			return
		}
		for p := port; p < port+4; p++ {
			s := syn(src, dst, p)
			if p%2 == 0 {
				unix.Sendto(frames, s, 0, &unix.SockaddrLinklayer{Protocol: swap(unix.ETH_P_IP), Ifindex: link, Halen: 6, Addr: hop})
			} else {
				unix.Sendto(raw, s, 0, &unix.SockaddrInet4{Addr: dst.Addr().As4()})
			}
		}
		now := "silence"
		if answered(seen, dst.Port(), port) {
			now = "answered"
		}
		if now != was {
			was = now
			fmt.Println(now)
		}
	}
}

// answered reports whether a SYN-ACK comes within a second, for one of four ports.
func answered(seen int, from, to uint16) bool {
	b := make([]byte, 1500)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(seen, b, 0)
		if err != nil || n < 40 || b[9] != unix.IPPROTO_TCP {
			continue
		}
		tcp := b[int(b[0]&15)*4 : n]
		if len(tcp) >= 20 && binary.BigEndian.Uint16(tcp) == from && binary.BigEndian.Uint16(tcp[2:])&^3 == to && tcp[13]&0x12 == 0x12 {
			return true
		}
	}
	return false
}

func swap(v uint16) uint16 { return v<<8 | v>>8 }

// way returns the address, the interface and the next hop's link address of the default route.
func way() (src [4]byte, link int, hop [8]byte, err error) {
	route, err := table("/proc/net/route", func(f []string) bool { return f[1] == "00000000" })
	if err != nil {
		return src, 0, hop, err
	}
	i, err := net.InterfaceByName(route[0])
	if err != nil {
		return src, 0, hop, err
	}
	all, err := i.Addrs()
	if err != nil {
		return src, 0, hop, err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			copy(src[:], n.IP.To4())
		}
	}
	g, err := hex.DecodeString(route[2])
	if err != nil || len(g) != 4 {
		return src, 0, hop, fmt.Errorf("gateway %q", route[2])
	}
	gateway := net.IPv4(g[3], g[2], g[1], g[0]).String()
	arp, err := table("/proc/net/arp", func(f []string) bool { return f[0] == gateway })
	if err != nil {
		return src, 0, hop, err
	}
	mac, err := net.ParseMAC(arp[3])
	if err != nil {
		return src, 0, hop, err
	}
	copy(hop[:], mac)
	return src, i.Index, hop, nil
}

// table returns the fields of a line of a file.
func table(name string, is func(fields []string) bool) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 5 && is(fields) {
			return fields, nil
		}
	}
	return nil, fmt.Errorf("%s has no such line", name)
}

// syn is an IPv4 packet (RFC 791) with a SYN (RFC 9293) and nothing else.
func syn(src [4]byte, dst netip.AddrPort, port uint16) []byte {
	p := make([]byte, 40)
	to := dst.Addr().As4()
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(p[2:], 40)
	copy(p[12:], src[:])
	copy(p[16:], to[:])
	binary.BigEndian.PutUint16(p[10:], sum(p[:20], 0))
	tcp := p[20:]
	binary.BigEndian.PutUint16(tcp, port)
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], 1)
	tcp[12], tcp[13] = 5<<4, 0x02
	binary.BigEndian.PutUint16(tcp[14:], 64000)
	pseudo := append(append([]byte{}, p[12:20]...), 0, unix.IPPROTO_TCP, 0, 20)
	binary.BigEndian.PutUint16(tcp[16:], sum(append(pseudo, tcp...), 0))
	return p
}

// sum is the checksum of RFC 1071.
func sum(b []byte, s uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}
