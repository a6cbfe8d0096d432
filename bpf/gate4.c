//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// gate4.c refuses sockets that were born outside of the parent (before the task moved
// in, or passed to it by SCM_RIGHTS): a socket keeps the cgroup of its birth, so no
// other program of ours sees it. It also keeps everybody from opening connections
// simultaneously with workloads, from the redirect address.
//
//   Hook     cgroup/connect4, attached to the root of the hierarchy
//   Reads    workloads, ports, endpoints
//   Verdict  1 go on, 0 fail connect(2); tasks of other cgroups always go on
//
// It costs every connect(2) of the host two comparisons and one look at an array.

#include "gate.h"

SEC("cgroup/connect4")
int sluice_gate4(struct bpf_sock_addr *ctx)
{
	__be16 port = ctx->user_port;
	struct address a;

	set_ip4(&a, ctx->user_ip4);
	normalise(&a);
	return enter(ctx, &a, port);
}
