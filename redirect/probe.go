package redirect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"unicode"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// A Level says how bad a [Finding] is.
type Level int

// Levels, worst first: the zero value is the one that stops.
const (
	Fatal    Level = iota // redirection cannot run here
	Degraded              // it runs, and something is weaker or missing
	Good
)

// String names the level as `sluice doctor` prints it.
func (l Level) String() string {
	switch l {
	case Good:
		return "ok"
	case Degraded:
		return "degraded"
	}
	return "missing"
}

// A Finding is one line of what this host can do.
type Finding struct {
	Name  string // "kernel", "btf", "program sk_lookup", …
	Level Level
	Text  string // what was found, and what follows from it
}

// Probe finds out what this kernel and host offer. It changes nothing, and it needs
// the capabilities that the agent needs.
func Probe() []Finding {
	found := []Finding{probeKernel(), probeBTF(), probeCapabilities(), probeCgroup(), probeBPFFS(), probeCookie()}
	if err := rlimit.RemoveMemlock(); err != nil {
		return append(found, Finding{"programs", Fatal, "not looked at: this process may load none: " + err.Error()})
	}
	for _, p := range programs {
		found = append(found, p.probe())
	}
	for _, m := range tables {
		found = append(found, finding("map "+m.name, Fatal, "", features.HaveMapType(m.kind)))
	}
	for _, h := range helpers {
		found = append(found, h.probe())
	}
	return append(found, probeBorn(), probeTCX(), probeUnix(), probeUnixGuard(), probeDestroy(), probeMPTCP(), probeTransports())
}

func finding(name string, missing Level, without string, err error) Finding {
	if without == "" && missing == Fatal {
		without = "nothing can be redirected"
	}
	switch {
	case err == nil:
		return Finding{name, Good, "available"}
	case errors.Is(err, ebpf.ErrNotSupported):
		return Finding{name, missing, strings.TrimSuffix("not in this kernel: "+without, ": ")}
	}
	return Finding{name, missing, "could not be probed: " + err.Error()}
}

func probeKernel() Finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Finding{"kernel", Fatal, err.Error()}
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return Finding{"kernel", Fatal, release + " is no version"}
	}
	switch v := major*1000 + minor; {
	case v < 5010:
		return Finding{"kernel", Fatal, release + " is older than 5.15"}
	case v < 5015:
		return Finding{"kernel", Fatal, release + " is older than 5.15: it has no SO_NETNS_COOKIE and no cookie in sockops, and mixes up cgroups when net_cls or net_prio is mounted"}
	case v < 6001:
		return Finding{"kernel", Degraded, release + ": refused connections see EPERM instead of ECONNREFUSED (6.1)"}
	case v < 6006:
		return Finding{"kernel", Degraded, release + ": the guard on veths uses clsact instead of tcx (6.6)"}
	}
	return Finding{"kernel", Good, release}
}

func probeBTF() Finding {
	if _, err := btf.LoadKernelSpec(); err != nil {
		return Finding{"btf", Fatal, "no type information of the kernel (CONFIG_DEBUG_INFO_BTF): " + err.Error()}
	}
	return Finding{"btf", Good, "/sys/kernel/btf/vmlinux"}
}

// needed are the capabilities of the agent, by their number.
var needed = []struct {
	bit  int
	name string
}{
	{12, "CAP_NET_ADMIN"}, {21, "CAP_SYS_ADMIN"}, {19, "CAP_SYS_PTRACE"}, {1, "CAP_DAC_OVERRIDE"}, {2, "CAP_DAC_READ_SEARCH"},
	{39, "CAP_BPF"}, {38, "CAP_PERFMON"},
	// The proxy gets an account of its own, and is ended by the redirector.
	{0, "CAP_CHOWN"}, {5, "CAP_KILL"}, {6, "CAP_SETGID"}, {7, "CAP_SETUID"}, {8, "CAP_SETPCAP"},
}

func probeCapabilities() Finding {
	caps, err := effective("self")
	if err != nil {
		return Finding{"capabilities", Fatal, err.Error()}
	}
	var missing []string
	for _, n := range needed {
		if caps&(1<<n.bit) == 0 {
			missing = append(missing, n.name)
		}
	}
	if len(missing) > 0 {
		return Finding{"capabilities", Fatal, "this process lacks " + strings.Join(missing, ", ") + ": run it as root of the host"}
	}
	return Finding{"capabilities", Good, "all that the agent needs"}
}

func probeCgroup() Finding {
	mounts, err := hierarchies()
	if err != nil || len(mounts) == 0 {
		return Finding{"cgroup2", Fatal, "no cgroup2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup"}
	}
	for _, m := range mounts {
		id, err := CgroupID(m)
		if err != nil {
			continue
		}
		if level, err := levelOf(id); err == nil && level > 0 {
			return Finding{"cgroup2", Good, m + ", of a node that is a container itself"}
		} else if err == nil {
			return Finding{"cgroup2", Good, m}
		}
	}
	return Finding{"cgroup2", Fatal, "the root of the hierarchy is not visible here: this is a container with a cgroup namespace of its own, and needs that of the host"}
}

func probeBPFFS() Finding {
	var st unix.Statfs_t
	if err := unix.Statfs(defaultBPFFS, &st); err != nil {
		return Finding{"bpffs", Fatal, defaultBPFFS + ": " + err.Error()}
	}
	if st.Type != unix.BPF_FS_MAGIC {
		return Finding{"bpffs", Good, "not mounted at " + defaultBPFFS + "; it will be"}
	}
	return Finding{"bpffs", Good, defaultBPFFS}
}

func probeCookie() Finding {
	if _, err := NetnsCookie(nil); err != nil {
		return Finding{"SO_NETNS_COOKIE", Fatal, "since 5.14: " + err.Error()}
	}
	return Finding{"SO_NETNS_COOKIE", Good, "available"}
}

// A programProbe asks for a program of a type that is attached in one way.
type programProbe struct {
	name    string
	kind    ebpf.ProgramType
	missing Level
	without string
}

var programs = []programProbe{
	{"program sock_create", ebpf.CGroupSock, Fatal, ""},
	{"program sock_addr", ebpf.CGroupSockAddr, Fatal, ""},
	{"program sockops", ebpf.SockOps, Fatal, ""},
	{"program sk_lookup", ebpf.SkLookup, Fatal, "since 5.9"},
	{"program cgroup_skb", ebpf.CGroupSKB, Fatal, ""},
	{"program tc", ebpf.SchedCLS, Degraded, "no guard on veths: CAP_NET_RAW is a way around"},
}

func (p programProbe) probe() Finding {
	return finding(p.name, p.missing, p.without, features.HaveProgramType(p.kind))
}

// tables are map types, by the kernel's names.
var tables = []struct {
	name string
	kind ebpf.MapType
}{
	{"hash", ebpf.Hash}, {"array", ebpf.Array}, {"percpu_array", ebpf.PerCPUArray}, {"array_of_maps", ebpf.ArrayOfMaps},
	{"lpm_trie", ebpf.LPMTrie}, {"sk_storage", ebpf.SkStorage}, {"sockmap", ebpf.SockMap},
}

type helperProbe struct {
	where   string
	kind    ebpf.ProgramType
	fn      asm.BuiltinFunc
	missing Level
	without string
}

var helpers = []helperProbe{
	{"sock_create", ebpf.CGroupSock, asm.FnSkStorageGet, Fatal, ""},
	{"sock_create", ebpf.CGroupSock, asm.FnGetCurrentAncestorCgroupId, Fatal, ""},
	{"connect", ebpf.CGroupSockAddr, asm.FnSkStorageGet, Fatal, ""},
	{"connect", ebpf.CGroupSockAddr, asm.FnSkStorageDelete, Fatal, ""},
	{"connect", ebpf.CGroupSockAddr, asm.FnGetNetnsCookie, Fatal, ""},
	{"connect", ebpf.CGroupSockAddr, asm.FnGetCurrentAncestorCgroupId, Fatal, ""},
	{"connect", ebpf.CGroupSockAddr, asm.FnGetCurrentUidGid, Fatal, ""},
	{"connect", ebpf.CGroupSockAddr, asm.FnSkcToTcpSock, Fatal, "since 5.10"},
	{"connect", ebpf.CGroupSockAddr, asm.FnKtimeGetBootNs, Fatal, ""},
	{"connect", ebpf.CGroupSockAddr, asm.FnSetRetval, Degraded, "refused connections see EPERM"},
	{"connect", ebpf.CGroupSockAddr, asm.FnGetCurrentPidTgid, Degraded, "records lack the process"},
	{"connect", ebpf.CGroupSockAddr, asm.FnGetCurrentTask, Degraded, "records lack the start time of the process"},
	{"connect", ebpf.CGroupSockAddr, asm.FnProbeReadKernel, Degraded, "records lack the start time of the process"},
	{"sockops", ebpf.SockOps, asm.FnSkStorageGet, Fatal, ""},
	{"sockops", ebpf.SockOps, asm.FnGetNetnsCookie, Fatal, "since 5.15"},
	{"sockops", ebpf.SockOps, asm.FnGetSocketCookie, Fatal, ""},
	{"sk_lookup", ebpf.SkLookup, asm.FnSkAssign, Fatal, ""},
	{"cgroup_skb", ebpf.CGroupSKB, asm.FnSkbAncestorCgroupId, Fatal, ""},
	{"tc", ebpf.SchedCLS, asm.FnSkbAncestorCgroupId, Degraded, "no guard on veths"},
}

func (h helperProbe) probe() Finding {
	name := fmt.Sprintf("helper %s in %s", kernelName(h.fn), h.where)
	return finding(name, h.missing, h.without, haveHelper(h.kind, h.fn))
}

// kernelName gives the name that bpf-helpers(7) has for a helper: that of FnSkAssign is
// bpf_sk_assign.
func kernelName(fn asm.BuiltinFunc) string {
	var b strings.Builder
	b.WriteString("bpf")
	for _, r := range strings.TrimPrefix(fn.String(), "Fn") {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// probeTCX asks what is attached to a hook that came with 6.6: older kernels don't know
// the question.
func probeTCX() Finding {
	lo, err := net.InterfaceByName("lo")
	if err == nil {
		_, err = link.QueryPrograms(link.QueryOptions{Target: lo.Index, Attach: ebpf.AttachTCXIngress})
	}
	if err != nil {
		return Finding{"tcx", Degraded, "not in this kernel (6.6): the guard on veths uses clsact"}
	}
	return Finding{"tcx", Good, "available"}
}

// probeBorn loads a program for the tracepoint that tells of new cgroups.
func probeBorn() Finding {
	const name = "tracepoint cgroup_mkdir"
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "cgroup_mkdir", License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return Finding{name, Degraded, "not for programs in this kernel (CONFIG_BPF_EVENTS): the daemon needs a parent cgroup of its own (`cgroup` of kind Agent), where a workload that is started again is refused until it is enrolled"}
	}
	p.Close()
	return Finding{name, Good, "available: a workload that is started again is enrolled before it runs"}
}

func probeUnix() Finding {
	if !hasUnix() {
		return Finding{"program connect_unix", Degraded, "not in this kernel (6.7): a configuration with unix sockets as endpoints is refused"}
	}
	return Finding{"program connect_unix", Good, "available: unix sockets can be endpoints, and abstract names are enforced"}
}

// probeUnixGuard loads the program that sees which unix socket was found.
func probeUnixGuard() Finding {
	const name = "fmod_ret unix_stream_connect"
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachModifyReturn, AttachTo: "security_unix_stream_connect", License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return Finding{name, Degraded, "not allowed in this kernel: endpoints that are paths of unix sockets are redirected by name, and not enforced"}
	}
	p.Close()
	if !hasUnix() {
		return Finding{name, Good, "available, and of no use without connect_unix"}
	}
	return Finding{name, Good, "available: paths of unix sockets are enforced, whatever name leads there"}
}

func probeDestroy() Finding {
	_, err := destroyHere(func(diagSocket) bool { return false })
	if err != nil {
		return Finding{"sock_diag", Degraded, "connections of a running workload cannot be destroyed; only its packets are dropped: " + err.Error()}
	}
	return Finding{"sock_diag", Good, "connections can be listed; destroying them also needs CONFIG_INET_DIAG_DESTROY"}
}

func probeMPTCP() Finding {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		return Finding{"mptcp", Good, "not in this kernel, so workloads cannot use it"}
	}
	unix.Close(fd)
	return Finding{"mptcp", Good, "redirected as TCP; getpeername shows the redirect address there"}
}

// transports are protocols that no hook of ours sees.
var transports = []string{"SCTP", "SMC", "RDS", "TIPC", "DCCP"}

// Unsupported returns what stops redirection on this host, one sentence each; nil if
// nothing does. It is slow: ask when something has failed.
func Unsupported() []string {
	var all []string
	for _, f := range Probe() {
		if f.Level == Fatal {
			all = append(all, f.Name+": "+f.Text)
		}
	}
	return all
}

func probeTransports() Finding {
	if found := loadedTransports(); len(found) > 0 {
		return Finding{"transports", Degraded, "loaded, and not seen by the redirect: " + strings.Join(found, ", ") + "; SCTP and DCCP sockets are refused to workloads, the others need seccomp or LSM"}
	}
	return Finding{"transports", Good, "no SCTP, SMC, RDS, TIPC or DCCP"}
}

func loadedTransports() []string {
	data, err := os.ReadFile("/proc/net/protocols")
	if err != nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		name, _, _ := strings.Cut(line, " ")
		for _, t := range transports {
			if strings.HasPrefix(name, t) {
				found = append(found, name)
			}
		}
	}
	return found
}
