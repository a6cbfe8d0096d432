# Sourced by the scripts beside it: Sluice's kernel test kit.
#
#   KERNELS_DIR  where kernels and running guests live (default: out/kernels)

set -euo pipefail
kit=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
mkdir -p "${KERNELS_DIR:=$kit/../../out/kernels}"
KERNELS_DIR=$(readlink -f "$KERNELS_DIR")
export KERNELS_DIR

fail() { echo "${0##*/}: $*" >&2; exit 1; }

# need COMMAND=PACKAGE... fails naming every Debian package that is missing.
need() {
	local pair missing=()
	for pair; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
	[ ${#missing[@]} = 0 ] || fail "missing: apt-get install ${missing[*]}"
}
