//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// veth.c drops what leaves a workload's namespace for an endpoint and is not the
// agent's: AF_PACKET frames and forwarded packets pass no hook of a socket.
//
//   Hook     tcx ingress (6.6), else clsact ingress, of the host's end of a veth
//   Reads    endpoints, agents
//   Verdict  TC_ACT_UNSPEC (go on with what else is attached), TC_ACT_SHOT
//
// Packets without a full socket, such as the last ACK of a closed connection of the
// agent, have no cgroup and are dropped, too. So are VLAN tags, MPLS and tunnels inside
// of IP: the host might unpack them.

#include "packet.h"

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2
#define ETH_HLEN 14

/* by_agent tells if the socket of a packet belongs to an agent. */
static __always_inline int by_agent(struct __sk_buff *skb)
{
	for (__u32 i = 0; i < AGENTS; i++) {
		__u32 slot = i;
		struct agent *agent = bpf_map_lookup_elem(&agents, &slot);

		if (!agent || !agent->id)
			break;
		if (bpf_skb_ancestor_cgroup_id(skb, agent->level) == agent->id)
			return 1;
	}
	return 0;
}

SEC("tc")
int sluice_veth(struct __sk_buff *skb)
{
	__u32 protocol = skb->protocol;
	struct address a = {};
	__be16 port = 0;
	int packet;

	if ((protocol == bpf_htons(ETH_P_IP) || protocol == bpf_htons(ETH_P_IPV6)) &&
	    harmless(skb, ETH_HLEN, protocol))
		return TC_ACT_UNSPEC;
	if (protocol == bpf_htons(ETH_P_IP))
		packet = parse4(skb, ETH_HLEN, &a, &port);
	else if (protocol == bpf_htons(ETH_P_IPV6))
		packet = parse6(skb, ETH_HLEN, &a, &port);
	else if (protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD) ||
		 protocol == bpf_htons(ETH_P_MPLS_UC))
		packet = PACKET_BAD;
	else
		return TC_ACT_UNSPEC;
	if (packet == PACKET_OTHER || (packet == PACKET_TO && !captured(&a, port)))
		return TC_ACT_UNSPEC;
	if (by_agent(skb))
		return TC_ACT_UNSPEC;
	count(COUNT_DROPPED_VETH);
	return TC_ACT_SHOT;
}
