//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// sendmsg6.c refuses datagrams to an endpoint from sockets that are not connected.
//
//   Hook     cgroup/sendmsg6, attached to the parent
//   Reads    workloads, endpoints
//   Verdict  1 go on, 0 fail sendmsg(2) with EPERM

#include "match.h"

SEC("cgroup/sendmsg6")
int sluice_sendmsg6(struct bpf_sock_addr *ctx)
{
	__be16 port = ctx->user_port;
	struct address a;
	__u64 leaf, task;

	SET_IP6(&a, ctx->user_ip6);
	normalise(&a);
	if (!captured(&a, port))
		return 1;
	task = current_workload(&leaf);
	if (!task && pass_strangers)
		return 1;
	return forbid(COUNT_REFUSED_PROTOCOL);
}
