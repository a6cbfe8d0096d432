# Sourced by the scripts beside it.
#
#   KUBE_DIR    where everything built and everything running lives (default: out/kube)
#   KUBE_STATE  where what is running lives; not on an overlayfs (default: $KUBE_DIR/state)
#   KUBE_NODES  1 or 2 (default: 1)
#   KUBE_KERNEL series of the kernel that nodes run on, in a virtual machine that the kit
#               beside this one boots (default: none, the nodes run here)
#   KUBE_SLOW   how many times longer than usual to wait for things (default: 1)

set -euo pipefail
kit=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$kit/versions.sh"
mkdir -p "${KUBE_DIR:=out/kube}"
KUBE_DIR=$(readlink -f "$KUBE_DIR")
export KUBE_DIR
bin=$KUBE_DIR/bin state=${KUBE_STATE:-$KUBE_DIR/state} logs=$KUBE_DIR/logs slow=${KUBE_SLOW:-1}

# The control plane runs on the first node, or beside a virtual machine that holds the
# nodes: what does not depend on the kernel is not emulated. In there, KUBE_GUEST is set.
control=n1 api=10.99.0.1 far=10.99.0.200:7000
[ -z "${KUBE_KERNEL-}${KUBE_GUEST-}" ] || control=n0 api=10.99.0.100

fail() { echo "${0##*/}: $*" >&2; exit 1; }

# need COMMAND=PACKAGE... fails naming every Debian package that is missing.
need() {
	local pair missing=()
	for pair; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
	[ ${#missing[@]} = 0 ] || fail "missing: scripts/setup.sh kube, or apt-get install ${missing[*]}"
}

# The root of the machine's cgroup2 hierarchy, pure or hybrid.
cgroup2() {
	local dir
	for dir in /sys/fs/cgroup /sys/fs/cgroup/unified; do
		if [ -f "$dir/cgroup.controllers" ]; then echo "$dir"; return; fi
	done
	fail "no cgroup2 hierarchy is mounted: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
}

# This cluster's own subtree: one for each KUBE_DIR.
cluster_cgroup() { echo "$(cgroup2)/kube-$(printf %s "$KUBE_DIR" | cksum | cut -d' ' -f1)"; }

# node_pid NODE prints the pid of the node's first process, as seen from outside;
# it fails if the node does not run.
node_pid() {
	local pid started
	read -r pid started 2>/dev/null <"$state/$1/pid" || return 1
	[ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

# guest_pid prints the pid of the virtual machine's process group; it fails if there is none.
guest_pid() {
	local pid started
	read -r pid started 2>/dev/null <"$state/guest" || return 1
	[ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

# When a process started: with its pid this names it for good.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20 | grep .; }

# on_machine COMMAND... replaces this shell with the command, run on the machine that holds
# the nodes.
on_machine() {
	[ -n "${KUBE_KERNEL-}" ] || exec "$@"
	exec nsenter -t "$(node_pid n0)" -n "$bin/far" run $far "$@"
}

# in_node NODE COMMAND... replaces this shell with the command, run in the node's
# namespaces and cgroup, in the same working directory.
in_node() {
	local node=$1 pid
	shift
	[ -z "${KUBE_KERNEL-}" ] || [ "$node" = n0 ] || on_machine env NODE="$node" "$kit/exec.sh" "$@"
	pid=$(node_pid "$node") || fail "node $node is not running: $kit/up.sh starts it"
	echo $BASHPID >"$(cluster_cgroup)/$node/system/cgroup.procs"
	exec nsenter -t "$pid" -m -n -p -u -i -C --wdns="$PWD" \
		env PATH="$bin:$PATH" KUBECONFIG=/etc/kubernetes/admin.conf "$@"
}
