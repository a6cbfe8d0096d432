package redirect

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"sluicegate.io/sluice/bpf"
)

// A ProblemCode names a kind of [Problem].
type ProblemCode string

// What can be wrong with an installation.
const (
	ProblemDetached  ProblemCode = "detached"   // a program is not attached where it was put
	ProblemNoParent  ProblemCode = "no-parent"  // the parent cgroup is gone
	ProblemNotActive ProblemCode = "not-active" // attached, but not among the effective programs
	ProblemStranger  ProblemCode = "stranger"   // somebody else's program can steer our connections
	ProblemNoListen  ProblemCode = "no-listener"
	ProblemNoSteer   ProblemCode = "no-steer" // a namespace lacks its sk_lookup program
	ProblemPressure  ProblemCode = "pressure" // a table is nearly full
	ProblemUnknown   ProblemCode = "unknown"  // the kernel did not answer
)

// A Problem is one way in which the kernel is not as this process left it.
type Problem struct {
	Code  ProblemCode
	Netns uint64 // the cookie of the namespace, or 0
	Text  string // one sentence
}

// Health asks the kernel what it runs. No problem means that every program is
// effective where it belongs and every listener is reachable.
func (k *Kernel) Health() []Problem {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return []Problem{{Code: ProblemUnknown, Text: "The installation is closed."}}
	}
	var problems []Problem
	if id, err := CgroupID(k.parent.path); err != nil || id != k.parent.id {
		problems = append(problems, Problem{Code: ProblemNoParent, Text: "The parent cgroup " + k.parent.path + " is gone or was made again."})
	}
	for _, h := range hooks {
		if k.wanted(h) {
			problems = append(problems, k.check(h)...)
		}
	}
	problems = append(problems, k.checkTraces()...)
	if n, err := k.counter(bpf.SluiceCounterCOUNT_BORN_MISSED); err != nil || n > 0 {
		problems = append(problems, Problem{Code: ProblemPressure, Text: fmt.Sprintf("The table of workloads was full %d times when a cgroup was made that was to be enrolled.", n)})
	}
	problems = append(problems, k.checkPlaces()...)
	for _, name := range []string{bpf.SluiceMapWorkloads, bpf.SluiceMapHandovers, bpf.SluiceMapPlaces} {
		if n, limit := pressure(k.maps[name]); n*10 >= limit*8 {
			problems = append(problems, Problem{Code: ProblemPressure, Text: fmt.Sprintf("The table of %s holds %d of %d entries.", name, n, limit)})
		}
	}
	return problems
}

// check looks at one hook: its link, and whether the kernel runs its program there.
func (k *Kernel) check(h hook) []Problem {
	l, err := link.LoadPinnedLink(k.pins.link(h.program), nil)
	if err != nil {
		return []Problem{{Code: ProblemDetached, Text: "The link of " + h.program + " is not pinned: " + err.Error() + "."}}
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil || info.Cgroup() == nil {
		return []Problem{{Code: ProblemUnknown, Text: "The kernel does not describe the link of " + h.program + "."}}
	}
	at := h.at(k)
	if info.Cgroup().CgroupId != at.id {
		return []Problem{{Code: ProblemDetached, Text: h.program + " is not attached to " + at.path + " any more."}}
	}
	dir, err := os.Open(at.path)
	if err != nil {
		return []Problem{{Code: ProblemUnknown, Text: "The cgroup of " + h.program + " cannot be opened: " + err.Error() + "."}}
	}
	defer dir.Close()
	const effective = 1 // BPF_F_QUERY_EFFECTIVE
	result, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: h.attach, QueryFlags: effective})
	if err != nil {
		return []Problem{{Code: ProblemUnknown, Text: "The kernel does not list the programs at " + at.path + ": " + err.Error() + "."}}
	}
	if !slices.ContainsFunc(result.Programs, func(p link.AttachedProgram) bool { return p.ID == info.Program }) {
		return []Problem{{Code: ProblemNotActive, Text: h.program + " is attached to " + at.path + ", but does not run there."}}
	}
	return nil
}

// checkPlaces looks at each namespace that has a listener.
func (k *Kernel) checkPlaces() []Problem {
	var problems []Problem
	for cookie, l := range k.listeners {
		for i := range l.sockets {
			var socket uint64
			if err := k.maps[bpf.SluiceMapListeners].Lookup(l.slot+uint32(i), &socket); err != nil {
				problems = append(problems, Problem{ProblemNoListen, cookie, "A listener is not in its slot: " + err.Error() + "."})
			}
		}
		if _, err := os.Stat(k.pins.link(lookupPin(cookie))); err != nil {
			problems = append(problems, Problem{ProblemNoSteer, cookie, "The link of sk_lookup is not pinned."})
		}
	}
	entries, err := os.ReadDir(k.pins.links())
	if err != nil {
		return append(problems, Problem{Code: ProblemUnknown, Text: "The pins cannot be listed: " + err.Error() + "."})
	}
	for _, e := range entries {
		number, is := strings.CutPrefix(e.Name(), lookupPrefix)
		cookie, err := strconv.ParseUint(number, 10, 64)
		if is && err == nil {
			problems = append(problems, k.checkLookup(cookie)...)
		}
	}
	return problems
}

// checkLookup looks at the sk_lookup link of one namespace. Other programs there are
// told of, unless they are those of another installation: they could take connections
// for which there is no listener.
func (k *Kernel) checkLookup(cookie uint64) []Problem {
	l, err := link.LoadPinnedLink(k.pins.link(lookupPin(cookie)), nil)
	if err != nil {
		return []Problem{{ProblemNoSteer, cookie, "The link of sk_lookup cannot be opened: " + err.Error() + "."}}
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil || info.NetNs() == nil {
		return []Problem{{ProblemUnknown, cookie, "The kernel does not describe the link of sk_lookup."}}
	}
	if info.NetNs().NetnsInode == 0 {
		return nil // the namespace is gone; the next Listen tidies up
	}
	listener := k.listeners[cookie]
	if listener == nil || listener.netns == nil {
		return nil
	}
	result, err := link.QueryPrograms(link.QueryOptions{Target: int(listener.netns.Fd()), Attach: ebpf.AttachSkLookup})
	if err != nil {
		return []Problem{{ProblemUnknown, cookie, "The kernel does not list the sk_lookup programs: " + err.Error() + "."}}
	}
	var problems []Problem
	active := false
	for _, p := range result.Programs {
		if p.ID == info.Program {
			active = true
		} else if other := tag(p.ID); other != "" && other != tag(info.Program) {
			problems = append(problems, Problem{ProblemStranger, cookie, fmt.Sprintf("Program %d is also attached to sk_lookup and can take connections when the agent is dead.", p.ID)})
		}
	}
	if !active {
		problems = append(problems, Problem{ProblemNoSteer, cookie, "sk_lookup does not run in the namespace."})
	}
	return problems
}

// tag names the instructions of a loaded program, "" if it is gone. Installations of
// one build have the same: what differs between them is in their maps.
func tag(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return ""
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return ""
	}
	return info.Tag
}
