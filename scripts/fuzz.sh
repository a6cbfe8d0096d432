#!/bin/sh
# fuzz.sh runs every fuzz target of the tree for some time each.
#
#   scripts/fuzz.sh [DURATION]
set -eu
cd "$(dirname "$0")/.."
duration=${1:-60s}
git grep -hoE --full-name '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' >/dev/null || exit 0
git grep -lE '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u | while read -r dir; do
	for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | cut -c6- | sort -u); do
		echo "fuzz: $dir $target for $duration"
		go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -parallel 2
	done
done
