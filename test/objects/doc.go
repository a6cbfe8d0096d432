// Package objects tests configuration by objects of a cluster against a real API server.
//
// Its tests have the build tag kube, and `make test-kube` runs them.
package objects
