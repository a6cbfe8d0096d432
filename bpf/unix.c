//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// unix.c sends the connections of a workload to a unix socket that is an endpoint to the
// proxy's socket, which has an abstract name in the same network namespace.
//
//   Hook     cgroup/connect_unix (6.7), attached to the parent
//   Reads    workloads, unix_names, unix_proxies, places, listeners
//   Verdict  1 go on, 0 fail connect(2) with ECONNREFUSED
//
// Names are compared as they were given. An abstract one has no other spelling, so it
// is enforced. A path has many (links, "..", /proc/self/root): there it is a convenience.
//
// When the agent is dead its TCP listener is gone from its slot, and nobody is sent to
// the proxy's name, which others could bind then.

#include "unix.h"

SEC("cgroup/connect_unix")
int sluice_unix(struct bpf_sock_addr *ctx)
{
	struct unix_place key = {};
	struct unix_proxy *proxy;
	__u64 leaf, workload;
	struct place *place;
	struct bpf_sock *sk;
	__u32 *endpoint, slot;
	int below;

	endpoint = unix_endpoint(ctx);
	if (!endpoint)
		return 1;
	workload = unix_workload(ctx, &below);
	if (!workload) {
		if (current_workload(&leaf))
			return refuse(COUNT_REFUSED_FOREIGN);
		return pass_strangers && below < 2 ? 1 : refuse(COUNT_REFUSED_STRANGER);
	}
	key.netns = bpf_get_netns_cookie(ctx);
	key.endpoint = *endpoint;
	proxy = bpf_map_lookup_elem(&unix_proxies, &key);
	place = bpf_map_lookup_elem(&places, &key.netns);
	if (!proxy || !place)
		return refuse(COUNT_REFUSED_UNIX);
	slot = place->slot;
	sk = bpf_map_lookup_elem(&listeners, &slot);
	if (!sk)
		return refuse(COUNT_REFUSED_UNIX);
	bpf_sk_release(sk);
	if (bpf_sock_addr_set_sun_path(bpf_cast_to_kern_ctx(ctx), proxy->name, sizeof(proxy->name)))
		return refuse(COUNT_REFUSED_UNIX);
	count(COUNT_REDIRECTED);
	return 1;
}

/* A socket from outside that an enrolled task uses, as in gate4.c; attached to the root. */
SEC("cgroup/connect_unix")
int sluice_gate_unix(struct bpf_sock_addr *ctx)
{
	__u64 leaf;
	int below;

	if (!current_workload(&leaf) && (!leaf || pass_strangers))
		return 1;
	if (!unix_endpoint(ctx) || unix_workload(ctx, &below) || below)
		return 1;
	return refuse(COUNT_REFUSED_FOREIGN);
}
