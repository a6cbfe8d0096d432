package redirect

import "errors"

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
	RiskTransport   RiskCode = "transport"    // SCTP, SMC, RDS, TIPC or VSOCK is loaded
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

// Inspect looks for what breaks the promise in the processes of the cgroup at path and
// below, and in who may write to the cgroups above.
func Inspect(path string) ([]Risk, error) { return nil, errors.ErrUnsupported }

// InspectProcess is Inspect for one process that has not been moved yet.
func InspectProcess(pid int) ([]Risk, error) { return nil, errors.ErrUnsupported }
