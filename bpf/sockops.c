//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// sockops.c offers an origin to the listener while a handshake lasts.
//
//   Hook     sockops, attached to the parent
//   Reads    intents
//   Writes   intents    the tuple, when the SYN leaves
//            workloads  how many are waiting
//            handovers  added then; deleted when the socket closes before it was accepted
//   Read by  sk_lookup.c, accept.c
//   Verdict  none
//
// If the table is full, or the workload's part of it, nothing is added, and sk_lookup.c
// resets the connection.

#include "handover.h"

static __always_inline void offer(struct bpf_sock_ops *ctx)
{
	__u32 family = FIELD(ctx->family);
	__u32 client_port = FIELD(ctx->local_port), server_port = FIELD(ctx->remote_port);
	__be32 client4 = FIELD(ctx->local_ip4), server4 = FIELD(ctx->remote_ip4);
	struct address client6, server6;
	struct handover handover = {};
	struct handover *old;
	struct intent *intent;
	struct bpf_sock *sk = ctx->sk;
	long err;

	SET_IP6(&client6, ctx->local_ip6);
	SET_IP6(&server6, ctx->remote_ip6);
	if (!sk)
		return;
	intent = bpf_sk_storage_get(&intents, sk, 0, 0);
	if (!intent)
		return;
	intent->tuple.netns = intent->origin.netns;
	if (intent->origin.family == AF_INET) {
		set_ip4(&intent->tuple.client, client4);
		set_ip4(&intent->tuple.server, server4);
	} else if (family == AF_INET6) {
		intent->tuple.client = client6;
		intent->tuple.server = server6;
	} else {
		return;
	}
	intent->tuple.client_port = client_port;
	intent->tuple.server_port = bpf_ntohl(server_port);
	intent->cookie = bpf_get_socket_cookie(ctx);
	handover.origin = intent->origin;
	handover.cookie = intent->cookie;
	/* Without this callback a stale entry could be taken for somebody else's. */
	if (bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG))
		return;
	if (!wait(handover.origin.cgroup))
		return;
	err = bpf_map_update_elem(&handovers, &intent->tuple, &handover, BPF_NOEXIST);
	if (!err)
		return;
	/*
	 * Somebody's entry that is of no use any more: two sockets have one tuple only if
	 * the other one was bound to a device meanwhile.
	 */
	old = bpf_map_lookup_elem(&handovers, &intent->tuple);
	if (old)
		arrive(old->origin.cgroup);
	if (bpf_map_update_elem(&handovers, &intent->tuple, &handover, BPF_ANY)) {
		arrive(handover.origin.cgroup);
		count(COUNT_REFUSED_FULL);
	}
}

static __always_inline void withdraw(struct bpf_sock_ops *ctx)
{
	struct handover *handover;
	struct intent *intent;
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return;
	intent = bpf_sk_storage_get(&intents, sk, 0, 0);
	if (!intent || !intent->cookie)
		return;
	handover = bpf_map_lookup_elem(&handovers, &intent->tuple);
	if (handover && handover->cookie == intent->cookie &&
	    !bpf_map_delete_elem(&handovers, &intent->tuple))
		arrive(intent->origin.cgroup);
}

SEC("sockops")
int sluice_sockops(struct bpf_sock_ops *ctx)
{
	__u32 op = ctx->op;

	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		offer(ctx);
	else if (op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE)
		withdraw(ctx);
	return 1;
}
