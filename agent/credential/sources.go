package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// passwordMax is more than any server takes.
const passwordMax = 64 << 10

// held is the last password of a source.
type held struct {
	mu      sync.Mutex
	secret  Secret
	version uint64
}

// set takes a fresh password over and returns a copy for the caller. h.mu is held.
func (h *held) set(raw []byte) (Secret, uint64, error) {
	raw, err := trim(raw)
	if err != nil {
		h.secret.Zero()
		h.secret = Secret{}
		return Secret{}, 0, err
	}
	if h.version == 0 || !bytes.Equal(raw, h.secret.Reveal()) {
		h.secret.Zero()
		h.secret = NewSecret(raw)
		h.version++
	} else {
		clear(raw)
	}
	return h.secret.clone(), h.version, nil
}

// trim takes one line break from the end, and refuses what can't be a password.
func trim(raw []byte) ([]byte, error) {
	raw = bytes.TrimSuffix(raw, []byte("\n"))
	raw = bytes.TrimSuffix(raw, []byte("\r"))
	switch {
	case len(raw) == 0:
		return nil, fmt.Errorf("it is empty: %w", ErrNone)
	case len(raw) > passwordMax:
		clear(raw)
		return nil, fmt.Errorf("it is longer than %d bytes: %w", passwordMax, ErrNone)
	case bytes.IndexByte(raw, 0) >= 0:
		clear(raw)
		return nil, fmt.Errorf("it has a NUL byte: %w", ErrNone)
	}
	return raw, nil
}

// File is a Source that reads a file, again whenever it changed. One line break at
// the end is not part of the password. Symbolic links are followed: that is how
// Kubernetes replaces a Secret at one stroke.
type File struct {
	Path string
	Log  *slog.Logger // told once of permissions that are too wide; default: discard

	held
	stamp stamp
	sure  bool // the stamp is old enough to trust
	warn  sync.Once
}

// stamp is what changes when a file does.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func stampOf(info os.FileInfo) stamp {
	st, _ := info.Sys().(*syscall.Stat_t)
	if st == nil {
		return stamp{}
	}
	return stamp{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
}

// Password implements Source. While the file is missing there is no password.
func (f *File) Password(context.Context) (Secret, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if info, err := os.Stat(f.Path); err == nil && f.sure && stampOf(info) == f.stamp && f.secret.bytes != nil {
		return f.secret.clone(), f.version, nil
	}
	raw, info, err := readFile(f.Path)
	if err != nil {
		f.secret.Zero()
		f.secret = Secret{}
		return Secret{}, 0, fmt.Errorf("password file %s: %w: %w", f.Path, ErrNone, err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 && f.Log != nil {
		f.warn.Do(func() {
			f.Log.Warn("everybody can read a password file", "file", f.Path, "mode", fmt.Sprintf("%04o", mode))
		})
	}
	// A file that was written a moment ago may be written again within the
	// granularity of its times: it is read again until it is older.
	f.stamp, f.sure = stampOf(info), time.Since(info.ModTime()) > 2*time.Second
	s, version, err := f.set(raw)
	if err != nil {
		return Secret{}, 0, fmt.Errorf("password file %s: %w", f.Path, err)
	}
	return s, version, nil
}

// readFile reads a regular file of bounded size. The error has no content of it.
func readFile(path string) ([]byte, os.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, errors.Unwrap(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, errors.Unwrap(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	raw, err := io.ReadAll(io.LimitReader(file, passwordMax+3))
	if err != nil {
		return nil, nil, errors.New("can't be read")
	}
	return raw, info, nil
}

// Env is a Source that reads an environment variable. Whoever starts processes
// must not hand it on to them.
type Env struct {
	Name string

	held
}

// Password implements Source.
func (e *Env) Password(context.Context) (Secret, uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, ok := os.LookupEnv(e.Name)
	if !ok {
		return Secret{}, 0, fmt.Errorf("environment variable %s is not set: %w", e.Name, ErrNone)
	}
	s, version, err := e.set([]byte(v))
	if err != nil {
		return Secret{}, 0, fmt.Errorf("environment variable %s: %w", e.Name, err)
	}
	return s, version, nil
}

// Command is a Source that runs a command and takes its standard output, again
// after TTL. One line break at the end is not part of the password. The command
// gets no input and, but for PATH and Env, an empty environment; what it writes to
// standard error goes nowhere.
type Command struct {
	Argv    []string // the first is an absolute path
	Env     []string
	Timeout time.Duration // default: 10s
	TTL     time.Duration // default: 1m

	held
	read time.Time // when secret was
}

const (
	commandTimeout = 10 * time.Second
	commandTTL     = time.Minute
	commandPath    = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Password implements Source. While one caller runs the command, others wait.
func (c *Command) Password(ctx context.Context) (Secret, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ttl := c.TTL
	if ttl <= 0 {
		ttl = commandTTL
	}
	if c.secret.bytes != nil && !c.read.IsZero() && time.Since(c.read) < ttl {
		return c.secret.clone(), c.version, nil
	}
	raw, err := c.run(ctx)
	if err != nil {
		return Secret{}, 0, fmt.Errorf("credential command: %w: %w", ErrNone, err)
	}
	s, version, err := c.set(raw)
	if err != nil {
		return Secret{}, 0, fmt.Errorf("credential command's output: %w", err)
	}
	c.read = time.Now()
	return s, version, nil
}

// Stale makes the next Password run the command.
func (c *Command) Stale() {
	c.mu.Lock()
	c.read = time.Time{}
	c.mu.Unlock()
}

func (c *Command) run(ctx context.Context) ([]byte, error) {
	if len(c.Argv) == 0 || !filepath.IsAbs(c.Argv[0]) {
		return nil, errors.New("it is not an absolute path")
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = commandTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = append([]string{commandPath}, c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out := &bounded{max: passwordMax + 3}
	cmd.Stdout = out
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil && out.over {
		err = fmt.Errorf("it prints more than %d bytes", passwordMax)
	}
	if err != nil {
		clear(out.b)
		return nil, err // an exit status, a signal, or why it did not start
	}
	return out.b, nil
}

// bounded keeps the first max bytes, and fails at more, so that the command ends.
type bounded struct {
	b    []byte
	max  int
	over bool
}

func (w *bounded) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > w.max {
		w.over = true
		return 0, errors.New("too much output")
	}
	w.b = append(w.b, p...)
	return len(p), nil
}
