package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// hostLock is held while an agent comes or goes, so that none takes what another is
// making for what a dead one has left. Only root can open it.
const hostLock = "/run/sluice.lock"

// alone waits until no other agent of this host comes or goes. Where there is no
// lock to be had it does without: then two that start at once may get in each
// other's way, and one of them fails.
func alone() (done func()) {
	f, err := os.OpenFile(hostLock, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return func() {}
	}
	for unix.Flock(int(f.Fd()), unix.LOCK_EX) == unix.EINTR {
	}
	return func() { f.Close() }
}
