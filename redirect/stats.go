package redirect

import (
	"fmt"

	"github.com/cilium/ebpf"

	"sluicegate.io/sluice/bpf"
)

// Stats counts what the programs did since they were first loaded.
type Stats struct {
	Redirected uint64            // connections steered to a listener
	HandedOver uint64            // origins moved to an accepted socket
	Refused    map[string]uint64 // by reason: a closed set
	Dropped    map[string]uint64 // packets, by guard: "egress", "veth"

	Workloads, WorkloadsMax   int // enrolled cgroups
	Handovers, HandoversMax   int // connections between connect and accept
	Namespaces, NamespacesMax int
	Endpoints                 int
	Born                      uint64 // cgroups that the kernel enrolled as they were made
}

// reasons names the counters of refusals, as the metrics have them.
var reasons = map[bpf.SluiceCounter]string{
	bpf.SluiceCounterCOUNT_REFUSED_STRANGER:    "stranger",
	bpf.SluiceCounterCOUNT_REFUSED_FOREIGN:     "foreign-socket",
	bpf.SluiceCounterCOUNT_REFUSED_DEVICE:      "bound-to-device",
	bpf.SluiceCounterCOUNT_REFUSED_NAMESPACE:   "no-namespace",
	bpf.SluiceCounterCOUNT_REFUSED_FAMILY:      "no-family",
	bpf.SluiceCounterCOUNT_REFUSED_STORAGE:     "no-memory",
	bpf.SluiceCounterCOUNT_REFUSED_DIRECT:      "direct",
	bpf.SluiceCounterCOUNT_REFUSED_PROTOCOL:    "protocol",
	bpf.SluiceCounterCOUNT_REFUSED_SOCKET:      "socket",
	bpf.SluiceCounterCOUNT_REFUSED_NO_ORIGIN:   "no-origin",
	bpf.SluiceCounterCOUNT_REFUSED_NO_LISTENER: "no-listener",
	bpf.SluiceCounterCOUNT_REFUSED_FULL:        "full",
	bpf.SluiceCounterCOUNT_REFUSED_BIND:        "bind",
	bpf.SluiceCounterCOUNT_REFUSED_SQUATTER:    "squatter",
	bpf.SluiceCounterCOUNT_REFUSED_UNIX:        "unix",
	bpf.SluiceCounterCOUNT_REFUSED_UNIX_ALIAS:  "unix-alias",
}

// Stats reads the counters and how full the tables are.
func (k *Kernel) Stats() (Stats, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return Stats{}, fmt.Errorf("stats: %w", ErrClosed)
	}
	s := Stats{Refused: map[string]uint64{}, Dropped: map[string]uint64{}}
	var failed error
	read := func(c bpf.SluiceCounter) uint64 {
		n, err := k.counter(c)
		if err != nil {
			failed = fmt.Errorf("stats: %w", err)
		}
		return n
	}
	s.Redirected = read(bpf.SluiceCounterCOUNT_REDIRECTED)
	s.HandedOver = read(bpf.SluiceCounterCOUNT_HANDED_OVER)
	s.Born = read(bpf.SluiceCounterCOUNT_BORN)
	for c, reason := range reasons {
		s.Refused[reason] = read(c)
	}
	s.Dropped["egress"] = read(bpf.SluiceCounterCOUNT_DROPPED_EGRESS)
	s.Dropped["veth"] = read(bpf.SluiceCounterCOUNT_DROPPED_VETH)
	s.Workloads, s.WorkloadsMax = pressure(k.maps[bpf.SluiceMapWorkloads])
	s.Handovers, s.HandoversMax = pressure(k.maps[bpf.SluiceMapHandovers])
	s.Namespaces, s.NamespacesMax = pressure(k.maps[bpf.SluiceMapPlaces])
	set, err := k.endpointSet()
	if err != nil {
		return s, fmt.Errorf("stats: %w", err)
	}
	defer set.Close()
	s.Endpoints, _ = pressure(set)
	return s, failed
}

// counter sums a counter over all processors. k.mu is held.
func (k *Kernel) counter(c bpf.SluiceCounter) (sum uint64, err error) {
	var each []uint64
	if err := k.maps[bpf.SluiceMapCounters].Lookup(uint32(c), &each); err != nil {
		return 0, err
	}
	for _, n := range each {
		sum += n
	}
	return sum, nil
}

// pressure counts the entries of a table by its keys. The tables are small when all is
// well; a full one costs some milliseconds.
func pressure(m *ebpf.Map) (entries, limit int) {
	limit = int(m.MaxEntries())
	key := make([]byte, m.KeySize())
	next := make([]byte, m.KeySize())
	if m.NextKey(nil, &next) != nil {
		return 0, limit
	}
	for entries = 1; entries < limit; entries++ {
		copy(key, next)
		if m.NextKey(key, &next) != nil {
			break
		}
	}
	return entries, limit
}
