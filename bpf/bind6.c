//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// bind6.c refuses workloads the redirect port. It is a belt: sk_lookup.c decides who
// gets a connection, whoever has bound what.
//
//   Hook     cgroup/bind6, attached to the parent
//   Reads    workloads
//   Verdict  1 go on, 0 fail bind(2) with EPERM

#include "match.h"

SEC("cgroup/bind6")
int sluice_bind6(struct bpf_sock_addr *ctx)
{
	__be16 port = ctx->user_port;
	__u64 leaf;

	if (port != bpf_htons(redirect_port))
		return 1;
	if (!current_workload(&leaf) && pass_strangers)
		return 1;
	return forbid(COUNT_REFUSED_BIND);
}
