//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* gate.h is what gate4.c and gate6.c have in common. */
#ifndef SLUICE_GATE_H
#define SLUICE_GATE_H

#include "match.h"

/*
 * enter refuses an enrolled task the use of a socket that comes from outside. The
 * parent's programs run before those of the root, and leave a birth in every socket
 * of theirs whose destination is captured.
 */
static __always_inline int enter(struct bpf_sock_addr *ctx, const struct address *a, __be16 port)
{
	struct bpf_sock *sk;
	__u64 leaf, task = current_workload(&leaf);

	if (!task && (!leaf || pass_strangers))
		return 1;
	if (!captured(a, port))
		return 1;
	sk = ctx->sk;
	if (sk && bpf_sk_storage_get(&births, sk, 0, 0))
		return 1;
	return refuse(COUNT_REFUSED_FOREIGN);
}

#endif
