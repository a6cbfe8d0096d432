package redirect_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/redirect"
)

// like matches a pattern in which * stands for anything.
func like(got, pattern string) bool {
	expr := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")
	return regexp.MustCompile("^" + expr + "$").MatchString(got)
}

// refused is what a connect hook's refusal looks like on this kernel.
func refused() string {
	if hasErrno() {
		return "ECONNREFUSED"
	}
	return "EPERM"
}

// divide is by how much the counts of long loops are divided: where the processor is
// emulated they would take hours (test/kernels/run-all.sh). TestMain tells of it.
var divide = func() int {
	if n, err := strconv.Atoi(os.Getenv("SLUICETEST_DIVIDE")); err == nil && n > 0 {
		return n
	}
	return 1
}()

// many is n, or the part of it that divide leaves.
func many(n int) int { return max(n/divide, 1) }

// hasErrno tells if connect hooks can choose the error: since 6.1.
func hasErrno() bool {
	var u unix.Utsname
	unix.Uname(&u)
	var major, minor int
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return major*1000+minor >= 6001
}

func cgroupID(t testing.TB, path string) uint64 {
	t.Helper()
	id, err := redirect.CgroupID(path)
	must(t, err)
	return id
}

func uptime(t testing.TB) time.Duration {
	t.Helper()
	var ts unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts))
	return time.Duration(ts.Nano())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
