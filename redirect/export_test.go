package redirect

import (
	"net/netip"

	"sluicegate.io/sluice/bpf"
)

// FillHandovers leaves no room in the table of handovers; the result makes room again.
func (k *Kernel) FillHandovers() (undo func(), err error) {
	m := k.maps[bpf.SluiceMapHandovers]
	keys := make([]bpf.SluiceTuple, m.MaxEntries())
	for i := range keys {
		keys[i].Netns = 1<<63 + uint64(i)
	}
	if _, err := m.BatchUpdate(keys, make([]bpf.SluiceHandover, len(keys)), nil); err != nil {
		return nil, err
	}
	return func() { m.BatchDelete(keys, nil) }, nil
}

// RedirectAddress is where IPv4 connections to one destination are sent.
func (k *Kernel) RedirectAddress() netip.AddrPort {
	w := words(netip.AddrFrom4([4]byte{}))
	w[3] = k.setting.Net
	a := address(w).As4()
	a[3] = 9
	return netip.AddrPortFrom(netip.AddrFrom4(a), k.setting.Port)
}

// Agents has the cgroups of agents whose connections to endpoints are let through.
func (k *Kernel) Agents() ([]uint64, error) {
	all, err := k.agents()
	ids := make([]uint64, len(all))
	for i, a := range all {
		ids[i] = a.Id
	}
	return ids, err
}

// Detach removes one pin, as somebody with access to the bpffs could.
func (k *Kernel) LinkPin(name string) string { return k.pins.link(name) }

// Name is the abstract name that the agent listens on.
func (l *UnixListener) Name() string { return l.socket.Name() }

// Abandon closes the socket as the death of the agent does: the kernel is not told.
func (l *UnixListener) Abandon() { l.socket.Close() }
