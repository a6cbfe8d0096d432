//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// accept.c moves an origin into the socket that accept(2) will return, at the end of
// the handshake: there is no table to look it up in later, and nothing to race with.
//
//   Hook     sockops, attached to the cgroup of the agent
//   Reads    handovers
//   Writes   origins    in the accepted socket
//            handovers  the entry is deleted
//            workloads  how many are waiting
//   Verdict  none
//
// A connection whose origin cannot be kept has none, and package redirect closes it.

#include "handover.h"

SEC("sockops")
int sluice_accept(struct bpf_sock_ops *ctx)
{
	__u32 family = FIELD(ctx->family);
	__u32 server_port = FIELD(ctx->local_port), client_port = FIELD(ctx->remote_port);
	__be32 client4, server4;
	struct handover *handover;
	struct tuple tuple = {};
	struct bpf_sock *sk;
	__u64 cgroup;

	if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || server_port != redirect_port)
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;
	SET_IP6(&tuple.client, ctx->remote_ip6);
	SET_IP6(&tuple.server, ctx->local_ip6);
	client4 = FIELD(ctx->remote_ip4);
	server4 = FIELD(ctx->local_ip4);
	if (family == AF_INET) {
		set_ip4(&tuple.client, client4);
		set_ip4(&tuple.server, server4);
	}
	tuple.client_port = bpf_ntohl(client_port);
	tuple.server_port = server_port;
	tuple.netns = bpf_get_netns_cookie(ctx);
	handover = bpf_map_lookup_elem(&handovers, &tuple);
	if (!handover)
		return 1;
	if (bpf_sk_storage_get(&origins, sk, &handover->origin, BPF_SK_STORAGE_GET_F_CREATE))
		count(COUNT_HANDED_OVER);
	cgroup = handover->origin.cgroup;
	if (!bpf_map_delete_elem(&handovers, &tuple))
		arrive(cgroup);
	return 1;
}
