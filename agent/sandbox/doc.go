// Package sandbox takes away from the proxy process everything that it does not
// need, so that whoever takes it over by a malformed message holds nothing.
//
// The proxy is started in two steps, because a process of several threads cannot
// restrict all of them at once. [Command] makes the child: the own user id, no
// supplementary groups, no capabilities. The child calls [Enter] first: on one
// thread it sets no_new_privs and a Landlock domain (its directories, no TCP),
// and executes itself again, which leaves a process of one thread that has them.
// That process calls [Seal] before it reads its first byte: a seccomp filter, an
// allow list, on all threads. From then on it cannot make a socket, execute
// anything, signal others or load code; it uses the descriptors it was given.
//
// This package says nothing of what those descriptors are: package agent/channel
// does.
package sandbox
