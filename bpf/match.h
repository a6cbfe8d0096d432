//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* match.h answers who a task is and what a destination is. */
#ifndef SLUICE_MATCH_H
#define SLUICE_MATCH_H

#include "maps.h"
#include "task.h"

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

/* watched tells if a port may be that of an endpoint. */
static __always_inline int watched(__be16 port)
{
	__u32 zero = 0, n = bpf_ntohs(port);
	struct port_set *set = bpf_map_lookup_elem(&ports, &zero);

	return !set || (set->words[(n >> 6) & 1023] >> (n & 63)) & 1;
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
	void *set;

	if (!watched(port))
		return 0;
	set = bpf_map_lookup_elem(&endpoints, &zero);
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
 * squats tells if a TCP socket is bound to where this installation redirects to. If it
 * could connect to the port that a workload is about to connect from, the two would
 * open simultaneously, and no listener would be asked for (RFC 9293, 3.5).
 */
static __always_inline int squats(struct bpf_sock *sk, const struct address *to)
{
	struct address from;
	__u32 family;

	if (FIELD(sk->src_port) != redirect_port || FIELD(sk->type) != SOCK_STREAM)
		return 0;
	family = FIELD(sk->family);
	if (family == AF_INET)
		set_ip4(&from, FIELD(sk->src_ip4));
	else
		SET_IP6(&from, sk->src_ip6);
	if (is_listener(&from, redirect_port))
		return 1;
	return !is_mapped(to) && is_listener(to, redirect_port);
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

/*
 * workload_above gives the enrolled cgroup that a cgroup is or is below of, the deepest
 * if there are several, or 0. In *below it leaves 1 if it is below the parent, and 2 if
 * it is too deep to tell.
 */
static __always_inline __u64 workload_above(struct cgroup *at, int *below)
{
	struct cgroup_subsys_state *up;
	__u64 id;

	for (int i = 0; i < DEPTH + HEIGHT; i++) {
		id = at->kn->id;
		if (bpf_map_lookup_elem(&workloads, &id)) {
			*below = 1;
			return id;
		}
		if (id == parent_id) {
			*below = 1;
			return 0;
		}
		up = at->self.parent;
		if (!up)
			return 0;
		at = up->cgroup;
	}
	*below = 2;
	return 0;
}

/*
 * socket_workload gives the workload that a TCP socket was born in. A socket keeps the
 * cgroup of its birth, whoever uses it, and accepted ones have that of the listener.
 */
static __always_inline __u64 socket_workload(struct bpf_sock *sk, int *below)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	*below = 0;
	return tcp ? workload_above(tcp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup, below) : 0;
}

/* count_for counts what is refused to a workload. */
static __always_inline void count_for(__u64 id, enum counter why)
{
	struct workload *workload;

	count(why);
	workload = id ? bpf_map_lookup_elem(&workloads, &id) : 0;
	if (workload)
		__sync_fetch_and_add(&workload->refused, 1);
}

/* count_refused counts a call that fails for the workload whose process makes it. */
static __noinline int count_refused(enum counter why)
{
	__u64 leaf;

	count_for(current_workload(&leaf), why);
	return 0;
}

/* refuse makes connect(2) fail with ECONNREFUSED, or EPERM where the kernel is older. */
static __always_inline int refuse(enum counter why)
{
	count_refused(why);
	if (has_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return 0;
}

/* forbid makes a call fail with EPERM. */
static __always_inline int forbid(enum counter why)
{
	return count_refused(why);
}

#endif
