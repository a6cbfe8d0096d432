package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// layout is the version of what is pinned: it changes with any map of package bpf, but not
// with one that is only added. An agent does not adopt another version; it installs its own
// beside it, which refuses until everything is enrolled again, and then removes the old one.
const layout = "v3"

// Pins is the directory of one installation on a bpffs.
type pins struct {
	dir  string
	lock *os.File
}

const defaultBPFFS = "/sys/fs/bpf"

// openPins makes or finds dir and locks it. The lock is gone with the process.
func openPins(dir string) (*pins, error) {
	if err := mountBPFFS(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("pin: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("pin: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("pin %s: %w", dir, err)
	} else if st.Type != unix.BPF_FS_MAGIC {
		os.Remove(dir)
		return nil, fmt.Errorf("pin %s: not on a bpffs", dir)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	p := &pins{dir: dir, lock: lock}
	for _, sub := range []string{p.maps(), p.links()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			lock.Close()
			return nil, fmt.Errorf("pin: %w", err)
		}
	}
	return p, nil
}

func (p *pins) maps() string            { return filepath.Join(p.dir, layout, "maps") }
func (p *pins) links() string           { return filepath.Join(p.dir, layout, "links") }
func (p *pins) link(name string) string { return filepath.Join(p.links(), name) }

// lockDir takes the lock of dir, which is readable by its owner alone, so that nobody
// else can hold it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("pin: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("pin %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("pin %s: lock: %w", dir, err)
	}
	return f, nil
}

// Held reports whether a live process holds the pin directory dir.
func Held(dir string) bool {
	lock, err := lockDir(dir)
	if err == nil {
		lock.Close()
	}
	return errors.Is(err, ErrInUse)
}

// removeOthers removes what other versions have pinned.
func (p *pins) removeOthers() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	for _, e := range entries {
		if e.Name() != layout {
			if err := removePins(filepath.Join(p.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// removePins removes dir and everything in it. Links are detached first: when a link is
// only unpinned, its program may run a little longer.
func removePins(dir string) error {
	var failed error
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "links" {
			return nil
		}
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return nil // a program that a filter of clsact holds
		}
		defer l.Close()
		// Where a cgroup or namespace is gone there is nothing to detach from.
		if err := l.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) && !errors.Is(err, ebpf.ErrNotSupported) {
			failed = errors.Join(failed, fmt.Errorf("pin %s: %w", path, err))
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pin: %w", err)
	}
	return errors.Join(err, failed)
}

// mountBPFFS mounts the usual bpffs if dir is to be on it and it is not there.
func mountBPFFS(dir string) error {
	if dir != defaultBPFFS && !strings.HasPrefix(dir, defaultBPFFS+"/") {
		return nil
	}
	lock, err := os.Open(filepath.Dir(defaultBPFFS))
	if err != nil {
		return fmt.Errorf("bpffs: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("bpffs: lock: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(defaultBPFFS, &st); err != nil {
		return fmt.Errorf("bpffs: %w", err)
	} else if st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", defaultBPFFS, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700"); err != nil {
		return fmt.Errorf("mount bpffs: %w", err)
	}
	return nil
}
