package identity

import (
	"sync"

	"golang.org/x/sys/unix"
)

// directories keeps the directories in /proc of processes that connect often open. A
// directory is that of its process for good, and a process that is gone has nothing in
// it. So the two that name a process, its pid and when it started, as the kernel notes
// them with each connect(2), need not be compared again. What is in the directory is read
// for every connection: the process may have moved, or be another program.
var directories struct {
	sync.Mutex
	open map[processKey]*directory
}

type processKey struct {
	pid     uint32
	started uint64
}

// directory is an open one and how many use it. It is closed when the last one lets go
// after it was dropped.
type directory struct {
	fd      int
	users   int
	dropped bool
}

// manyDirectories bounds the descriptors that are kept. All are dropped at once, so that
// those of processes that are gone do not stay.
const manyDirectories = 128

// enter returns the directory of the process of f, and how to let go of it: whether
// what was read of it made sense.
func enter(f Facts) (dir int, leave func(good bool), err error) {
	key := processKey{f.PID, f.StartTime}
	d := &directories
	if f.StartTime != 0 {
		d.Lock()
		if k := d.open[key]; k != nil {
			k.users++
			d.Unlock()
			return k.fd, func(good bool) { k.leave(key, good) }, nil
		}
		d.Unlock()
	}
	if dir, err = openProcess(f); err != nil {
		return -1, nil, err
	}
	if f.StartTime == 0 {
		return dir, func(bool) { unix.Close(dir) }, nil
	}
	k := &directory{fd: dir, users: 1}
	d.Lock()
	defer d.Unlock()
	if len(d.open) >= manyDirectories {
		for key, old := range d.open {
			old.drop(key)
		}
	}
	if d.open == nil {
		d.open = make(map[processKey]*directory)
	}
	if d.open[key] == nil {
		d.open[key] = k
	} else {
		k.dropped = true // another one was first
	}
	return dir, func(good bool) { k.leave(key, good) }, nil
}

func (k *directory) leave(key processKey, good bool) {
	directories.Lock()
	defer directories.Unlock()
	if !good && !k.dropped {
		k.drop(key)
	}
	if k.users--; k.users == 0 && k.dropped {
		unix.Close(k.fd)
	}
}

// drop has k closed when nobody uses it. The lock is held.
func (k *directory) drop(key processKey) {
	if directories.open[key] == k {
		delete(directories.open, key)
	}
	k.dropped = true
	if k.users == 0 {
		unix.Close(k.fd)
	}
}
