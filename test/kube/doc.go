// Package kube is the test of Sluice in a real Kubernetes: `make test-kube`. The cluster
// is that of the folder kit; probe is what runs in pods beside stock clients.
package kube
