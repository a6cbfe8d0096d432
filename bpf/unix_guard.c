//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// unix_guard.c refuses a workload the unix sockets that are endpoints, by whatever name it
// got there. unix.c compares the name that was given, and a path has many: links, "..",
// other mounts. This program sees the socket that was found.
//
//   Hook     fmod_ret of security_unix_stream_connect (trampolines; x86 since 5.7), of the
//            whole host: it needs no LSM to be switched on
//   Reads    workloads, unix_files, unix_names
//   Verdict  0 go on, -ECONNREFUSED
//
// A socket is known by the folder and the name that it is bound to, so that a server may
// be started again, and by what it was bound with, so that the folder may be made again.
// The proxy's own socket is neither.

#include "unix.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
	__u32 s_dev;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct path {
	struct dentry *dentry;
};

struct unix_address {
	int len;
};

struct unix_sock___bound {
	struct unix_address *addr;
	struct path path;
};

#pragma clang attribute pop

/* is_endpoint tells if a listening socket is one that workloads are redirected from. */
static __always_inline int is_endpoint(struct unix_sock___bound *other)
{
	struct dentry *dentry = BPF_CORE_READ(other, path.dentry);
	struct unix_address *addr = BPF_CORE_READ(other, addr);
	struct unix_file file = {};
	struct unix_name name = {};
	int length;

	if (dentry) {
		file.device = BPF_CORE_READ(dentry, d_parent, d_inode, i_sb, s_dev);
		file.folder = BPF_CORE_READ(dentry, d_parent, d_inode, i_ino);
		bpf_probe_read_kernel_str(file.name, sizeof(file.name), BPF_CORE_READ(dentry, d_name.name));
		if (bpf_map_lookup_elem(&unix_files, &file))
			return 1;
	}
	if (!addr)
		return 0;
	length = BPF_CORE_READ(addr, len) - SUN_PATH;
	if (length < 1 || length > SUN_MAX)
		return 0;
	addr = (void *)addr + bpf_core_type_size(struct unix_address) + SUN_PATH;
	if (bpf_probe_read_kernel(name.name, 1, addr))
		return 0;
	if (name.name[0])
		length = bpf_probe_read_kernel_str(name.name, SUN_MAX, addr) - 1;
	else if (bpf_probe_read_kernel(name.name, length, addr))
		return 0;
	name.length = length;
	return !!bpf_map_lookup_elem(&unix_names, &name);
}

SEC("fmod_ret/security_unix_stream_connect")
int sluice_unix_guard(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct unix_sock___bound *other = (void *)ctx[1];
	int ret = ctx[3], below = 0;
	__u64 leaf, workload;

	if (ret)
		return ret;
	workload = workload_above(sk->sk_cgrp_data.cgroup, &below);
	if (!workload && !current_workload(&leaf) && (pass_strangers || (!below && !leaf)) && below < 2)
		return 0;
	if (!is_endpoint(other))
		return 0;
	count(COUNT_REFUSED_UNIX_ALIAS);
	return -ECONNREFUSED;
}
