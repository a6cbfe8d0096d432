//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* packet.h finds out where a packet goes, for the guards. */
#ifndef SLUICE_PACKET_H
#define SLUICE_PACKET_H

#include "match.h"

enum packet {
	PACKET_OTHER,  /* has no port: goes nowhere that a guard watches */
	PACKET_TO,     /* address and port are set */
	PACKET_TUNNEL, /* has another packet in it */
	PACKET_BAD,    /* cannot be understood, or is routed by its source */
};

/* port_of reads the destination port of a transport whose ports come first. */
static __always_inline int port_of(struct __sk_buff *skb, __u32 at, __u8 protocol, __be16 *port)
{
	switch (protocol) {
	case 6:   /* TCP */
	case 17:  /* UDP */
	case 33:  /* DCCP */
	case 132: /* SCTP */
	case 136: /* UDP-Lite */
		break;
	case 4:   /* IPv4 in another packet */
	case 41:  /* IPv6 */
	case 47:  /* GRE */
	case 94:  /* IPIP */
	case 97:  /* Ethernet */
	case 137: /* MPLS */
		return PACKET_TUNNEL;
	default:
		return PACKET_OTHER;
	}
	return bpf_skb_load_bytes(skb, at + 2, port, sizeof(*port)) ? PACKET_BAD : PACKET_TO;
}

/*
 * harmless looks at the usual packet without copying it: TCP or UDP right behind a plain
 * header, to a port that no endpoint has.
 */
static __always_inline int harmless(struct __sk_buff *skb, __u32 at, __u32 protocol)
{
	__u8 *h = (void *)(long)skb->data + at, *end = (void *)(long)skb->data_end;

	if (protocol == bpf_htons(ETH_P_IP)) {
		if (h + 24 > end || h[0] != 0x45 || (h[6] & 0x3f) || h[7] || (h[9] != 6 && h[9] != 17))
			return 0;
		return !watched(*(__be16 *)(h + 22));
	}
	if (h + 44 > end || h[0] >> 4 != 6 || (h[6] != 6 && h[6] != 17))
		return 0;
	return !watched(*(__be16 *)(h + 42));
}

static __always_inline int parse4(struct __sk_buff *skb, __u32 at, struct address *a, __be16 *port)
{
	__u8 h[20];
	__u32 length;
	int packet;

	if (bpf_skb_load_bytes(skb, at, h, sizeof(h)))
		return PACKET_BAD;
	length = (h[0] & 15) * 4;
	if (h[0] >> 4 != 4 || length < 20)
		return PACKET_BAD;
	if ((h[6] & 0x1f) || h[7])
		return PACKET_OTHER; /* a later fragment: useless without the first */
	set_ip4(a, *(__be32 *)(h + 16));
	packet = port_of(skb, at + length, h[9], port);
	/* With options the address may not be where it ends: a source route. */
	return length > 20 && packet == PACKET_TO ? PACKET_BAD : packet;
}

static __always_inline int parse6(struct __sk_buff *skb, __u32 at, struct address *a, __be16 *port)
{
	__u8 next, x[8];

	if (bpf_skb_load_bytes(skb, at + 6, &next, 1) ||
	    bpf_skb_load_bytes(skb, at + 24, a, sizeof(*a)))
		return PACKET_BAD;
	at += 40;
	for (int i = 0; i < 8; i++) {
		switch (next) {
		case 0:  /* hop-by-hop options */
		case 43: /* routing */
		case 44: /* fragment */
		case 51: /* authentication */
		case 60: /* destination options */
			break;
		default:
			return port_of(skb, at, next, port);
		}
		if (bpf_skb_load_bytes(skb, at, x, sizeof(x)))
			return PACKET_BAD;
		if (next == 43 && x[3])
			return PACKET_BAD; /* the address is not where it ends */
		if (next == 44) {
			if (x[2] || (x[3] & 0xf8))
				return PACKET_OTHER;
			at += 8;
		} else if (next == 51) {
			at += (x[1] + 2) * 4;
		} else {
			at += (x[1] + 1) * 8;
		}
		next = x[0];
	}
	return PACKET_BAD;
}

#endif
