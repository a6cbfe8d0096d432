package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// keptFile is the name, in the state directory, of the last good objects. It holds
// what files of configuration hold, and no secret: those are named, not contained.
const keptFile = "cluster.json"

// kept is one object on disk.
type kept struct {
	Kind       string          `json:"kind"`
	Name       string          `json:"name"`
	UID        string          `json:"uid"`
	Generation int64           `json:"generation"`
	Created    time.Time       `json:"created"`
	Data       json.RawMessage `json:"data"`
}

// keep writes what is in force, if that has changed. s.mu is held.
func (s *Source) keep() error {
	if s.o.Dir == "" {
		return nil
	}
	list := []kept{}
	for _, v := range sorted(s.objects.inForce()) {
		list = append(list, kept{v.Kind, v.Name, v.UID, v.Generation, v.Created, v.Data})
	}
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("keep objects: %w", err)
	}
	if bytes.Equal(data, s.written) {
		return nil
	}
	if err := replace(filepath.Join(s.o.Dir, keptFile), data); err != nil {
		return fmt.Errorf("keep objects: %w", err)
	}
	s.written = data
	return nil
}

// replace writes a file that is there whole or not at all, also after a power cut.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// load takes what is on disk as in force until the API server says otherwise.
func (s *Source) load() error {
	if s.o.Dir == "" {
		return nil
	}
	data, err := readOwn(filepath.Join(s.o.Dir, keptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var list []kept
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("%s: %w", keptFile, err)
	}
	for _, k := range list {
		s.objects.assume(Object{Key: Key{k.Kind, k.Name}, UID: k.UID, Generation: k.Generation, Created: k.Created, Data: k.Data})
	}
	s.kept, s.written = true, data
	return nil
}

// readOwn reads a file that nobody but us and root can have written.
func readOwn(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Uid != 0 && int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s: others than root may have written it", path)
	}
	if info.Size() > 2*maxBytes {
		return nil, fmt.Errorf("%s: too large", path)
	}
	return io.ReadAll(f)
}
