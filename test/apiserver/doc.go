// Package apiserver starts a real kube-apiserver and its etcd on loopback, for tests
// of what objects do to an agent and what an agent may do to objects. It has no
// nodes, no controllers and no scheduler: package test/kube has those.
package apiserver
