//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* task.h has as much of the kernel's structs as we read; CO-RE finds the offsets. */
#ifndef SLUICE_TASK_H
#define SLUICE_TASK_H

#include <linux/types.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid { /* the same in all kernels */
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1]; /* level + 1 */
};

struct task_struct {
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct pid *thread_pid;
};

struct kernfs_node {
	__u64 id;
	const char *name;
};

struct cgroup;

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	int level; /* the root has 0 */
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct sock_cgroup_data {
	struct cgroup *cgroup; /* of the second hierarchy's version, since 5.15 */
};

struct sock {
	struct sock_cgroup_data sk_cgrp_data;
};

struct inet_sock {
	struct sock sk;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
};

#pragma clang attribute pop

/* started gives when the current process started, in ns since boot. */
static __always_inline __u64 started(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, group_leader, start_boottime);
}

/* How deep in pid namespaces the agent may be. */
#define PID_DEPTH 4

/*
 * pid_in gives the process id of the current process in a pid namespace, that of the
 * agent, and 0 if it cannot be seen there.
 */
static __always_inline __u32 pid_in(__u32 namespace)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	struct upid upid;

	for (int i = 0; i < PID_DEPTH; i++) {
		if (i > BPF_CORE_READ(pid, level) ||
		    bpf_probe_read_kernel(&upid, sizeof(upid), (void *)pid + bpf_core_field_offset(pid->numbers) + i * sizeof(upid)))
			return 0;
		if (BPF_CORE_READ(upid.ns, ns.inum) == namespace)
			return upid.nr;
	}
	return 0;
}

#endif
