// Package identity finds out who is asking, and believes nothing that is not
// proven: facts of /proc are checked against what the kernel noted at connect(2),
// tokens against their issuer's keys, and a pod's token against the pod that the
// kernel says it is.
//
// Both sides of the agent use it. The redirector reads: [Process] and [Source].
// The proxy verifies: [Verifier], with an HTTP client that dials through the
// redirector. The package decides nothing; that is for package policy.
package identity
