package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"

	"sluicegate.io/sluice/bpf"
)

// Sweep removes the installations below pinRoot (one directory each) whose agent is
// dead and whose parent cgroup is gone or has no process left. It returns the
// directories that it removed.
func Sweep(pinRoot string) ([]string, error) {
	entries, err := os.ReadDir(pinRoot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	var removed []string
	var failed error
	for _, e := range entries {
		dir := filepath.Join(pinRoot, e.Name())
		if !e.IsDir() {
			continue
		}
		swept, err := sweep(dir)
		failed = errors.Join(failed, err)
		if swept {
			removed = append(removed, dir)
		}
	}
	return removed, failed
}

func sweep(dir string) (bool, error) {
	lock, err := lockDir(dir)
	if errors.Is(err, ErrInUse) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("sweep: %w", err)
	}
	defer lock.Close()
	alive, err := parentAlive(dir)
	if err != nil || alive {
		return false, err
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*", "links"))
	for _, links := range found {
		detachVeths(links, slog.New(slog.DiscardHandler))
	}
	if err := removePins(dir); err != nil {
		return false, fmt.Errorf("sweep: %w", err)
	}
	return true, nil
}

// parentAlive tells if the parent of an installation has a process. A directory that
// is not an installation of ours is left alone.
func parentAlive(dir string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, layout)); err != nil {
		return true, nil
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, layout, "maps", bpf.SluiceMapSettings), &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it died before it was installed
	} else if err != nil {
		return true, fmt.Errorf("sweep %s: %w", dir, err)
	}
	defer m.Close()
	var s bpf.SluiceSetting
	if err := m.Lookup(uint32(0), &s); err != nil {
		return true, fmt.Errorf("sweep %s: %w", dir, err)
	}
	mounts, err := hierarchies()
	if err != nil {
		return true, err
	}
	for _, root := range mounts {
		if path, err := pathOf(root, s.Parent); err == nil {
			return populated(path), nil
		}
	}
	return false, nil
}
