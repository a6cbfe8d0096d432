// Package redirect hands over the connections that the kernel steered away from
// their destination.
//
// A workload calls connect(2). The programs of package bpf note where it meant to
// go and point it at a listener in its own network namespace. A [Listener] accepts
// it there and returns a [Conn] that still knows the original address. A [Kernel]
// is one installation of those programs: it sits on a parent cgroup, knows which
// cgroups below are enrolled and which destinations are captured, and goes on
// refusing when the process that opened it is gone.
//
// This package reads no payload and decides nothing. What the bytes mean is for
// package protocol to say, and whether they may pass is for package policy.
// README.md beside this file tells the path of a connection, and what is not held.
package redirect
