//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* match.h answers who a task is and what a destination is. */
#ifndef SLUICE_MATCH_H
#define SLUICE_MATCH_H

#include "maps.h"

#define LOOPBACK4 bpf_htonl(0x7f000001)
#define MAPPED bpf_htonl(0xffff)

/*
 * FIELD reads a field of a context. Without it clang merges the reads of two branches
 * into one through a computed pointer, which the verifier does not let us follow.
 */
#define FIELD(field)                    \
	({                              \
		__u32 value = (field);  \
		barrier_var(value);     \
		value;                  \
	})

/* SET_IP6 copies an array of four. */
#define SET_IP6(a, field)                       \
	do {                                    \
		(a)->word[0] = FIELD((field)[0]); \
		(a)->word[1] = FIELD((field)[1]); \
		(a)->word[2] = FIELD((field)[2]); \
		(a)->word[3] = FIELD((field)[3]); \
	} while (0)

static __always_inline void set_ip4(struct address *a, __be32 ip)
{
	a->word[0] = 0;
	a->word[1] = 0;
	a->word[2] = MAPPED;
	a->word[3] = ip;
}

static __always_inline int is_mapped(const struct address *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == MAPPED;
}

/* normalise turns an unspecified address into loopback, as connect(2) does. */
static __always_inline void normalise(struct address *a)
{
	if (a->word[0] || a->word[1])
		return;
	if (a->word[2] == MAPPED && a->word[3] == 0)
		a->word[3] = LOOPBACK4;
	else if (a->word[2] == 0 && a->word[3] == 0)
		a->word[3] = bpf_htonl(1);
}

/* captured tells if a destination is an endpoint. Without a set, everything is one. */
static __always_inline int captured(const struct address *a, __be16 port)
{
	struct destination key = {
		.prefixlen = 160,
		.port = port,
		.family = is_mapped(a) ? AF_INET : AF_INET6,
		.address = *a,
	};
	__u32 zero = 0, *verdict;
	void *set = bpf_map_lookup_elem(&endpoints, &zero);

	if (!set)
		return 1;
	verdict = bpf_map_lookup_elem(set, &key);
	return verdict && *verdict == VERDICT_CAPTURE;
}

/* is_listener tells if a destination is where this installation redirects to. */
static __always_inline int is_listener(const struct address *a, __u16 port)
{
	if (port != redirect_port)
		return 0;
	if (is_mapped(a))
		return (a->word[3] & bpf_htonl(0xffff0000)) == redirect_net;
	return !a->word[0] && !a->word[1] && !a->word[2] && a->word[3] == bpf_htonl(1);
}

/*
 * current_workload gives the enrolled cgroup that the current task is in, the deepest
 * if there are several, or 0. Delegated cgroups below an enrolled one belong to it.
 * In *leaf it leaves the cgroup of the task itself, or 0 if that is not below the parent.
 */
static __always_inline __u64 current_workload(__u64 *leaf)
{
	__u64 found = 0, id;

	*leaf = 0;
	if (bpf_get_current_ancestor_cgroup_id(parent_level) != parent_id)
		return 0;
	*leaf = bpf_get_current_cgroup_id();
	for (int i = 0; i < DEPTH; i++) {
		id = bpf_get_current_ancestor_cgroup_id(parent_level + i);
		if (!id)
			break;
		if (bpf_map_lookup_elem(&workloads, &id))
			found = id;
	}
	return found;
}

/* refuse makes connect(2) fail with ECONNREFUSED, or EPERM where the kernel is older. */
static __always_inline int refuse(enum counter why)
{
	count(why);
	if (has_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return 0;
}

/* forbid makes a call fail with EPERM. */
static __always_inline int forbid(enum counter why)
{
	count(why);
	return 0;
}

#endif
