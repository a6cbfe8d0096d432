#!/bin/bash
# run-all.sh [KVER...]: runs the tests of package redirect on Debian's kernels of these
# series, each in a virtual machine (default: 6.1, 6.12 and the newest there is), and
# prints a line for each. The programs must pass every verifier, and no test may be
# skipped that the kernel could run. Without KVM the long bursts are a tenth as long: it
# takes 2 to 8 minutes a kernel then. It needs root, qemu and a Debian mirror.
. "$(dirname "$0")/lib.sh"
need go=golang
series=("$@")
[ $# -gt 0 ] || series=(6.1 6.12 "$("$kit/fetch.sh" --list | cut -d' ' -f1 | sort -Vu | tail -n 1)")
"$kit/fetch.sh" "${series[@]}"
short=-test.short
[ ! -w /dev/kvm ] || ! grep -qwE 'vmx|svm' /proc/cpuinfo || short=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$kit/../.." && CGO_ENABLED=0 go test -c -trimpath -o "$work/redirect.test" ./redirect)
failed=0
for kernel in "${series[@]}"; do
	began=$SECONDS status=0
	nice "$kit/boot.sh" "$kernel" --memory 1024 --timeout 600 -- "$work/redirect.test" -test.v $short -test.timeout 9m >"$work/$kernel" 2>"$work/$kernel.err" || status=$?
	printf '%-6s exit %d, %d s; %s; %d passed, %d skipped\n' "$kernel" $status $((SECONDS - began)) "$(tail -n 1 "$work/$kernel.err")" \
		"$(grep -c '^--- PASS' "$work/$kernel")" "$(grep -c '^--- SKIP' "$work/$kernel")"
	if [ $status != 0 ]; then
		failed=1
		grep -B12 -E -- '^ *--- FAIL|^panic|boot.sh' "$work/$kernel" "$work/$kernel.err" || tail -n 30 "$work/$kernel" "$work/$kernel.err"
	fi
done
exit $failed
