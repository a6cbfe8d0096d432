package redirect

import "errors"

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
}

// Stats reads the counters and how full the tables are.
func (k *Kernel) Stats() (Stats, error) { return Stats{}, errors.ErrUnsupported }
