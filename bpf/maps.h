//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * maps.h has the maps that programs share. Package redirect pins each of them, so a
 * changed layout needs a new version there (redirect/pin.go).
 */
#ifndef SLUICE_MAPS_H
#define SLUICE_MAPS_H

#include "types.h"

/* Constants are set when a program is loaded, so what is off is not even verified. */
volatile const __be32 redirect_net;   /* 127.x.0.0 */
volatile const __u16 redirect_port;   /* host order */
volatile const __u64 parent_id;       /* cgroup that the programs sit on */
volatile const __u32 parent_level;    /* its depth; the root has 0 */
volatile const __u8 pass_strangers;   /* cgroups below the parent that are not enrolled */
volatile const __u8 has_set_retval;   /* bpf_set_retval in connect hooks: 6.1 */
volatile const __u8 has_pid;          /* bpf_get_current_pid_tgid in connect hooks */
volatile const __u8 has_task;         /* bpf_get_current_task there */
volatile const __u32 pid_namespace;   /* of the agent; 0: the machine's first */

/* workloads has the enrolled cgroups, by id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct workload);
} workloads SEC(".maps");

/*
 * ports has a bit for each port of an endpoint, so that most destinations are passed
 * without a search. While the set is replaced it has the ports of both sets.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct port_set);
} ports SEC(".maps");

/* An endpoint_set is replaced as a whole, so that a workload never sees half of one. */
struct endpoint_set {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct destination));
	__uint(value_size, sizeof(__u32));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct endpoint_set);
} endpoints SEC(".maps");

/*
 * intents live in the connecting socket and die with it: nothing to evict, and nothing
 * that one workload could fill to starve another.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct intent);
} intents SEC(".maps");

/*
 * handovers hold an origin for as long as a handshake lasts. A workload can make its
 * handshakes last, so each has a share of the table: WAITING entries.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tuple);
	__type(value, struct handover);
} handovers SEC(".maps");

/* origins live in the accepted socket: package redirect reads them by descriptor. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct origin);
} origins SEC(".maps");

/* agents has the one that runs first, and those whose connections may not have ended yet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AGENTS);
	__type(key, __u32);
	__type(value, struct agent);
} agents SEC(".maps");

/* places are the network namespaces with a listener, by cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, __u64);
	__type(value, struct place);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct setting);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(enum counter which)
{
	__u32 key = which;
	__u64 *n = bpf_map_lookup_elem(&counters, &key);

	if (n)
		*n += 1;
}

#endif
