package enroll

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrNoCgroup means that a workload has no cgroup now: its unit does not run.
var ErrNoCgroup = errors.New("no such cgroup")

// Mount returns where the cgroup2 hierarchy is mounted.
func Mount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// proc_pid_mountinfo(5): ... root mountpoint options ... - fstype source options
		before, after, found := strings.Cut(sc.Text(), " - ")
		fields := strings.Fields(before)
		if found && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 && fields[3] == "/" {
			return unescape(fields[4]), nil
		}
	}
	return "", errors.New("cgroup2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup; see sluice doctor")
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Own returns the cgroup of a process below mount.
func Own(mount string, pid int) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return "", fmt.Errorf("find cgroup of process: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if path, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); found {
			return filepath.Join(mount, path), nil
		}
	}
	return "", fmt.Errorf("find cgroup of process %d: %w", pid, ErrNoCgroup)
}

// Unit returns the cgroup of a systemd unit: the folder that has its name. systemd
// escapes nothing in the names of services, scopes and slices that are in use. What is
// in the folder of a service, or of an account, is not systemd's: whoever may make
// cgroups there must not pass for a unit.
func Unit(mount, unit string) (string, error) {
	var found string
	root := owner(mount)
	err := filepath.WalkDir(mount, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir // it went away meanwhile
		case !d.IsDir():
			return nil
		case d.Name() == unit:
			found = path
			return fs.SkipAll
		case path != mount && (strings.HasSuffix(d.Name(), ".service") || owner(path) != root):
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("find unit %s: %w", unit, err)
	}
	if found == "" {
		return "", fmt.Errorf("find unit %s: %w", unit, ErrNoCgroup)
	}
	return found, nil
}

// owner returns the user id that a folder belongs to, and -1 if it is gone.
func owner(path string) int64 {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return -1
	}
	return int64(st.Uid)
}

// Processes returns the processes of the cgroup at path and below.
func Processes(path string) []int {
	var pids []int
	filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(p, "cgroup.procs"))
		if err != nil {
			return nil
		}
		for line := range strings.Lines(string(data)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// Populated reports whether any process lives at path or below.
func Populated(path string) bool {
	data, err := os.ReadFile(filepath.Join(path, "cgroup.events"))
	return err == nil && strings.Contains(string(data), "populated 1")
}

// Join moves a process into the cgroup at path.
func Join(path string, pid int) error {
	if err := os.WriteFile(filepath.Join(path, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		return fmt.Errorf("join cgroup: %w", err)
	}
	return nil
}

// RemoveTree removes the cgroup at path and those below it. They must be empty.
func RemoveTree(path string) error {
	var all []string
	filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, p)
		}
		return nil
	})
	var failed error
	for i := len(all) - 1; i >= 0; i-- {
		if err := os.Remove(all[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return failed
}
