package redirect

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/bpf"
)

// An Endpoint is a set of destinations that is captured. A name is captured by its
// port: as 0.0.0.0/0 and ::/0, and decided by the destination of the accepted
// connection. A prefix that contains loopback and more does not capture loopback,
// unless another endpoint lists it.
type Endpoint struct {
	Prefix netip.Prefix
	Port   uint16 // never 0
}

// Verdicts of an entry, as bpf/types.h has them.
const (
	verdictPass    uint32 = 0
	verdictCapture uint32 = 1
)

var loopbacks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// SetEndpoints replaces what is captured, at one instant as seen by workloads.
func (k *Kernel) SetEndpoints(endpoints []Endpoint) error {
	entries, err := compile(endpoints)
	if err != nil {
		return fmt.Errorf("endpoints: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return fmt.Errorf("endpoints: %w", ErrClosed)
	}
	return k.setFresh(entries)
}

// setFresh fills a new set and puts it in the place of the old one.
func (k *Kernel) setFresh(entries map[bpf.SluiceDestination]uint32) error {
	set, err := ebpf.NewMap(k.spec.Maps[bpf.SluiceMapEndpoints].InnerMap.Copy())
	if err != nil {
		return fmt.Errorf("endpoints: %w", err)
	}
	defer set.Close()
	for key, verdict := range entries {
		if err := set.Put(&key, verdict); err != nil {
			return fmt.Errorf("endpoints: %w", err)
		}
	}
	// The ports are those of both sets while one takes the place of the other.
	var both, ports bpf.SluicePortSet
	if err := k.maps[bpf.SluiceMapPorts].Lookup(uint32(0), &both); err != nil {
		return fmt.Errorf("endpoints: %w", err)
	}
	for key := range entries {
		port := networkPort(key.Port)
		ports.Words[port/64] |= 1 << (port % 64)
		both.Words[port/64] |= 1 << (port % 64)
	}
	if err := k.maps[bpf.SluiceMapPorts].Put(uint32(0), &both); err != nil {
		return fmt.Errorf("endpoints: %w", err)
	}
	if err := k.maps[bpf.SluiceMapEndpoints].Put(uint32(0), set); err != nil {
		return fmt.Errorf("endpoints: %w", err)
	}
	if err := k.maps[bpf.SluiceMapPorts].Put(uint32(0), &ports); err != nil {
		return fmt.Errorf("endpoints: %w", err)
	}
	return nil
}

// compile gives the entries of the table for endpoints.
func compile(endpoints []Endpoint) (map[bpf.SluiceDestination]uint32, error) {
	entries := map[bpf.SluiceDestination]uint32{}
	for _, e := range endpoints {
		if !e.Prefix.IsValid() || e.Port == 0 {
			return nil, fmt.Errorf("%v port %d is no endpoint", e.Prefix, e.Port)
		}
		if e.Prefix.Addr().Is4In6() {
			if e.Prefix.Bits() < 96 {
				return nil, fmt.Errorf("%v: give IPv4 addresses as such", e.Prefix)
			}
			e.Prefix = netip.PrefixFrom(e.Prefix.Addr().Unmap(), e.Prefix.Bits()-96)
		}
		prefix := e.Prefix.Masked()
		entries[destination(prefix, e.Port)] = verdictCapture
		for _, lo := range loopbacks {
			key := destination(lo, e.Port)
			if _, listed := entries[key]; !listed && prefix.Bits() < lo.Bits() && prefix.Overlaps(lo) {
				entries[key] = verdictPass
			}
		}
	}
	return entries, nil
}

// destination makes the key of a prefix and port, as bpf/types.h describes it.
func destination(prefix netip.Prefix, port uint16) bpf.SluiceDestination {
	key := bpf.SluiceDestination{
		Prefixlen: 32 + uint32(prefix.Bits()),
		Port:      networkPort(port),
		Family:    unix.AF_INET6,
	}
	if prefix.Addr().Is4() {
		key.Prefixlen += 96
		key.Family = unix.AF_INET
	}
	key.Address.Word = words(prefix.Addr())
	return key
}

// words gives the kernel's one form of an address.
func words(a netip.Addr) (w [4]uint32) {
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// address is the reverse of words.
func address(w [4]uint32) netip.Addr {
	var b [16]byte
	for i := range w {
		binary.NativeEndian.PutUint32(b[4*i:], w[i])
	}
	return netip.AddrFrom16(b).Unmap()
}

// networkPort turns a port from host to network order, and back. The objects of
// package bpf are little-endian only.
func networkPort(port uint16) uint16 { return bits.ReverseBytes16(port) }

// endpointSet opens the set that is in force. The caller closes it.
func (k *Kernel) endpointSet() (*ebpf.Map, error) {
	var set *ebpf.Map
	if err := k.maps[bpf.SluiceMapEndpoints].Lookup(uint32(0), &set); err != nil {
		return nil, err
	}
	return set, nil
}
