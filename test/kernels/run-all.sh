#!/bin/bash
# run-all.sh [KVER...]: runs the tests of package redirect, and those of test/e2e that start
# daemons one after the other, on Debian's kernels of these series, each in a virtual machine
# (default: 5.10, 6.1, 6.12 and the newest there is), and prints a line for each. The programs
# must pass every verifier, and no test may be skipped that the kernel could run. Without KVM the counts of long loops are divided by
# ten (SLUICETEST_DIVIDE): it takes up to 11 minutes a kernel then. A kernel before 5.15 must
# be refused: by doctor with exit status 1, and by exec and agent with a sentence, leaving
# nothing behind. It needs root, qemu and a Debian mirror.
. "$(dirname "$0")/lib.sh"
need go=golang
series=("$@")
[ $# -gt 0 ] || series=(5.10 6.1 6.12 "$("$kit/fetch.sh" --list | cut -d' ' -f1 | sort -Vu | tail -n 1)")
"$kit/fetch.sh" "${series[@]}"
divide=10
[ ! -w /dev/kvm ] || ! grep -qwE 'vmx|svm' /proc/cpuinfo || divide=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$kit/../.." && CGO_ENABLED=0 go test -c -trimpath -o "$work/" ./redirect ./test/e2e && make -s build && cp out/sluice "$work/sluice")
failed=0
for kernel in "${series[@]}"; do
	began=$SECONDS status=0
	if [ "$(printf '%s\n' "$kernel" 5.15 | sort -V | head -n 1)" != 5.15 ]; then
		nice "$kit/boot.sh" "$kernel" --memory 1024 --timeout 300 -- "$kit/refused.sh" "$work/sluice" >"$work/$kernel" 2>"$work/$kernel.err" || status=$?
		printf '%-6s exit %d, %d s; %s; %s\n' "$kernel" $status $((SECONDS - began)) "$(tail -n 1 "$work/$kernel.err")" "$(tail -n 1 "$work/$kernel")"
	else
		nice "$kit/boot.sh" "$kernel" --memory 1024 --timeout 1800 -- "$kit/redirect.sh" "$work" $divide \
			>"$work/$kernel" 2>"$work/$kernel.err" || status=$?
		printf '%-6s exit %d, %d s; %s; %d passed, %d failed, %d skipped; counts divided by %d\n' "$kernel" $status $((SECONDS - began)) "$(tail -n 1 "$work/$kernel.err")" \
			"$(grep -c '^--- PASS' "$work/$kernel")" "$(grep -c '^--- FAIL' "$work/$kernel")" "$(grep -c '^--- SKIP' "$work/$kernel")" $divide
		grep -A1 -- '^--- SKIP' "$work/$kernel" || true
	fi
	if [ $status != 0 ]; then
		failed=1
		grep -B12 -E -- '^ *--- FAIL|^panic|boot.sh' "$work/$kernel" "$work/$kernel.err" || tail -n 30 "$work/$kernel" "$work/$kernel.err"
	fi
done
exit $failed
