// Package e2e tests the whole path with what goes wrong in practice: databases
// that are away, credentials that are not right, clients that speak nonsense or
// stop listening, disks that fill up, agents that die. Each time the workload
// gets the protocol's own error, the event is counted and recorded, and the
// agent goes on.
package e2e
