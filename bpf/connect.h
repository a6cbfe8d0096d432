//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* connect.h is what connect4.c and connect6.c have in common. */
#ifndef SLUICE_CONNECT_H
#define SLUICE_CONNECT_H

#include "match.h"

enum decision {
	DECISION_REFUSE = 0, /* connect(2) fails */
	DECISION_PASS = 1,
	DECISION_STEER = 2,
};

/* whose gives the workload that a TCP socket belongs to; 0 and *verdict if it is none. */
static __always_inline __u64 whose(struct bpf_sock *sk, int *verdict)
{
	__u64 leaf, workload;
	int below;

	workload = socket_workload(sk, &below);
	if (workload)
		return workload;
	if (current_workload(&leaf))
		*verdict = refuse(COUNT_REFUSED_FOREIGN);
	else
		*verdict = pass_strangers && below < 2 ? DECISION_PASS : refuse(COUNT_REFUSED_STRANGER);
	return 0;
}

/* other says what becomes of a captured socket that is not TCP. */
static __always_inline int other(void)
{
	__u64 leaf;

	if (!current_workload(&leaf) && pass_strangers)
		return DECISION_PASS;
	return forbid(COUNT_REFUSED_PROTOCOL);
}

/* direct says what becomes of a connect to the redirect address itself. */
static __always_inline int direct(struct bpf_sock *sk, __u32 type)
{
	__u64 leaf;
	int below;

	/* What passes is for sk_lookup.c to reset. */
	if (pass_strangers && !current_workload(&leaf) &&
	    (type != SOCK_STREAM || !socket_workload(sk, &below)))
		return DECISION_PASS;
	return refuse(COUNT_REFUSED_DIRECT);
}

/*
 * decide says what becomes of a connection to a normalised address. When that is
 * DECISION_STEER the origin is kept in the socket.
 */
static __always_inline int decide(struct bpf_sock_addr *ctx, const struct address *a,
				  __be16 port, __u32 type, __u32 protocol)
{
	int verdict = DECISION_REFUSE;
	struct workload *workload;
	struct intent *intent;
	struct place *place;
	struct bpf_sock *sk;
	__u64 netns, cgroup;

	sk = ctx->sk;
	if (!sk)
		return refuse(COUNT_REFUSED_STORAGE);
	/* What an earlier connect of this socket left is not about this one. */
	bpf_sk_storage_delete(&intents, sk);

	if (squats(sk, a))
		return refuse(COUNT_REFUSED_SQUATTER);
	if (is_listener(a, bpf_ntohs(port)))
		return direct(sk, type);
	if (!captured(a, port))
		return DECISION_PASS;
	if (type != SOCK_STREAM || (protocol != 6 && protocol != 262))
		return other();
	cgroup = whose(sk, &verdict);
	if (!cgroup)
		return verdict;
	if (sk->bound_dev_if)
		return refuse(COUNT_REFUSED_DEVICE);

	netns = bpf_get_netns_cookie(ctx);
	place = bpf_map_lookup_elem(&places, &netns);
	if (!place)
		return refuse(COUNT_REFUSED_NAMESPACE);
	if (is_mapped(a) ? !place->v4 : !place->v6)
		return refuse(COUNT_REFUSED_FAMILY);
	workload = bpf_map_lookup_elem(&workloads, &cgroup);
	if (!workload)
		return refuse(COUNT_REFUSED_STRANGER);
	if (workload->waiting >= WAITING)
		return refuse(COUNT_REFUSED_FULL);

	intent = bpf_sk_storage_get(&intents, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!intent)
		return refuse(COUNT_REFUSED_STORAGE);
	intent->origin.address = *a;
	intent->origin.port = port;
	intent->origin.family = is_mapped(a) ? AF_INET : AF_INET6;
	intent->origin.cgroup = cgroup;
	intent->origin.netns = netns;
	intent->origin.at = bpf_ktime_get_boot_ns();
	intent->origin.uid = (__u32)bpf_get_current_uid_gid();
	if (has_task && pid_namespace)
		intent->origin.pid = pid_in(pid_namespace);
	else if (has_pid)
		intent->origin.pid = bpf_get_current_pid_tgid() >> 32;
	if (has_task)
		intent->origin.started = started();
	count(COUNT_REDIRECTED);
	return DECISION_STEER;
}

/*
 * spread gives an address of 127.x.0.0/16: connections do not share the ports of one
 * address, and nobody knows the next one. The third byte is the destination's, so that
 * the kernel keeps metrics and cookies of a few addresses only.
 */
static __always_inline __be32 spread(const struct address *a, __be16 port)
{
	__u32 h = a->word[0] ^ a->word[1] ^ a->word[2] ^ a->word[3];

	h = (h ^ port) * 0x9e3779b1;
	h ^= h >> 16;
	return redirect_net | bpf_htonl((h & 0xff00) | (bpf_get_prandom_u32() & 0xff));
}

#endif
