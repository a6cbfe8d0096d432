//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// connect6.c is connect4.c for IPv6 sockets. A v4-mapped destination goes to the IPv4
// listener; IPv6 has a single loopback address, so nothing is spread there.
//
//   Hook     cgroup/connect6, attached to the parent
//   Reads    workloads, ports, endpoints, places
//   Writes   intents   in the socket
//   Read by  sockops.c, getpeername6.c
//   Verdict  1 go on, 0 fail connect(2)

#include "connect.h"

SEC("cgroup/connect6")
int sluice_connect6(struct bpf_sock_addr *ctx)
{
	__u32 type = ctx->type, protocol = ctx->protocol;
	__be16 port = ctx->user_port;
	struct address a;
	int decision;

	SET_IP6(&a, ctx->user_ip6);
	normalise(&a);
	decision = decide(ctx, &a, port, type, protocol);
	if (decision != DECISION_STEER)
		return decision;
	ctx->user_ip6[0] = 0;
	ctx->user_ip6[1] = 0;
	if (is_mapped(&a)) {
		ctx->user_ip6[2] = MAPPED;
		ctx->user_ip6[3] = spread(&a, port);
	} else {
		ctx->user_ip6[2] = 0;
		ctx->user_ip6[3] = bpf_htonl(1);
	}
	ctx->user_port = bpf_htons(redirect_port);
	return 1;
}
