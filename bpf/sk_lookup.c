//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// sk_lookup.c gives connections to the redirect address to the listener, and resets
// those that no workload was sent on. Who has bound the port is of no concern: nobody
// can take it, dial it, or harvest it when the agent is dead.
//
//   Hook     sk_lookup, attached to the network namespace of workloads; one instance
//            for each, since the hook cannot ask for the namespace's cookie
//   Reads    handovers, listeners
//   Verdict  SK_PASS, SK_DROP (the connection is reset)
//
// What is not to our address and port is none of our business: SK_PASS.

#include "match.h"

volatile const __u64 netns_cookie;
volatile const __u32 listener_slot;
volatile const __u16 listener_port4; /* that the kernel chose; nobody may dial it */
volatile const __u16 listener_port6;

SEC("sk_lookup")
int sluice_lookup(struct bpf_sk_lookup *ctx)
{
	__u32 slot = listener_slot, family = FIELD(ctx->family), port = FIELD(ctx->local_port);
	__be32 client4, server4;
	struct handover *handover;
	struct tuple tuple = {};
	struct bpf_sock *sk;
	long err;

	if (ctx->protocol != 6)
		return SK_PASS;
	SET_IP6(&tuple.client, ctx->remote_ip6);
	SET_IP6(&tuple.server, ctx->local_ip6);
	client4 = FIELD(ctx->remote_ip4);
	server4 = FIELD(ctx->local_ip4);
	if (family == AF_INET) {
		set_ip4(&tuple.client, client4);
		set_ip4(&tuple.server, server4);
		if (port == listener_port4 && server4 == (redirect_net | bpf_htonl(1)))
			return SK_DROP;
	} else {
		if (port == listener_port6 && !tuple.server.word[0] && !tuple.server.word[1] &&
		    !tuple.server.word[2] && tuple.server.word[3] == bpf_htonl(1))
			return SK_DROP;
		slot++;
	}
	if (!is_listener(&tuple.server, port))
		return SK_PASS;
	tuple.client_port = bpf_ntohs((__u16)ctx->remote_port);
	tuple.server_port = port;
	tuple.netns = netns_cookie;
	handover = bpf_map_lookup_elem(&handovers, &tuple);
	if (!handover) {
		count(COUNT_REFUSED_NO_ORIGIN);
		return SK_DROP;
	}
	sk = bpf_map_lookup_elem(&listeners, &slot);
	if (!sk) {
		count_for(handover->origin.cgroup, COUNT_REFUSED_NO_LISTENER);
		return SK_DROP;
	}
	err = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return err ? SK_DROP : SK_PASS;
}
