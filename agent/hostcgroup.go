package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// initialCgroups is the first cgroup namespace: PROC_CGROUP_INIT_INO of
// include/linux/proc_ns.h. What /proc/1 is in, not everybody who is root may read.
const initialCgroups = "cgroup:[4026531835]"

// EnterHost runs this program again in the cgroup namespace of the host, if it is in
// another: a container has one of its own, in which it sees neither where it is nor
// whose cgroup another process is in. It returns if there is nothing to do, or on error.
// The container must share the host's process ids.
func EnterHost() error {
	const own, hosts = "/proc/self/ns/cgroup", "/proc/1/ns/cgroup"
	here, err := os.Readlink(own)
	if err != nil || here == initialCgroups {
		return nil // a kernel without them, or the first one: there is none above
	}
	there, err := os.Readlink(hosts)
	if err != nil {
		return fmt.Errorf("enter the host's cgroup namespace: %w", err)
	}
	if here == there {
		return nil
	}
	f, err := os.Open(hosts)
	if err != nil {
		return fmt.Errorf("enter the host's cgroup namespace: %w", err)
	}
	defer f.Close()
	// The thread that is in it executes the program, and is then all of the process.
	runtime.LockOSThread()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("enter the host's cgroup namespace: %w", err)
	}
	if now, err := os.Readlink("/proc/thread-self/ns/cgroup"); err != nil || now != there {
		return errors.New("enter the host's cgroup namespace: the kernel did not") // and would not the next time
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// contained reports whether this process sees other files than the host's first one.
func contained() bool {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return false
	}
	hosts, err := os.Readlink("/proc/1/ns/mnt")
	return err == nil && own != hosts
}
