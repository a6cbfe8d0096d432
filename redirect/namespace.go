package redirect

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNamespace runs do on a thread that is in netns; nil, or the namespace that the
// process is in, costs nothing.
func inNamespace(netns *os.File, do func() error) error {
	if netns == nil || sameNamespace(netns) {
		return do()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("own namespace: %w", err)
			return
		}
		defer home.Close()
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("%w: setns: %w", ErrNoNamespace, err)
			return
		}
		err = do()
		// A thread that cannot go home ends with this goroutine, still locked.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

func sameNamespace(netns *os.File) bool {
	var own, other unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &own) != nil || unix.Fstat(int(netns.Fd()), &other) != nil {
		return false
	}
	return own.Ino == other.Ino && own.Dev == other.Dev
}

// soNetnsCookie is SO_NETNS_COOKIE, since 5.14.
const soNetnsCookie = 71

// NetnsCookie returns the cookie of a network namespace, as an [Origin] has it; nil is
// the one of this process.
func NetnsCookie(netns *os.File) (cookie uint64, err error) {
	err = inNamespace(netns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, soNetnsCookie)
		if err != nil {
			return fmt.Errorf("namespace cookie: %w", err)
		}
		return nil
	})
	return cookie, err
}

// reopen gives a descriptor of its own for a namespace; nil is that of this process.
func reopen(netns *os.File) (*os.File, error) {
	if netns == nil {
		return os.Open("/proc/thread-self/ns/net")
	}
	fd, err := unix.FcntlInt(netns.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNamespace, err)
	}
	return os.NewFile(uintptr(fd), netns.Name()), nil
}
