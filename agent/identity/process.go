package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
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
	dir, err := openProcess(f)
	if err != nil {
		return known, err
	}
	defer dir.Close()
	cgroup, err := cgroupOf(dir)
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
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, gone(f.PID, err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("/proc/%d/root", f.PID)), nil
}

// openProcess opens the directory of a process, which stays that of this process
// whoever has its pid later, and checks that it is the one of f.
func openProcess(f Facts) (*os.File, error) {
	if f.PID == 0 {
		return nil, fmt.Errorf("process 0: %w", ErrGone)
	}
	dir, err := os.OpenFile("/proc/"+strconv.FormatUint(uint64(f.PID), 10), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, gone(f.PID, err)
	}
	started, err := startOf(dir)
	if err != nil {
		dir.Close()
		return nil, gone(f.PID, err)
	}
	later := f.At != 0 && started > f.At
	other := f.StartTime != 0 && started != time.Duration(f.StartTime).Truncate(tick)
	if later || other {
		dir.Close()
		return nil, fmt.Errorf("process %d is another one: %w", f.PID, ErrGone)
	}
	return dir, nil
}

func gone(pid uint32, err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return fmt.Errorf("process %d: %w", pid, err)
}

// readAt reads a small file below dir.
func readAt(dir *os.File, name string) ([]byte, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, 64<<10))
}

// startOf returns when the process started: field 22 of its stat, which counts
// from behind the name, since that may hold anything.
func startOf(dir *os.File) (time.Duration, error) {
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
func cgroupOf(dir *os.File) (string, error) {
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
	for _, mount := range cgroupMounts {
		var fs unix.Statfs_t
		var st unix.Stat_t
		if unix.Statfs(mount, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		if err := unix.Stat(filepath.Join(mount, path), &st); err != nil {
			return 0, err
		}
		return st.Ino, nil
	}
	return 0, errors.New("cgroup2 is not mounted")
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

// exeOf returns the executable's path if the host finds that very file there.
func exeOf(dir *os.File) string {
	buf := make([]byte, 4096)
	n, err := unix.Readlinkat(int(dir.Fd()), "exe", buf)
	if err != nil || n == len(buf) {
		return ""
	}
	path := string(buf[:n])
	var running, there unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), "exe", &running, 0) != nil || unix.Lstat(path, &there) != nil ||
		running.Dev != there.Dev || running.Ino != there.Ino {
		return ""
	}
	return path
}

func userName(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return u.Username
}
