// Package enroll keeps the workloads of a configuration enrolled: it finds the
// cgroup of a path or a systemd unit, enrolls it again when it was made again, and
// makes sure that there is a listener in every network namespace that enrolled
// processes use.
//
// It runs in the redirector. What enrolling does in the kernel is for package
// redirect, and who a workload is allowed to be is for package policy.
package enroll
