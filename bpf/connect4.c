//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// connect4.c sends the IPv4 TCP connections of a workload to the listener in its own
// network namespace.
//
//   Hook     cgroup/connect4, attached to the parent
//   Reads    workloads, ports, endpoints, places
//   Writes   intents   in the socket: what was asked for, and by whom
//   Read by  sockops.c, getpeername4.c
//   Verdict  1 go on, 0 fail connect(2) with ECONNREFUSED (EPERM before 6.1)
//
// Fails closed: whatever is captured and cannot be handed over is refused here.

#include "connect.h"

SEC("cgroup/connect4")
int sluice_connect4(struct bpf_sock_addr *ctx)
{
	__u32 type = ctx->type, protocol = ctx->protocol;
	__be16 port = ctx->user_port;
	__be32 ip = ctx->user_ip4;
	struct address a;
	int decision;

	set_ip4(&a, ip);
	normalise(&a);
	decision = decide(ctx, &a, port, type, protocol);
	if (decision != DECISION_STEER)
		return decision;
	ctx->user_ip4 = spread(&a, port);
	ctx->user_port = bpf_htons(redirect_port);
	return 1;
}
