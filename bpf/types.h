//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * types.h has what programs and package redirect both read. bpf2go makes Go mirrors
 * of these structs, so padding is explicit. Every address is kept in one form: 16
 * bytes in network order, IPv4 as ::ffff:a.b.c.d.
 */
#ifndef SLUICE_TYPES_H
#define SLUICE_TYPES_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10

#define SOCK_STREAM 1
#define SOCK_DGRAM 2

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define ETH_P_MPLS_UC 0x8847

#define ECONNREFUSED 111

/* How deep below the parent an enrolled cgroup may be. */
#define DEPTH 16

/* How deep below an enrolled cgroup that of a socket may be. */
#define HEIGHT 32

/* How many connections of one workload may be between connect and accept. */
#define WAITING 1024

struct address {
	__be32 word[4];
};

/* A destination is the key of the endpoints: 32 bits, and then the prefix's. */
struct destination {
	__u32 prefixlen;
	__be16 port;
	__u16 family; /* AF_INET or AF_INET6 */
	struct address address;
};

/* A port_set has a bit for each port, in host order. */
struct port_set {
	__u64 words[1024];
};

enum verdict {
	VERDICT_PASS = 0,
	VERDICT_CAPTURE = 1,
};

/* An origin is what connect knows about a connection. */
struct origin {
	struct address address;
	__u64 cgroup;  /* the enrolled cgroup in which the socket was born */
	__u64 started; /* of the process, since boot; 0: not known */
	__u64 at;      /* boot time */
	__u64 netns;   /* cookie */
	__u32 pid;
	__u32 uid;
	__be16 port;
	__u16 family; /* of the connection to the listener */
	__u32 pad;
};

/* A tuple names a connection on its way from connect to accept. */
struct tuple {
	__u64 netns;
	struct address client;
	struct address server;
	__u16 client_port; /* host order, as server_port */
	__u16 server_port;
	__u32 pad;
};

/* An intent lives in the connecting socket. The tuple is set when the SYN leaves. */
struct intent {
	struct origin origin;
	struct tuple tuple;
	__u64 cookie; /* of the socket; 0: no SYN yet */
};

/* A handover is found by its tuple. */
struct handover {
	struct origin origin;
	__u64 cookie;
};

#define BORN_NAMED 1 /* its path or name was expected */
#define BORN_CHILD 2 /* that of its parent was: nobody has decided about it */

/* A workload is an enrolled cgroup. */
struct workload {
	__s64 waiting; /* its entries in the table of handovers */
	__u32 born;    /* enrolled by born.c, when it was made: BORN_NAMED or BORN_CHILD */
	__u32 refused; /* calls of its processes, and connections that nobody accepts */
};

/* A place is a network namespace that has a listener. */
struct place {
	__u32 v4; /* is redirected */
	__u32 v6;
	__u32 slot; /* of the IPv4 listener; that of IPv6 is the next one */
	__u32 pad;
};

/* A unix_name is a path, or an abstract name with the NUL before it. */
struct unix_name {
	__u32 length;
	__u8 name[112];
};

/* A unix_file is where a socket with a path is bound: folder and last part. */
struct unix_file {
	__u64 device; /* as the kernel has it: 12 bits and 20 */
	__u64 folder; /* inode */
	__u8 name[112];
};

/* A unix_place is an endpoint in a network namespace. */
struct unix_place {
	__u64 netns;
	__u32 endpoint;
	__u32 pad;
};

/* A unix_proxy is the abstract name that the agent listens on. */
struct unix_proxy {
	__u8 name[24];
};

/* How many agents may have connections to endpoints: one, and those that it takes over from. */
#define AGENTS 4

/* An agent is the cgroup in which one runs; no id: none. */
struct agent {
	__u64 id;
	__u32 level; /* its depth; the root has 0 */
	__u32 pad;
};

/* A setting is kept for the agent that adopts; programs have it as constants. */
struct setting {
	__u64 parent;
	__be32 net;
	__u16 port;
	__u16 pad;
};

enum counter {
	COUNT_REDIRECTED,
	COUNT_HANDED_OVER,
	COUNT_REFUSED_STRANGER,  /* the socket's cgroup is not enrolled */
	COUNT_REFUSED_FOREIGN,   /* born outside, used inside */
	COUNT_REFUSED_DEVICE,    /* bound to a device */
	COUNT_REFUSED_NAMESPACE, /* no listener in its namespace */
	COUNT_REFUSED_FAMILY,    /* no listener of its family */
	COUNT_REFUSED_STORAGE,   /* no memory for the origin */
	COUNT_REFUSED_DIRECT,    /* asked for the redirect address itself */
	COUNT_REFUSED_PROTOCOL,  /* neither TCP nor MPTCP */
	COUNT_REFUSED_SOCKET,    /* a kind of socket that is not for workloads */
	COUNT_REFUSED_NO_ORIGIN, /* a SYN to the listener without an origin */
	COUNT_REFUSED_NO_LISTENER,
	COUNT_REFUSED_FULL, /* the table of handovers, or the workload's part of it */
	COUNT_REFUSED_BIND,
	COUNT_DROPPED_EGRESS,
	COUNT_DROPPED_VETH,
	COUNT_REFUSED_SQUATTER, /* a connect from the redirect address */
	COUNT_REFUSED_UNIX,     /* a unix socket whose proxy is not there */
	COUNT_REFUSED_UNIX_ALIAS, /* a unix socket that is an endpoint, by another name */
	COUNT_BORN,             /* cgroups that were enrolled as they were made */
	COUNT_BORN_MISSED,      /* for which there was no room */
	COUNTERS,
};

#endif
