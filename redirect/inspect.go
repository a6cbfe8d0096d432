package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A RiskCode names what breaks the promise that a workload reaches an endpoint only
// through its listener.
type RiskCode string

// Risks, as README.md explains them.
const (
	RiskSysAdmin    RiskCode = "sys-admin"    // CAP_SYS_ADMIN in the initial user namespace
	RiskBPF         RiskCode = "bpf"          // CAP_BPF and CAP_NET_ADMIN there
	RiskNetAdmin    RiskCode = "net-admin"    // CAP_NET_ADMIN over its network namespace
	RiskNetRaw      RiskCode = "net-raw"      // CAP_NET_RAW over it
	RiskHostNetwork RiskCode = "host-network" // shares the host's network namespace
	RiskHostPID     RiskCode = "host-pid"     // sees the host's processes
	RiskPtrace      RiskCode = "ptrace"       // CAP_SYS_PTRACE in the initial user namespace
	RiskCgroupWrite RiskCode = "cgroup-write" // can move itself out of its cgroup
	RiskRunning     RiskCode = "running"      // had processes before it was enrolled
	RiskTransport   RiskCode = "transport"    // SCTP, SMC, RDS, TIPC or DCCP is loaded
	RiskUnknown     RiskCode = "unknown"      // could not be found out
)

// A Risk is one finding about a workload.
type Risk struct {
	Code RiskCode
	// Breaks means that the promise does not hold while this is so: refuse to
	// enroll, or enroll as "not enforced", visibly.
	Breaks bool
	// Guardable means that [Kernel.GuardVeths] takes the danger away.
	Guardable bool
	PID       int    // a process that has it, or 0
	Text      string // one plain sentence
}

// Capabilities that matter, by number.
const (
	capDACOverride = 1
	capNetAdmin    = 12
	capNetRaw      = 13
	capSysPtrace   = 19
	capSysAdmin    = 21
	capBPF         = 39
)

// Inspect looks for what breaks the promise in the processes of the cgroup at path and
// below, and in who may write to the cgroups above.
func Inspect(path string) ([]Risk, error) {
	c, err := openCgroup(path)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	pids, err := c.processes()
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	r := newReport()
	if len(pids) > 0 {
		r.add(Risk{Code: RiskRunning, PID: pids[0], Text: "It has processes already: sockets that were passed to them connected are not seen."})
	}
	for _, pid := range pids {
		uids, err := r.process(pid)
		if err != nil {
			continue // it ended
		}
		r.writers(c, pid, uids)
	}
	r.host()
	return r.risks, nil
}

// InspectProcess is Inspect for one process that has not been moved yet.
func InspectProcess(pid int) ([]Risk, error) {
	r := newReport()
	if _, err := r.process(pid); err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	r.host()
	return r.risks, nil
}

// A report has each kind of risk once.
type report struct {
	risks []Risk
	has   map[RiskCode]bool
}

func newReport() *report { return &report{has: map[RiskCode]bool{}} }

func (r *report) add(risk Risk) {
	if !r.has[risk.Code] {
		r.has[risk.Code] = true
		r.risks = append(r.risks, risk)
	}
}

func (r *report) host() {
	if found := loadedTransports(); len(found) > 0 {
		r.add(Risk{Code: RiskTransport, Text: "This kernel has " + strings.Join(found, ", ") + ", which the redirect does not see."})
	}
}

// process looks at one process, and returns its user ids.
func (r *report) process(pid int) ([]uint32, error) {
	name := strconv.Itoa(pid)
	caps, err := effective(name)
	if err != nil {
		return nil, err
	}
	initialUser := sameNS(name, "user")
	hostNet := sameNS(name, "net")
	has := func(bit int) bool { return caps&(1<<bit) != 0 }
	if initialUser && has(capSysAdmin) {
		r.add(Risk{Code: RiskSysAdmin, Breaks: true, PID: pid, Text: "It has CAP_SYS_ADMIN: it can detach the programs, leave its cgroup and enter other namespaces."})
	}
	if initialUser && has(capBPF) && has(capNetAdmin) {
		r.add(Risk{Code: RiskBPF, Breaks: true, PID: pid, Text: "It has CAP_BPF and CAP_NET_ADMIN: it can attach programs that run before these."})
	}
	if initialUser && has(capSysPtrace) {
		r.add(Risk{Code: RiskPtrace, Breaks: true, PID: pid, Text: "It has CAP_SYS_PTRACE: it can take sockets out of processes that are not enrolled."})
	}
	// Whoever is root in a user namespace of its own may own its network namespace,
	// too. We do not tell such from those that do not, and take the worse.
	if (initialUser || !hostNet) && has(capNetAdmin) {
		r.add(Risk{Code: RiskNetAdmin, Breaks: hostNet, Guardable: !hostNet, PID: pid, Text: "It has CAP_NET_ADMIN over its network: it can send redirected connections to a listener of its own; the endpoint it can reach only where no veth is guarded."})
	}
	if (initialUser || !hostNet) && has(capNetRaw) {
		r.add(Risk{Code: RiskNetRaw, Breaks: true, Guardable: !hostNet, PID: pid, Text: "It has CAP_NET_RAW over its network: packet sockets pass all hooks of cgroups, and only the guard of a veth holds them."})
	}
	if hostNet {
		r.add(Risk{Code: RiskHostNetwork, PID: pid, Text: "It shares the network of the host: there is no veth to guard."})
	}
	if sameNS(name, "pid") {
		r.add(Risk{Code: RiskHostPID, PID: pid, Text: "It sees the processes of the host: a process of the same user that is not enrolled can be used as a relay."})
	}
	return uidsOf(name)
}

// writers looks for a cgroup at or above c that the process may write to: it could move
// itself to a sibling.
func (r *report) writers(c cgroup, pid int, uids []uint32) {
	caps, _ := effective(strconv.Itoa(pid))
	for dir := c.path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				r.add(Risk{Code: RiskUnknown, Breaks: true, PID: pid, Text: "The owner of " + dir + " cannot be found out."})
			}
			return
		}
		st := info.Sys().(*syscall.Stat_t)
		for _, uid := range uids {
			// Moving out takes write access to a common ancestor; one at c itself
			// only lets it move within.
			outside := dir != c.path
			if outside && (writable(st, uid) || caps&(1<<capDACOverride) != 0 && sameNS(strconv.Itoa(pid), "user")) {
				r.add(Risk{Code: RiskCgroupWrite, Breaks: uid != 0 || caps != 0, PID: pid, Text: fmt.Sprintf("User %d may write to %s, and so leave the workload: enroll at or above the boundary of the delegation.", uid, filepath.Join(dir, "cgroup.procs"))})
				return
			}
		}
		if dir == c.root {
			return
		}
	}
}

func writable(st *syscall.Stat_t, uid uint32) bool {
	return st.Mode&unix.S_IWOTH != 0 || st.Uid == uid && st.Mode&unix.S_IWUSR != 0
}

// effective reads the effective capabilities of a process.
func effective(pid string) (uint64, error) {
	value, err := statusLine(pid, "CapEff:")
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(value, 16, 64)
}

func uidsOf(pid string) ([]uint32, error) {
	value, err := statusLine(pid, "Uid:")
	if err != nil {
		return nil, err
	}
	var uids []uint32
	for _, field := range strings.Fields(value) {
		uid, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return nil, err
		}
		uids = append(uids, uint32(uid))
	}
	return uids, nil
}

func statusLine(pid, name string) (string, error) {
	data, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("no %s in the status of process %s", name, pid)
}

// initial are the inodes of the first namespaces, from include/linux/proc_ns.h.
var initial = map[string]string{"user": "user:[4026531837]", "pid": "pid:[4026531836]"}

// sameNS tells if a process is in one of the host's namespaces. The network of the host
// is that of its first process, or, where that cannot be read, of this one. What is not
// known is taken to be the host's.
func sameNS(pid, kind string) bool {
	host := initial[kind]
	if host == "" {
		var err error
		if host, err = os.Readlink("/proc/1/ns/" + kind); err != nil {
			if host, err = os.Readlink("/proc/self/ns/" + kind); err != nil {
				return true
			}
		}
	}
	own, err := os.Readlink(filepath.Join("/proc", pid, "ns", kind))
	return err != nil || own == host
}
