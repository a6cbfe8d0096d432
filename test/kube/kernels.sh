#!/bin/bash
# kernels.sh [KVER...]: the test in a cluster on Debian's kernels of these series (default:
# 6.1 and 6.12), each in a virtual machine that holds both nodes; a line for each. The control
# plane and the test itself run here: without KVM everything in there takes dozens of times as
# long. Waits are longer then and pods fewer, by KUBE_SLOW.
# KUBE_PARTS, a regular expression, leaves out all parts but the first, the last, and those
# that match it. prepare.sh comes before it.
set -euo pipefail
cd "$(dirname "$0")"
guest=$(readlink -f ../kernels)
export KUBE_DIR="${KUBE_DIR:-$(readlink -f ../..)/out/kube}"
[ $# -gt 0 ] || set -- 6.1 6.12
"$guest/fetch.sh" "$@"
slow=1
[ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo || slow=8
failed=0
for kernel; do
	log=$KUBE_DIR/logs/kernel-$kernel began=$SECONDS status=0
	mkdir -p "$KUBE_DIR/logs"
	KUBE_KERNEL=$kernel KUBE_SLOW=$slow "$KUBE_DIR/kube.test" -test.v -test.run "TestKubernetes/^(install|uninstall|${KUBE_PARTS:-.*})\$" \
		-test.timeout $((14 * slow))m >"$log" 2>&1 || status=$?
	grep -E '^ *--- ' "$log" || true
	printf '%-6s exit %d, %d s; %s; %d parts passed, %d failed, %d skipped; waits %d times as long\n' "$kernel" $status $((SECONDS - began)) \
		"$(grep -m 1 -o 'on Linux .*' "$log")" "$(grep -c '^    --- PASS' "$log")" "$(grep -c '^    --- FAIL' "$log")" "$(grep -c '^ *--- SKIP' "$log")" $slow
	if [ $status != 0 ]; then
		failed=1
		tail -n 60 "$log"
	fi
done
exit $failed
