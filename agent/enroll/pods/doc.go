// Package pods enrolls the pods of a Kubernetes node: it hears of them from the
// container runtime before their first process runs (NRI), from the API server, and
// from the folders in which kubelet makes their cgroups, and decides which are held.
//
// What it does not know yet is refused, not let through: the kernel enrolls every
// cgroup of a pod as it is made (redirect.Expected.Parents), and this package decides.
// It decides nothing about statements.
package pods
