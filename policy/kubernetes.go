package policy

import "time"

// Kubernetes says how an agent serves the node of a cluster. It is a block of kind
// Agent; an agent without one knows no cluster.
type Kubernetes struct {
	Node       string // name of this node, default: $NODE_NAME
	Kubeconfig string // path, default: the service account of the agent's own pod
	// NoResources leaves out the Databases, Policies, Grants and Workloads of the
	// cluster: files alone count.
	NoResources bool
	NoPods      bool   // enroll none; default: those that carry the label
	Cgroup      string // kubelet's own, such as /kubepods.slice; default: it is looked for
	NRI         NRI
	// PassUndecided lets a pod reach databases, of which nobody has decided yet if it
	// is to be enrolled, since it was made while no agent ran. The default refuses it
	// until an agent has decided.
	PassUndecided bool
	// EnrollUnenforced enrolls pods that could get around the redirection, visibly
	// as such. The default fails the creation of their containers.
	EnrollUnenforced bool
	Token            PodToken
	Trust            bool          // give certificate authorities to pods that ask for it
	Drain            time.Duration // how long sessions may go on while the agent stops; default 20s
}

// NRI is the socket of the container runtime through which the agent hears of
// containers before they run.
type NRI struct {
	Disabled bool   // pods are found by their cgroups and the API server alone
	Socket   string // default /run/nri/nri.sock
	Index    string // two digits: when this plugin is asked, among others; default 10
}

// PodToken is the projected token that proves who a pod is to the issuer's satisfaction.
type PodToken struct {
	Path     string // in the pod; default: that of every service account
	Audience string // default: that of the API server
	Issuer   string // default: that of the agent's own token
	// Required refuses sessions of pods without a valid token. The default takes the
	// word of node and API server for the service account of a pod that shows none;
	// a token that is there and not valid is refused either way.
	Required bool
	// Ignored reads none.
	Ignored bool
}

// PodTokenPath is where a pod finds the token of its service account.
const PodTokenPath = "/var/run/secrets/kubernetes.io/serviceaccount/token"
