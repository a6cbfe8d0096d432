package enroll

import "sluicegate.io/sluice/policy"

// Pod is a pod of this node that is enrolled, or about which is not decided yet. It is
// what status shows of it, and what objects of the cluster tell.
type Pod struct {
	policy.Workload          // who it is; Name is the kind Workload that picked it, "" for a label
	Decision        Decision // the zero value is Undecided
	Because         string   // what decided: a label of the pod or its namespace, a Workload
	Cgroup          string   // path below the mount, "" if it has none yet
	Running         bool     // it had processes before it was enrolled
	Listener        bool     // there is one in its network namespace
	// Unenforced says why it could get around the redirection, "" if it could not, in
	// one sentence.
	Unenforced string
	Guarded    []string // host ends of its veths that are guarded
	Problem    string   // why it is not enrolled although it should be, "" if it is
	CgroupID   uint64   // 0: not known
	Open       int      // its connections through Sluice
	Refused    uint64   // calls, sessions and statements of it, since it was enrolled
}

// Decision says if a pod is enrolled.
type Decision uint8

const (
	Undecided Decision = iota // its connections to endpoints are refused
	Enrolled
	Exempt
)

// String returns the decision as status shows it.
func (d Decision) String() string {
	return [...]string{"undecided", "enrolled", "exempt"}[min(d, Exempt)]
}
