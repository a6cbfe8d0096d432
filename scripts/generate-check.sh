#!/bin/sh
# generate-check.sh compiles the BPF programs and writes the CRDs again and fails if
# what is committed differs. Objects depend on the compiler: Debian 12's clang is the one
# that counts.
set -eu
cd "$(dirname "$0")/.."
if ! ls bpf/*.c >/dev/null 2>&1; then
	echo "generate: no programs"
	exit 0
fi
if ! command -v clang >/dev/null; then
	echo "generate: clang is missing (scripts/setup.sh installs it)" >&2
	exit 1
fi
generated="bpf agent/chart/crds"
before=$(git status --porcelain -- $generated)
go generate ./bpf/... ./agent/enroll/cluster
after=$(git status --porcelain -- $generated)
if [ "$before" != "$after" ] || { [ -z "$before" ] && ! git diff --exit-code --stat -- $generated; }; then
	echo "generate: $generated: not what its sources make; run make generate and commit" >&2
	git diff --stat -- $generated >&2
	exit 1
fi
echo "generate: $generated: up to date"
