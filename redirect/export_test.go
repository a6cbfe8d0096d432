package redirect

import (
	"net/netip"

	"sluicegate.io/sluice/bpf"
)

// FillHandovers leaves no room in the table of handovers; the result makes room again.
func (k *Kernel) FillHandovers() (undo func(), err error) {
	m := k.maps[bpf.SluiceMapHandovers]
	n := uint64(0)
	for ; ; n++ {
		key := bpf.SluiceTuple{Netns: 1<<63 + n}
		if err := m.Put(&key, &bpf.SluiceHandover{}); err != nil {
			break
		}
	}
	return func() {
		for ; n > 0; n-- {
			m.Delete(&bpf.SluiceTuple{Netns: 1<<63 + n - 1})
		}
	}, nil
}

// RedirectAddress is where IPv4 connections to one destination are sent.
func (k *Kernel) RedirectAddress() netip.AddrPort {
	w := words(netip.AddrFrom4([4]byte{}))
	w[3] = k.setting.Net
	a := address(w).As4()
	a[3] = 9
	return netip.AddrPortFrom(netip.AddrFrom4(a), k.setting.Port)
}

// Detach removes one pin, as somebody with access to the bpffs could.
func (k *Kernel) LinkPin(name string) string { return k.pins.link(name) }
