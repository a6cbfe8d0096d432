//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// getpeername4.c tells a workload the address that it asked for.
//
//   Hook     cgroup/getpeername4, attached to the parent
//   Reads    intents
//   Verdict  always 1
//
// An MPTCP socket shows the listener's address: the hook sees the outer socket, and
// connect saw the inner one.

#include "match.h"

SEC("cgroup/getpeername4")
int sluice_peer4(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct intent *intent;

	if (!sk)
		return 1;
	intent = bpf_sk_storage_get(&intents, sk, 0, 0);
	if (!intent || !intent->cookie)
		return 1;
	ctx->user_ip4 = intent->origin.address.word[3];
	ctx->user_port = intent->origin.port;
	return 1;
}
