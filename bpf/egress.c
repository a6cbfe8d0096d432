//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// egress.c drops the packets of workloads to an endpoint that connect hooks cannot
// see: DNAT inside the namespace, datagrams, connections older than the enrolment.
//
//   Hook     cgroup_skb/egress, attached to the parent
//   Reads    workloads, endpoints
//   Verdict  1 pass, 0 drop; a dropped SYN hangs, so this is the net, not the error path
//
// IPv6 extension headers are walked. What cannot be parsed, and what is routed by its
// source, is dropped.

#include "packet.h"

/* enrolled tells if the socket of a packet belongs to a workload. */
static __always_inline int enrolled(struct __sk_buff *skb)
{
	__u64 id;

	if (!pass_strangers)
		return 1;
	for (int i = 0; i < DEPTH; i++) {
		id = bpf_skb_ancestor_cgroup_id(skb, parent_level + i);
		if (!id)
			break;
		if (bpf_map_lookup_elem(&workloads, &id))
			return 1;
	}
	return 0;
}

SEC("cgroup_skb/egress")
int sluice_egress(struct __sk_buff *skb)
{
	__u32 protocol = skb->protocol;
	struct address a = {};
	__be16 port = 0;
	int packet;

	if (protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6))
		return 1;
	if (harmless(skb, 0, protocol))
		return 1;
	if (protocol == bpf_htons(ETH_P_IP))
		packet = parse4(skb, 0, &a, &port);
	else
		packet = parse6(skb, 0, &a, &port);
	if (packet == PACKET_OTHER || packet == PACKET_TUNNEL)
		return 1;
	if (packet == PACKET_TO && (!captured(&a, port) || is_listener(&a, bpf_ntohs(port))))
		return 1;
	if (!enrolled(skb))
		return 1;
	count(COUNT_DROPPED_EGRESS);
	return 0;
}
