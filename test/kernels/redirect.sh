#!/bin/sh
# redirect.sh DIR N: in a guest, the tests of redirect and of daemons, which are in DIR. Counts
# of long loops are divided by N, and waits are as many times longer.
status=0
SLUICETEST_DIVIDE=$2 "$1/redirect.test" -test.v -test.timeout 14m || status=1
SLUICETEST_SLOW=$2 SLUICE_BINARY=$1/sluice "$1/e2e.test" -test.v -test.timeout 14m \
	-test.run '^Test(Restarted|Succession|JoinFromWorkload)$' || status=1
exit $status
