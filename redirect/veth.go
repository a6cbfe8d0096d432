package redirect

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/bpf"
)

const (
	tcxPrefix    = "veth-"      // a pinned link of tcx; the index of the interface follows
	clsactPrefix = "veth-prog-" // a pinned program, held by a filter of clsact
	filterName   = "sluice_veth"
)

// GuardVeths attaches a guard to the host's end of each veth of netns, so that packets
// which no socket hook sees (AF_PACKET, forwarded ones) cannot reach an endpoint: only
// the agent's own can. It returns the names of the guarded links; none means that netns
// has no veth whose other end is in this process's namespace.
func (k *Kernel) GuardVeths(netns *os.File) ([]string, error) {
	peers, err := hostEnds(netns)
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return nil, fmt.Errorf("guard: %w", ErrClosed)
	}
	if len(peers) == 0 {
		return nil, nil
	}
	p, err := k.loadOne(bpf.SluiceProgSluiceVeth, nil)
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	defer p.Close()
	var names []string
	for _, l := range peers {
		if err := k.guard(l, p); err != nil {
			return names, fmt.Errorf("guard %s: %w", l.Attrs().Name, err)
		}
		names = append(names, l.Attrs().Name)
	}
	return names, nil
}

// hostEnds finds the links of this process's namespace that are peers of netns's veths.
func hostEnds(netns *os.File) ([]netlink.Link, error) {
	inside := map[int]int{} // index there, index here
	err := inNamespace(netns, func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if l.Type() == "veth" {
				inside[l.Attrs().Index] = l.Attrs().ParentIndex
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	// Who has the network may choose indexes: those of a neighbour's veth, too. The ids of
	// namespaces are given out while links are listed.
	id, err := namespaceID(netns)
	if err != nil {
		return nil, err
	}
	var found []netlink.Link
	for _, l := range links {
		a := l.Attrs()
		// The indexes must point at each other, and across namespaces.
		if l.Type() == "veth" && a.NetNsID == id && id >= 0 && inside[a.ParentIndex] == a.Index {
			found = append(found, l)
		}
	}
	return found, nil
}

// namespaceID gives the id that this process's namespace has for netns, -1 if none: no
// link leads there.
func namespaceID(netns *os.File) (int, error) {
	if netns == nil {
		return -1, nil
	}
	id, err := netlink.GetNetNsIdByFd(int(netns.Fd()))
	if err != nil {
		return -1, fmt.Errorf("id of the namespace: %w", err)
	}
	return id, nil
}

// guard attaches p to one link: by tcx, or by clsact where the kernel is older.
func (k *Kernel) guard(l netlink.Link, p *ebpf.Program) error {
	index := l.Attrs().Index
	pin := k.pins.link(tcxPrefix + strconv.Itoa(index))
	if old, err := link.LoadPinnedLink(pin, nil); err == nil {
		defer old.Close()
		info, err := old.Info()
		if err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == index {
			return old.Update(p)
		}
		if err := os.Remove(pin); err != nil {
			return err
		}
	}
	t, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: ebpf.AttachTCXIngress})
	if err == nil {
		defer t.Close()
		return t.Pin(pin)
	}
	if !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return k.guardClsact(index, p)
}

func (k *Kernel) guardClsact(index int, p *ebpf.Program) error {
	qdisc := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("clsact: %w", err)
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1,
		},
		Fd: p.FD(), Name: filterName, DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		return fmt.Errorf("clsact filter: %w", err)
	}
	pin := k.pins.link(clsactPrefix + strconv.Itoa(index))
	os.Remove(pin)
	return p.Pin(pin)
}

// detachVeths removes the filters that links does not hold; links go with their pins.
func detachVeths(links string, log *slog.Logger) {
	entries, err := os.ReadDir(links)
	if err != nil {
		return
	}
	for _, e := range entries {
		number, is := strings.CutPrefix(e.Name(), clsactPrefix)
		index, err := strconv.Atoi(number)
		if !is || err != nil {
			continue
		}
		l, err := netlink.LinkByIndex(index)
		if err != nil {
			continue // gone, and the filter with it
		}
		filters, err := netlink.FilterList(l, netlink.HANDLE_MIN_INGRESS)
		if err != nil {
			log.Warn("clsact filters", "link", index, "err", err)
			continue
		}
		for _, f := range filters {
			if b, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(b.Name, filterName) {
				if err := netlink.FilterDel(f); err != nil {
					log.Warn("remove clsact filter", "link", index, "err", err)
				}
			}
		}
	}
}

// UnguardVeths takes the guards of netns's veths away again, and those of links that are
// gone.
func (k *Kernel) UnguardVeths(netns *os.File) error {
	peers, err := hostEnds(netns)
	if err != nil {
		return fmt.Errorf("unguard: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return fmt.Errorf("unguard: %w", ErrClosed)
	}
	var failed error
	for _, l := range peers {
		failed = errors.Join(failed, k.unguard(l.Attrs().Index))
	}
	links := filepath.Dir(k.pins.link(tcxPrefix))
	entries, err := os.ReadDir(links)
	if err != nil {
		return errors.Join(failed, fmt.Errorf("unguard: %w", err))
	}
	for _, e := range entries {
		number, is := strings.CutPrefix(e.Name(), tcxPrefix)
		number = strings.TrimPrefix(number, strings.TrimPrefix(clsactPrefix, tcxPrefix))
		index, err := strconv.Atoi(number)
		if !is || err != nil {
			continue
		}
		if _, err := netlink.LinkByIndex(index); errors.As(err, &netlink.LinkNotFoundError{}) {
			failed = errors.Join(failed, k.unguard(index))
		}
	}
	return failed
}

// unguard removes the guard of one link, which may be gone.
func (k *Kernel) unguard(index int) error {
	number := strconv.Itoa(index)
	var failed error
	if l, err := netlink.LinkByIndex(index); err == nil {
		if filters, err := netlink.FilterList(l, netlink.HANDLE_MIN_INGRESS); err == nil {
			for _, f := range filters {
				if b, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(b.Name, filterName) {
					failed = errors.Join(failed, netlink.FilterDel(f))
				}
			}
		}
	}
	for _, name := range []string{tcxPrefix + number, clsactPrefix + number} {
		if err := os.Remove(k.pins.link(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
