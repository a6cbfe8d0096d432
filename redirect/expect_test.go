package redirect_test

import (
	"fmt"
	"os"
	"regexp"
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

// many is n, or a part of it where the processor is emulated (test/kernels/run-all.sh).
func many(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

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
