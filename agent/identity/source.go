package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// TokenMax is the size of the largest token that is read or verified.
const TokenMax = 16 << 10

// ErrNoToken means that the file has no token: it is missing, empty, too large, or
// no regular file.
var ErrNoToken = errors.New("no token")

// Source reads a token file, again whenever it changed. It is used by the
// redirector, which hands the bytes to the proxy unverified. It is safe for
// concurrent use.
type Source struct {
	Path string
	// Root, if it is set, is the directory that Path is resolved below, as the
	// workload sees it; no link leads out of it. See the function Root.
	Root *os.File

	mu      sync.Mutex
	token   []byte
	version uint64
	closed  bool
}

// Read returns the token, and a version that changes when it does. The token is
// not to be changed. The error holds nothing of it.
func (s *Source) Read() (token []byte, version uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, err = s.read()
	if err != nil {
		s.token = nil
		return nil, 0, fmt.Errorf("token file %s: %w", s.Path, err)
	}
	if s.version == 0 || !bytes.Equal(token, s.token) {
		s.token = token
		s.version++
	}
	return s.token, s.version, nil
}

// Close closes Root. Nothing can be read afterwards.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.Root == nil {
		return nil
	}
	return s.Root.Close()
}

func (s *Source) open() (*os.File, error) {
	if s.closed {
		return nil, os.ErrClosed
	}
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	if s.Root == nil {
		fd, err := unix.Open(s.Path, flags, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), s.Path), nil
	}
	fd, err := unix.Openat2(int(s.Root.Fd()), s.Path, &unix.OpenHow{Flags: flags,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), s.Path), nil
}

func (s *Source) read() ([]byte, error) {
	// What a workload put there may be a device or a pipe, whose opening alone has
	// effects: O_PATH has none, but a link may move before the second open. So the
	// open is non-blocking, and its result is looked at before it is read.
	file, err := s.open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoToken, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is not a regular file: %w", ErrNoToken)
	}
	if info.Size() > TokenMax+2 {
		return nil, fmt.Errorf("it is larger than %d bytes: %w", TokenMax, ErrNoToken)
	}
	raw, err := io.ReadAll(io.LimitReader(file, TokenMax+3))
	if err != nil {
		return nil, fmt.Errorf("it can't be read: %w", ErrNoToken)
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || len(raw) > TokenMax {
		return nil, fmt.Errorf("it has %d bytes: %w", len(raw), ErrNoToken)
	}
	return raw, nil
}
