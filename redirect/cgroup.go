package redirect

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A cgroup is a directory of the v2 hierarchy, as programs name it.
type cgroup struct {
	path  string // absolute, below the mount
	root  string // of the hierarchy
	id    uint64
	level uint32 // 0 is the root
	top   uint64 // id of what is mounted at root
}

// openCgroup finds out about the cgroup at path.
func openCgroup(path string) (cgroup, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return cgroup{}, fmt.Errorf("cgroup: %w", err)
	}
	root, err := hierarchyOf(path)
	if err != nil {
		return cgroup{}, err
	}
	id, err := CgroupID(path)
	if err != nil {
		return cgroup{}, err
	}
	top, err := CgroupID(root)
	if err != nil {
		return cgroup{}, err
	}
	c := cgroup{path: path, root: root, id: id, top: top}
	if c.level, err = levelOf(top); err != nil {
		return cgroup{}, fmt.Errorf("cgroup %s: %w", root, err)
	}
	if rel, _ := filepath.Rel(root, path); rel != "." {
		c.level += uint32(strings.Count(rel, "/")) + 1
	}
	return c, nil
}

// holds tells if path is c or below it.
func (c cgroup) holds(path string) bool {
	return path == c.path || strings.HasPrefix(path, strings.TrimSuffix(c.path, "/")+"/")
}

// CgroupID returns the id of the cgroup at path, as an [Origin] has it.
func CgroupID(path string) (uint64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return 0, fmt.Errorf("cgroup %s: not a directory", path)
	}
	return stat.Ino, nil
}

// hierarchyOf returns the mount point of the cgroup2 that path is in.
func hierarchyOf(path string) (string, error) {
	mounts, err := hierarchies()
	if err != nil {
		return "", err
	}
	best := ""
	for _, m := range mounts {
		if (cgroup{path: m}).holds(path) && len(m) > len(best) {
			best = m
		}
	}
	if best == "" {
		return "", fmt.Errorf("cgroup %s: not in a cgroup2 mount", path)
	}
	return best, nil
}

// hierarchies lists where cgroup2 is mounted.
func hierarchies() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	defer f.Close()
	var mounts []string
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, _ := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		if len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			mounts = append(mounts, fields[4])
		}
	}
	return mounts, nil
}

// subtree calls do with the id and path of c and of all cgroups below.
func (c cgroup) subtree(do func(path string, id uint64)) error {
	return filepath.WalkDir(c.path, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // went away while we looked
		}
		if err != nil || !d.IsDir() {
			return err
		}
		if id, err := CgroupID(path); err == nil {
			do(path, id)
		}
		return nil
	})
}

// cgroupOfProcess gives the path that a process has in the hierarchy. Others may be in
// /proc too, with names that look like anything but a line's end.
func cgroupOfProcess(pid string) (string, error) {
	data, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path, nil
		}
	}
	return "", errors.New("it is in no cgroup2")
}

// processes lists the processes of c and of all cgroups below.
func (c cgroup) processes() ([]int, error) {
	var pids []int
	err := c.subtree(func(path string, _ uint64) {
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return
		}
		for _, line := range strings.Fields(string(data)) {
			var pid int
			if _, err := fmt.Sscan(line, &pid); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	})
	return pids, err
}

// populated tells if any process is left in the cgroup at path or below.
func populated(path string) bool {
	data, err := os.ReadFile(filepath.Join(path, "cgroup.events"))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Join(path, "cgroup.procs"))
		return err == nil // the root of all, which has no events and is never empty
	} else if err != nil {
		return true
	}
	return strings.Contains(string(data), "populated 1")
}
