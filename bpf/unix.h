//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* unix.h reads the name that a unix socket connects to. */
#ifndef SLUICE_UNIX_H
#define SLUICE_UNIX_H

#include "match.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_sock_addr_kern {
	void *uaddr;
	__u32 uaddrlen;
};

struct unix_sock {
	struct sock sk;
};

#pragma clang attribute pop

extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;
extern int bpf_sock_addr_set_sun_path(struct bpf_sock_addr_kern *sa_kern, const __u8 *sun_path,
				      __u32 sun_path__sz) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct unix_name);
	__type(value, __u32);
} unix_names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct unix_file);
	__type(value, __u32);
} unix_files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct unix_place);
	__type(value, struct unix_proxy);
} unix_proxies SEC(".maps");

#define SUN_PATH 2 /* offset in sockaddr_un */
#define SUN_MAX 108

/* unix_endpoint gives the endpoint that a socket connects to, or NULL. */
static __always_inline __u32 *unix_endpoint(struct bpf_sock_addr *ctx)
{
	struct bpf_sock_addr_kern *kern = bpf_cast_to_kern_ctx(ctx);
	struct unix_name key = {};
	__u32 length = kern->uaddrlen;
	void *path = kern->uaddr + SUN_PATH;
	long n;

	if (length <= SUN_PATH || length > SUN_PATH + SUN_MAX)
		return 0;
	length -= SUN_PATH;
	if (bpf_probe_read_kernel(key.name, 1, path))
		return 0;
	if (key.name[0]) {
		/* The kernel, too, takes a path to its first NUL. */
		n = bpf_probe_read_kernel_str(key.name, length + 1, path);
		if (n < 1)
			return 0;
		key.length = n - 1;
	} else {
		if (bpf_probe_read_kernel(key.name, length, path))
			return 0;
		key.length = length;
	}
	return bpf_map_lookup_elem(&unix_names, &key);
}

/* unix_workload is socket_workload for a unix socket. */
static __always_inline __u64 unix_workload(struct bpf_sock_addr *ctx, int *below)
{
	struct unix_sock *sk = bpf_skc_to_unix_sock(ctx->sk);

	*below = 0;
	return sk ? workload_above(sk->sk.sk_cgrp_data.cgroup, below) : 0;
}

#endif
