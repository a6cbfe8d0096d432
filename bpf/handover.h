//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * handover.h counts the entries that a workload has in the table of handovers. Whatever
 * makes a handshake last (a full backlog, a filter that drops the answer) costs no other
 * workload its connections.
 */
#ifndef SLUICE_HANDOVER_H
#define SLUICE_HANDOVER_H

#include "match.h"

/* wait takes a place in the table, and tells if there was one. */
static __always_inline int wait(__u64 id)
{
	struct workload *workload = bpf_map_lookup_elem(&workloads, &id);

	if (!workload || workload->waiting >= WAITING) {
		count(COUNT_REFUSED_FULL);
		return 0;
	}
	__sync_fetch_and_add(&workload->waiting, 1);
	return 1;
}

/* arrive gives a place back. */
static __always_inline void arrive(__u64 id)
{
	struct workload *workload = bpf_map_lookup_elem(&workloads, &id);

	if (workload)
		__sync_fetch_and_add(&workload->waiting, -1);
}

#endif
