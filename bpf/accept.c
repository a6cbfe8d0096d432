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
//   Verdict  none
//
// A connection whose origin cannot be kept has none, and package redirect closes it.

#include "match.h"

SEC("sockops")
int sluice_accept(struct bpf_sock_ops *ctx)
{
	__u32 family = ctx->family;
	__u32 server_port = ctx->local_port, client_port = ctx->remote_port;
	struct handover *handover;
	struct tuple tuple = {};
	struct bpf_sock *sk;

	if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || server_port != redirect_port)
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;
	if (family == AF_INET) {
		set_ip4(&tuple.client, ctx->remote_ip4);
		set_ip4(&tuple.server, ctx->local_ip4);
	} else {
		tuple.client.word[0] = ctx->remote_ip6[0];
		tuple.client.word[1] = ctx->remote_ip6[1];
		tuple.client.word[2] = ctx->remote_ip6[2];
		tuple.client.word[3] = ctx->remote_ip6[3];
		tuple.server.word[0] = ctx->local_ip6[0];
		tuple.server.word[1] = ctx->local_ip6[1];
		tuple.server.word[2] = ctx->local_ip6[2];
		tuple.server.word[3] = ctx->local_ip6[3];
	}
	tuple.client_port = bpf_ntohl(client_port);
	tuple.server_port = server_port;
	tuple.netns = bpf_get_netns_cookie(ctx);
	handover = bpf_map_lookup_elem(&handovers, &tuple);
	if (!handover)
		return 1;
	if (bpf_sk_storage_get(&origins, sk, &handover->origin, BPF_SK_STORAGE_GET_F_CREATE))
		count(COUNT_HANDED_OVER);
	bpf_map_delete_elem(&handovers, &tuple);
	return 1;
}
