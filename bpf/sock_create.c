//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// sock_create.c lets a workload make only sockets whose connections the other programs
// can see.
//
//   Hook     cgroup/sock_create, attached to the parent
//   Reads    workloads
//   Verdict  1 go on, 0 fail socket(2) with EPERM
//
// AF_PACKET does not pass this hook: see veth.c.

#include "match.h"

static __always_inline int allowed(const struct bpf_sock *sk)
{
	__u32 type = sk->type, protocol = sk->protocol;

	if (type == SOCK_STREAM)
		return protocol == 6 || protocol == 262; // TCP, MPTCP
	if (type == SOCK_DGRAM)
		return protocol == 17 || protocol == 1 || protocol == 58; // UDP, ping
	return 0;
}

SEC("cgroup/sock_create")
int sluice_create(struct bpf_sock *sk)
{
	__u64 leaf;

	if (allowed(sk))
		return 1;
	if (current_workload(&leaf) || (leaf && !pass_strangers))
		return forbid(COUNT_REFUSED_SOCKET);
	return 1;
}
