package agent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// defaultUser is the account of the proxy that package policy assumes.
const defaultUser = "sluice"

// FallbackUID is the user and group id of the proxy where the default account
// does not exist. systemd and the usual distributions leave this number alone.
const FallbackUID = 60987

// account returns the ids that the proxy runs as.
func account(name string) (uid, gid uint32, err error) {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) || errors.Is(err, fs.ErrNotExist) {
		if name != defaultUser {
			return 0, 0, fmt.Errorf("user %s of kind Agent: no such account on this host", name)
		}
		return FallbackUID, FallbackUID, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look up user %s: %w", name, err)
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("look up user %s: %w", name, err)
	}
	group, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("look up user %s: %w", name, err)
	}
	if id == 0 {
		return 0, 0, fmt.Errorf("user %s is root, which the proxy must not be", name)
	}
	return uint32(id), uint32(group), nil
}

// state is the directories that the agent keeps.
type state struct {
	dir     string // of the redirector
	private string // of the proxy: its certificate authority
	records string // of the proxy
}

// prepare makes the directories, and gives the proxy's to it.
func prepare(dir, records string, uid, gid uint32) (state, error) {
	s := state{dir: dir, private: PrivateDir(dir), records: records}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return s, fmt.Errorf("make state directory (stateDir of kind Agent, or --state): %w", err)
	}
	for _, d := range []string{s.private, s.records} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return s, fmt.Errorf("make state directory (stateDir of kind Agent, or --state): %w", err)
		}
		if err := give(d, uid, gid); err != nil {
			return s, fmt.Errorf("give state directory to the proxy: %w", err)
		}
	}
	return s, nil
}

// PrivateDir is the proxy's own directory below a state directory.
func PrivateDir(state string) string { return filepath.Join(state, "proxy") }

// give changes the owner of dir and what is in it, if that is another account's.
// Links are not followed: the directory may have been the proxy's for long.
func give(dir string, uid, gid uint32) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == uid && st.Gid == gid {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(uid), int(gid))
	})
}

// maskKey returns the secret of the hash masks, made once for each state directory.
func maskKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "mask.key")
	key, err := os.ReadFile(path)
	if err == nil && len(key) >= 16 {
		return key, nil
	}
	if err == nil {
		return nil, fmt.Errorf("%s is damaged: restore it, or remove it and have all hash masks change", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read mask key: %w", err)
	}
	key = make([]byte, 32)
	rand.Read(key)
	// Linked into place, so that of several agents that start at once one wins.
	tmp, err := os.CreateTemp(dir, ".mask.key-*")
	if err != nil {
		return nil, fmt.Errorf("make mask key in the state directory: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(key)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("make mask key in the state directory: %w", err)
	}
	if err := os.Link(tmp.Name(), path); errors.Is(err, fs.ErrExist) {
		return os.ReadFile(path)
	} else if err != nil {
		return nil, fmt.Errorf("make mask key in the state directory: %w", err)
	}
	return key, nil
}

// GivePrivate gives files that root made in the proxy's directory to the proxy.
func GivePrivate(state string) error {
	dir := PrivateDir(state)
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Lchown(filepath.Join(dir, e.Name()), int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return nil
}
