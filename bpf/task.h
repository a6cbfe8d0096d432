//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only */
/* task.h has as much of the kernel's task_struct as we read; CO-RE finds the offsets. */
#ifndef SLUICE_TASK_H
#define SLUICE_TASK_H

#include <linux/types.h>
#include <bpf/bpf_core_read.h>

struct task_struct {
	__u64 start_boottime;
	struct task_struct *group_leader;
} __attribute__((preserve_access_index));

/* started gives when the current process started, in ns since boot. */
static __always_inline __u64 started(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, group_leader, start_boottime);
}

#endif
