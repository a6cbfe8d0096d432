//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// born.c enrolls a cgroup that is expected in the moment in which it is made: the kernel
// tells of it before anybody can see it, so that none of its processes is ever a stranger.
// A service that is restarted gets a new cgroup, and nobody has to notice in time.
//
//   Hook     tracepoints cgroup_mkdir and cgroup_rmdir, of the whole host
//   Reads    expected_paths, expected_names, expected_parents
//   Writes   workloads  added when it is made; deleted when it is removed, if added here
//   Verdict  none
//
// If the table of workloads is full, nothing is added, and Health tells of it.

#include "match.h"

#define PATH_MAX 512 /* no key was larger once: MAX_BPF_STACK of kernel/bpf/hashtab.c */
#define NAME_MAX 256

struct expected_path {
	__u8 path[PATH_MAX];
};

struct expected_name {
	__u8 name[NAME_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct expected_path);
	__type(value, __u32);
} expected_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct expected_name);
	__type(value, __u32);
} expected_names SEC(".maps");

/* The children of these are expected, whatever their names: nobody else makes any there. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} expected_parents SEC(".maps");

struct scratch {
	struct expected_path path;
	struct expected_name name;
	__u8 other[NAME_MAX + 8];
};

/* scratch is too large for a stack. The tracepoints run under one lock. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* is_service tells if a cgroup is named as systemd names those of services. */
static __always_inline int is_service(struct cgroup *cgroup, struct scratch *scratch)
{
	long n = bpf_probe_read_kernel_str(scratch->other, NAME_MAX, cgroup->kn->name);

	n -= sizeof(".service");
	if (n < 0 || n >= NAME_MAX)
		return 0;
	return *(__u64 *)(scratch->other + n) == *(const __u64 *)".service";
}

/*
 * within tells if a cgroup is below the parent. What somebody makes below a service or
 * below a workload is not systemd's, so a name says nothing there: in *own it leaves 0.
 */
static __always_inline int within(struct cgroup *at, struct scratch *scratch, int *own)
{
	struct cgroup_subsys_state *up;
	__u64 id;

	*own = 1;
	for (int i = 0; i < DEPTH; i++) {
		up = at->self.parent;
		if (!up)
			return 0;
		at = up->cgroup;
		id = at->kn->id;
		if (bpf_map_lookup_elem(&workloads, &id) || is_service(at, scratch))
			*own = 0;
		if (id == parent_id)
			return 1;
	}
	return 0;
}

/* is_child tells if a cgroup is directly below one of those whose children are expected. */
static __always_inline int is_child(struct cgroup *cgroup)
{
	struct cgroup_subsys_state *up = cgroup->self.parent;
	__u64 id;

	if (!up)
		return 0;
	id = up->cgroup->kn->id;
	return bpf_map_lookup_elem(&expected_parents, &id) != 0;
}

SEC("tp_btf/cgroup_mkdir")
int sluice_born(__u64 *ctx)
{
	struct cgroup *cgroup = (void *)ctx[0];
	const void *path = (void *)ctx[1];
	struct workload workload = { .born = BORN_NAMED };
	struct scratch *scratch;
	__u32 zero = 0;
	__u64 id;
	int own;

	if (cgroup->root->hierarchy_id) /* that of the first version have others */
		return 0;
	scratch = bpf_map_lookup_elem(&scratches, &zero);
	if (!scratch || !within(cgroup, scratch, &own) || cgroup->level >= parent_level + DEPTH)
		return 0;
	__builtin_memset(&scratch->path, 0, sizeof(scratch->path));
	bpf_probe_read_kernel_str(scratch->path.path, PATH_MAX, path);
	if (!bpf_map_lookup_elem(&expected_paths, &scratch->path)) {
		__builtin_memset(&scratch->name, 0, sizeof(scratch->name));
		bpf_probe_read_kernel_str(scratch->name.name, NAME_MAX, cgroup->kn->name);
		/* Units are made by systemd, which is root. */
		if (!own || (__u32)bpf_get_current_uid_gid() ||
		    !bpf_map_lookup_elem(&expected_names, &scratch->name)) {
			if (!is_child(cgroup))
				return 0;
			workload.born = BORN_CHILD;
		}
	}
	id = cgroup->kn->id;
	count(bpf_map_update_elem(&workloads, &id, &workload, BPF_NOEXIST) ? COUNT_BORN_MISSED : COUNT_BORN);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int sluice_gone(__u64 *ctx)
{
	struct cgroup *cgroup = (void *)ctx[0];
	struct workload *workload;
	__u64 id;

	if (cgroup->root->hierarchy_id)
		return 0;
	id = cgroup->kn->id;
	workload = bpf_map_lookup_elem(&workloads, &id);
	if (workload && workload->born)
		bpf_map_delete_elem(&workloads, &id);
	return 0;
}
