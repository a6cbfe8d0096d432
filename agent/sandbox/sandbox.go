package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Options say what the process keeps. The zero value keeps no path at all.
type Options struct {
	ReadWrite []string // directories, such as the state directory; must exist
	ReadOnly  []string // directories or files; those that do not exist are skipped
	// Optional lets Enter go on where the kernel has no Landlock (before 5.13, or
	// not in its lsm= list). The caller says so loudly; seccomp stays required.
	Optional bool
}

// ErrNoLandlock means that this kernel offers no Landlock.
var ErrNoLandlock = errors.New("kernel has no Landlock; add it to the lsm= boot parameter")

// self is opened, not resolved again: the file may have been replaced on disk.
const self = "/proc/self/exe"

// Command returns a command that runs this executable with args as uid and gid,
// with no supplementary groups and no capabilities, killed when its parent's
// thread dies. Its environment is env alone.
func Command(uid, gid uint32, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(self, args...)
	cmd.Env = env
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: []uint32{}},
		// Enter needs it to empty the bounding set, and gives it up there.
		AmbientCaps: []uintptr{unix.CAP_SETPCAP},
		Setsid:      true, // a terminal's signals are for the redirector to act on
	}
	return cmd
}

// Enter restricts the calling process and executes it again as args (args[0] is
// its name) with env. It returns only on error; the caller must then exit.
func Enter(o Options, args, env []string) error {
	if os.Geteuid() == 0 {
		return errors.New("enter sandbox: still root")
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	if err := dropAll(); err != nil {
		return err
	}
	exe, err := os.Readlink(self)
	if err != nil {
		return fmt.Errorf("enter sandbox: %w", err)
	}
	switch err := landlocked(o); {
	case errors.Is(err, ErrNoLandlock) && o.Optional:
	case err != nil:
		return err
	}
	if err := syscall.Exec(self, args, env); err != nil {
		return fmt.Errorf("execute %s in sandbox: %w", exe, err)
	}
	return nil
}

// landlocked puts this thread into a Landlock domain. ABI 4 (Linux 6.7) adds
// TCP, ABI 6 (6.12) abstract unix sockets and signals; older kernels get what
// they have, and seccomp covers sockets anyway.
func landlocked(o Options) error {
	abi, err := llsys.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return ErrNoLandlock
	}
	rules := []landlock.Rule{
		landlock.ROFiles(self), // its path may lead through what this user may not search
		landlock.RODirs(o.ReadOnly...).IgnoreIfMissing(),
	}
	if len(o.ReadWrite) > 0 {
		rules = append(rules, landlock.RWDirs(o.ReadWrite...))
	}
	if err := landlock.V6.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("restrict by Landlock: %w", err)
	}
	return nil
}

// dropAll empties all sets of capabilities of this thread, and so of what it
// executes: the bounding set too, where the thread may.
func dropAll() error {
	for c := uintptr(0); c < 64; c++ {
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err {
		case nil, unix.EINVAL: // the kernel has fewer
		default:
			return fmt.Errorf("empty bounding set: %w", err)
		}
	}
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&h, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}
