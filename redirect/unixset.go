package redirect

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sluicegate.io/sluice/bpf"
)

// SetUnix replaces the unix sockets whose connections are redirected: those of workloads
// are refused from then on in every namespace that has no [UnixListener] for them. It
// returns [ErrUnsupported] before Linux 6.7.
//
// Call it again, from time to time, for paths whose folder may be made again: see
// [Kernel.UnixWeak].
func (k *Kernel) SetUnix(all []UnixEndpoint) error {
	if err := k.setUnix(all); err != nil {
		return fmt.Errorf("unix endpoints: %w", err)
	}
	return nil
}

func (k *Kernel) setUnix(all []UnixEndpoint) error {
	want := map[bpf.SluiceUnixName]bool{}
	for _, e := range all {
		name, err := e.name()
		if err != nil {
			return err
		}
		want[name] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pins == nil {
		return ErrClosed
	}
	if len(all) == 0 && !k.unix {
		return nil
	}
	if !k.unix {
		return ErrUnsupported
	}
	numbers, err := k.unixNumbers()
	if err != nil {
		return err
	}
	names := k.maps[bpf.SluiceMapUnixNames]
	for name := range want {
		if _, known := numbers[name]; known {
			continue
		}
		numbers[name] = unused(numbers)
		if err := names.Put(&name, numbers[name]); err != nil {
			return err
		}
	}
	for name := range numbers {
		if !want[name] {
			if err := names.Delete(&name); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return err
			}
		}
	}
	return k.guardUnix(all)
}

// unixNumbers reads which endpoint has which number.
func (k *Kernel) unixNumbers() (map[bpf.SluiceUnixName]uint32, error) {
	numbers := map[bpf.SluiceUnixName]uint32{}
	var (
		name bpf.SluiceUnixName
		n    uint32
	)
	it := k.maps[bpf.SluiceMapUnixNames].Iterate()
	for it.Next(&name, &n) {
		numbers[name] = n
	}
	return numbers, it.Err()
}

func unused(numbers map[bpf.SluiceUnixName]uint32) uint32 {
	used := map[uint32]bool{}
	for _, n := range numbers {
		used[n] = true
	}
	free := uint32(0)
	for used[free] {
		free++
	}
	return free
}

// guardUnix tells the guard where the sockets of paths are. What it cannot guard is kept
// for UnixWeak.
func (k *Kernel) guardUnix(all []UnixEndpoint) error {
	k.weak = map[UnixEndpoint]string{}
	if len(all) == 0 {
		return errors.Join(k.untrace(bpf.SluiceProgSluiceUnixGuard), replace(k.maps[bpf.SluiceMapUnixFiles], map[bpf.SluiceUnixFile]bool{}))
	}
	files := map[bpf.SluiceUnixFile]bool{}
	for _, e := range all {
		if strings.HasPrefix(string(e), "@") {
			continue // it has no other name
		}
		file, why := e.file()
		if why != "" {
			k.weak[e] = why
			continue
		}
		files[file] = true
	}
	if err := replace(k.maps[bpf.SluiceMapUnixFiles], files); err != nil {
		return err
	}
	err := k.trace(bpf.SluiceProgSluiceUnixGuard)
	if err == nil {
		return nil
	}
	k.log.Debug("unix sockets are not guarded", "error", err)
	for _, e := range all {
		if !strings.HasPrefix(string(e), "@") {
			k.weak[e] = "this kernel lets no program look at the socket that is found (fmod_ret of security_unix_stream_connect)"
		}
	}
	return nil
}

// file finds the folder of a path, as the kernel numbers it. why says why it can't be told.
func (e UnixEndpoint) file() (f bpf.SluiceUnixFile, why string) {
	dir, name := filepath.Split(string(e))
	if len(name) >= len(f.Name) {
		return f, "its name is too long"
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return f, "its folder is not there: " + err.Error()
	}
	if err := unix.Statfs(dir, &fs); err != nil {
		return f, "its folder cannot be looked at: " + err.Error()
	}
	switch fs.Type {
	case unix.OVERLAYFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC: // they number for stat(2) otherwise
		return f, "its folder is on a file system that does not tell its number"
	}
	f.Device = uint64(unix.Major(st.Dev))<<20 | uint64(unix.Minor(st.Dev))
	f.Folder = st.Ino
	copy(f.Name[:], name)
	return f, ""
}

// UnixWeak tells which endpoints are redirected by name alone, and why: another spelling
// of the path, or another mount, leads past the proxy. It is as of the last SetUnix.
func (k *Kernel) UnixWeak() map[UnixEndpoint]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	weak := map[UnixEndpoint]string{}
	for e, why := range k.weak {
		weak[e] = why
	}
	return weak
}
