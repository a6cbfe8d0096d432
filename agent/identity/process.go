package identity

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/policy"
)

// Errors that callers test for with errors.Is. With any of them the Process that
// is returned holds only what the kernel noted.
var (
	// ErrGone means that the process is not there any more, or that its pid belongs
	// to another one by now. It is normal for a short-lived client.
	ErrGone = errors.New("process is gone")

	// ErrMoved means that the process is neither in the enrolled cgroup of its socket nor
	// below: it was moved, or got the socket from somewhere else.
	ErrMoved = errors.New("process is not in the cgroup of its socket")
)

// Facts are what the kernel noted when the process called connect(2).
type Facts struct {
	PID, UID  uint32
	CgroupID  uint64        // enrolled, in or below which the socket was born; 0: not known
	StartTime uint64        // of the thread group, nanoseconds of CLOCK_BOOTTIME, 0: not known
	At        time.Duration // of connect(2), CLOCK_BOOTTIME, 0: not known
}

// tick is the unit of start times in /proc: USER_HZ is 100 on every architecture
// that Go runs on.
const tick = 10 * time.Millisecond

// Process looks up the process of f in /proc, and makes sure that it is the one
// of f and not a later one with the same pid. With an error the returned Process
// holds what f alone proves (PID, UID and its name), and nothing of /proc.
//
// Exe is empty unless the host finds the same file under that path: a container's
// /usr/bin/psql is not the host's.
func Process(f Facts) (policy.Process, error) {
	known := policy.Process{PID: f.PID, UID: f.UID, User: userName(f.UID)}
	dir, leave, err := enter(f)
	if err != nil {
		return known, err
	}
	cgroup, err := cgroupOf(dir)
	defer leave(err == nil)
	if err != nil {
		return known, err
	}
	if f.CgroupID != 0 {
		if !within(cgroup, f.CgroupID) {
			return known, fmt.Errorf("process %d: %w", f.PID, ErrMoved)
		}
	}
	found := known
	found.Cgroup = cgroup
	found.Exe = exeOf(dir)
	return found, nil
}

// Root opens the root directory of the process of f, for Source. The caller
// closes it.
func Root(f Facts) (*os.File, error) {
	dir, err := openProcess(f)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, gone(f.PID, err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("/proc/%d/root", f.PID)), nil
}

// openProcess opens the directory of a process, which stays that of this process
// whoever has its pid later, and checks that it is the one of f.
func openProcess(f Facts) (dir int, err error) {
	if f.PID == 0 {
		return -1, fmt.Errorf("process 0: %w", ErrGone)
	}
	dir, err = open(unix.AT_FDCWD, "/proc/"+strconv.FormatUint(uint64(f.PID), 10), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, gone(f.PID, err)
	}
	started, err := startOf(dir)
	if err != nil {
		unix.Close(dir)
		return -1, gone(f.PID, err)
	}
	later := f.At != 0 && started > f.At
	other := f.StartTime != 0 && started != time.Duration(f.StartTime).Truncate(tick)
	if later || other {
		unix.Close(dir)
		return -1, fmt.Errorf("process %d is another one: %w", f.PID, ErrGone)
	}
	return dir, nil
}

func gone(pid uint32, err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return fmt.Errorf("process %d: %w", pid, err)
}

// open is openat(2). These files are of /proc and never block, and there is one more of
// each for every connection: the runtime's poller is not told of them.
func open(dir int, name string, flags int) (fd int, err error) {
	for {
		if fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0); err != unix.EINTR {
			return fd, err
		}
	}
}

// readAt reads a small file below dir.
func readAt(dir int, name string) ([]byte, error) {
	fd, err := open(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 1024)
	for len(b) < 64<<10 {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, 4*cap(b)), b...)
		}
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return b, nil
		default:
			b = b[:len(b)+n]
		}
	}
	return b, nil
}

// startOf returns when the process started: field 22 of its stat, which counts
// from behind the name, since that may hold anything.
func startOf(dir int) (time.Duration, error) {
	b, err := readAt(dir, "stat")
	if err != nil {
		return 0, err
	}
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return 0, errors.New("malformed stat")
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 20 {
		return 0, errors.New("malformed stat")
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 63)
	if err != nil {
		return 0, errors.New("malformed stat")
	}
	return time.Duration(ticks) * tick, nil
}

// cgroupOf returns the path of the process below the cgroup2 mount.
func cgroupOf(dir int) (string, error) {
	b, err := readAt(dir, "cgroup")
	if err != nil {
		return "", gone(0, err)
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("no cgroup2: %w", ErrMoved)
}

// cgroupMounts are where cgroup2 is: alone, or beside version 1.
var cgroupMounts = [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// cgroupID returns the id of a cgroup, which is its inode number.
func cgroupID(path string) (uint64, error) {
	mount := cgroupMount()
	if mount == "" {
		return 0, errors.New("cgroup2 is not mounted")
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(mount, path), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// within reports whether a cgroup is that of the id, or below it, as containers of a pod are.
func within(cgroup string, id uint64) bool {
	for path := filepath.Clean("/" + cgroup); ; path = filepath.Dir(path) {
		if got, err := cgroupID(path); err == nil && got == id {
			return true
		}
		if path == "/" {
			return false
		}
	}
}

// cgroupMount is the one of them that is there, which does not change while we run.
var cgroupMount = sync.OnceValue(func() string {
	for _, mount := range cgroupMounts {
		var fs unix.Statfs_t
		if unix.Statfs(mount, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return mount
		}
	}
	return ""
})

// exeOf returns the executable's path if the host finds that very file there.
func exeOf(dir int) string {
	var buf [4096]byte
	n, err := unix.Readlinkat(dir, "exe", buf[:])
	if err != nil || n == len(buf) {
		return ""
	}
	path := string(buf[:n])
	var running, there unix.Stat_t
	if unix.Fstatat(dir, "exe", &running, 0) != nil || unix.Lstat(path, &there) != nil ||
		running.Dev != there.Dev || running.Ino != there.Ino {
		return ""
	}
	return path
}
