#!/bin/sh
# test.sh runs go test and prints a line a package and what failed. The whole
# output is kept in out/test.log. For root, a test that was skipped is a failure:
# what is not run is not tested.
#
#   scripts/test.sh PACKAGES...
set -eu
cd "$(dirname "$0")/.."
mkdir -p out
began=$(date +%s)
status=0
go test -count=1 -timeout 30m -v "$@" >out/test.log 2>&1 || status=$?
grep -E '^(ok|FAIL|panic:|\?)|^ *--- FAIL|build failed|^# ' out/test.log | grep -v 'no test files' || true
if [ $status -ne 0 ]; then
	echo
	echo "Failures (all of it is in out/test.log):"
	# Everything a failing test printed, without the passing ones around it.
	awk '/^ *--- FAIL/ { show = 1 } /^ *--- (PASS|SKIP)|^=== |^ok|^PASS/ { show = 0 } show' out/test.log | head -n 200
	grep -E -A20 '^(panic:|# )' out/test.log | head -n 60 || true
fi
skipped=$(grep -cE '^ *--- SKIP' out/test.log || true)
if [ "$skipped" != 0 ]; then
	echo "Skipped ($skipped):"
	grep -E -A2 '^ *--- SKIP' out/test.log | grep -v '^=== ' | head -n 40
	if [ "$(id -u)" = 0 ]; then
		echo "Root can run every test, so a skipped one is a failure."
		status=1
	fi
fi
echo "$(grep -cE '^ *--- PASS' out/test.log || true) passed, $(grep -cE '^ *--- FAIL' out/test.log || true) failed, $skipped skipped in $(($(date +%s) - began)) s"
exit $status
