//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* gate.h is what gate4.c and gate6.c have in common. */
#ifndef SLUICE_GATE_H
#define SLUICE_GATE_H

#include "match.h"

/*
 * enter refuses an enrolled task the use of a socket that was born outside. Sockets that
 * were born below the parent are for the parent's programs, which run before those of
 * the root. It also refuses everybody the redirect address as a source.
 */
static __always_inline int enter(struct bpf_sock_addr *ctx, const struct address *a, __be16 port)
{
	struct bpf_sock *sk = ctx->sk;
	__u32 type = ctx->type;
	__u64 leaf;
	int below;

	if (sk && squats(sk, a))
		return refuse(COUNT_REFUSED_SQUATTER);
	if (!watched(port))
		return 1;
	if (!current_workload(&leaf) && (!leaf || pass_strangers))
		return 1;
	if (!captured(a, port))
		return 1;
	if (type != SOCK_STREAM)
		return 0;
	if (sk && (socket_workload(sk, &below) || below))
		return 1;
	return refuse(COUNT_REFUSED_FOREIGN);
}

#endif
