// Package cluster reads the Databases, Policies, Grants and Workloads that a
// Kubernetes API server holds, keeps the last good version of each in force, and
// tells in their status what became of them.
//
// It decides nothing about statements and enrolls no pod: objects become files of
// package policy, which knows no cluster. It reads a Secret only when a session
// needs it, and keeps none on disk.
package cluster

//go:generate go run ./crdgen ../../chart/crds
