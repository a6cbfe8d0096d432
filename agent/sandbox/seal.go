package sandbox

import (
	"errors"
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// allowed is what a Go program needs that reads and writes descriptors it was
// given and files below its directories. No group opens a way out: no socket,
// connect, bind, listen, execve, ptrace, kill, bpf, io_uring, keyctl, mount, ns.
var allowed = [...][]string{
	// descriptors and files
	{"read", "write", "readv", "writev", "pread64", "pwrite64", "close", "lseek",
		"fstat", "newfstatat", "statx", "openat", "getdents64", "readlinkat", "mkdirat",
		"unlinkat", "renameat", "renameat2", "ftruncate", "fallocate", "fsync",
		"fdatasync", "sync_file_range", "flock", "fcntl", "dup3", "fchmod", "faccessat2",
		"statfs", "fstatfs", "getcwd", "umask", "fadvise64", "splice"},
	// sockets that were passed in
	{"sendmsg", "recvmsg", "sendto", "recvfrom", "accept4", "shutdown", "getsockname",
		"getpeername", "getsockopt", "setsockopt"},
	// waiting
	{"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "pipe2",
		"poll", "ppoll", "pselect6", "futex", "nanosleep", "clock_nanosleep", "sched_yield",
		"restart_syscall", "timerfd_create", "timerfd_settime"},
	// memory
	{"munmap", "mremap", "madvise", "brk", "msync", "mincore", "mlock", "munlock"},
	// threads and signals of this process
	{"exit", "exit_group", "set_robust_list", "rseq", "gettid", "getpid", "tgkill",
		"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "rt_sigtimedwait",
		"sched_getaffinity", "membarrier", "timer_create", "timer_settime", "timer_delete",
		"setitimer"},
	// asking
	{"clock_gettime", "gettimeofday", "clock_getres", "getrandom", "uname", "sysinfo",
		"getuid", "geteuid", "getgid", "getegid", "getppid", "getrusage", "getrlimit"},
}

// Seal installs the seccomp filter on all threads. What is not allowed fails
// with EPERM. It cannot be undone, and fails if no_new_privs is not set.
func Seal() error {
	if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || v != 1 {
		return errors.New("seal: no_new_privs is not set")
	}
	// No core dump and no ptrace by others of this uid: sessions are in memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("clear dumpable: %w", err)
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	filter := seccomp.Filter{
		Flag: seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls: []seccomp.SyscallGroup{allow(info), threads(), {
				Names:  []string{"clone3"},
				Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS),
			}},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("load seccomp filter: %w", err)
	}
	return nil
}

// allow is the group of everything in allowed that this architecture has: arm64
// lacks the older of two names for one call.
func allow(info *arch.Info) seccomp.SyscallGroup {
	g := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, names := range allowed {
		for _, name := range names {
			if _, ok := info.SyscallNames[name]; ok {
				g.Names = append(g.Names, name)
			}
		}
	}
	return g
}

// threads lets the process make threads of its own and set what concerns itself
// alone. clone3 hides its flags behind a pointer; ENOSYS makes glibc use clone.
func threads() seccomp.SyscallGroup {
	// CLONE_THREAD requires CLONE_SIGHAND and CLONE_VM (clone(2)): one bit says it all.
	thread := seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD}}
	noExec := seccomp.ArgumentConditions{{Argument: 2, Operation: seccomp.BitsNotSet, Value: unix.PROT_EXEC}}
	exactly := func(arg uint32, v uint64) seccomp.ArgumentConditions {
		return seccomp.ArgumentConditions{{Argument: arg, Operation: seccomp.Equal, Value: v}}
	}
	return seccomp.SyscallGroup{
		Action: seccomp.ActionAllow,
		NamesWithCondtions: []seccomp.NameWithConditions{
			{Name: "clone", Conditions: thread},
			{Name: "prctl", Conditions: exactly(0, unix.PR_SET_VMA)},
			{Name: "prctl", Conditions: exactly(0, unix.PR_SET_NAME)},
			// Reading and writing memory is enough; nothing is ever made executable.
			{Name: "mmap", Conditions: noExec},
			{Name: "mprotect", Conditions: noExec},
			{Name: "prlimit64", Conditions: exactly(2, 0)},
		},
	}
}
