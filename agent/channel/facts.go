package channel

import "time"

// Facts are what the redirector reports for status and metrics, every few seconds
// and after each change: JSON in a memory file.
type Facts struct {
	Version   string               `json:"version"`
	Started   time.Time            `json:"started"`
	Maps      map[string][2]uint64 `json:"maps,omitempty"` // name to used, max
	Refusals  map[string]uint64    `json:"refusals,omitempty"`
	Problems  []string             `json:"problems,omitempty"` // of redirect's Health
	Warnings  []string             `json:"warnings,omitempty"` // of what does not make it less ready
	Failing   map[string]string    `json:"failing,omitempty"`  // conditions that do not hold, such as credential/shop
	Workloads []Workload           `json:"workloads"`
	Pods      []Pod                `json:"pods,omitempty"`
	Runtime   string               `json:"runtime,omitempty"` // how the container runtime is reached, or why it is not
	Restarts  uint64               `json:"restarts"`          // of the proxy

	Loaded   time.Time `json:"loaded"` // of the configuration in force
	Reloads  uint64    `json:"reloads"`
	Failures uint64    `json:"failures"`          // configurations that were refused
	Refused  string    `json:"refused,omitempty"` // why the last one was, "" if it was not

	AdminUsers  []uint32 `json:"adminUsers,omitempty"` // who beside root may use the admin socket
	AdminGroups []uint32 `json:"adminGroups,omitempty"`

	Proofs map[string]Proofs `json:"proofs,omitempty"` // by Database
}

// Workload is one enrolled cgroup.
type Workload struct {
	Name     string   `json:"name"`
	Cgroup   string   `json:"cgroup"`
	Enrolled bool     `json:"enrolled"`
	Problem  string   `json:"problem,omitempty"` // why it is not
	Risks    []string `json:"risks,omitempty"`   // what breaks the promise
	CgroupID uint64   `json:"cgroupID,omitempty"`
	Refused  uint64   `json:"refused"` // calls, sessions and statements of it, since it was enrolled
}

// Pod is a pod of this node.
type Pod struct {
	Namespace  string   `json:"namespace"`
	Name       string   `json:"name"`
	Account    string   `json:"serviceAccount,omitempty"`
	Workload   string   `json:"workload,omitempty"` // kind Workload that picked it
	Cgroup     string   `json:"cgroup,omitempty"`
	Decision   string   `json:"decision"` // enrolled, exempt, undecided
	Because    string   `json:"because,omitempty"`
	Running    bool     `json:"running,omitempty"` // it ran before it was enrolled
	Listener   bool     `json:"listener"`
	Unenforced string   `json:"unenforced,omitempty"` // why it could get around the redirection
	Guarded    []string `json:"guarded,omitempty"`    // host ends of its veths that are guarded
	Problem    string   `json:"problem,omitempty"`
	Open       int      `json:"open"`    // its connections through Sluice
	Refused    uint64   `json:"refused"` // calls, sessions and statements of it, since it was enrolled
}

// Proofs count what was done with a credential.
type Proofs struct {
	Proofs      uint64 `json:"proofs"`
	CacheHits   uint64 `json:"cacheHits"`
	CacheMisses uint64 `json:"cacheMisses"`
	Reads       uint64 `json:"reads"`
	Errors      uint64 `json:"errors"`
}
