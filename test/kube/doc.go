// Package kube is the test of Sluice in a real Kubernetes: `make test-kube`, and on other
// kernels `make test-kube-kernels`. The cluster is that of the folder kit; probe is what runs
// in pods beside stock clients, programs counts what is in the kernel. prepare.sh builds all
// of it.
package kube
