package session

import (
	"context"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
)

const (
	// longText is what a text has to be longer than for its judging to be counted, in bytes.
	longText = 8 << 10
	// deskUnit is what a judging process has room for a processor, in bytes of text. The tree
	// of a text takes some 500 times its size.
	deskUnit = 1 << 20
)

// desk bounds how much text is judged at a time: a tree takes some hundred times the memory
// of its text, and every workload can send as many texts as it has sessions. Workloads that
// wait have their turns one after the other, whatever each of them sends.
type desk struct {
	mu    sync.Mutex
	room  int                // bytes of text
	lines map[uint64][]*seat // that wait, by cgroup
	turns []uint64           // the cgroups of lines, whose turn is next first
}

type seat struct {
	size int
	free chan struct{} // closed when it is taken
}

func newDesk() *desk {
	units := runtime.GOMAXPROCS(0)
	if limit := debug.SetMemoryLimit(-1); limit < 1<<50 {
		units = min(units, int(limit>>30))
	}
	return &desk{room: max(units, 1) * deskUnit, lines: map[uint64][]*seat{}}
}

// enter waits until there is room for a text of that many bytes, at most deskUnit. leave
// gives it back; it is nil if ctx ended before.
func (d *desk) enter(ctx context.Context, cgroup uint64, size int) (leave func()) {
	size = min(size, deskUnit)
	done := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.room += size
		d.next()
	}
	d.mu.Lock()
	if len(d.turns) == 0 && size <= d.room {
		d.room -= size
		d.mu.Unlock()
		return done
	}
	s := &seat{size: size, free: make(chan struct{})}
	if len(d.lines[cgroup]) == 0 {
		d.turns = append(d.turns, cgroup)
	}
	d.lines[cgroup] = append(d.lines[cgroup], s)
	d.mu.Unlock()
	select {
	case <-s.free:
		return done
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-s.free: // at the same moment
		d.room += size
	default:
		d.drop(cgroup, slices.Index(d.lines[cgroup], s))
	}
	d.next()
	return nil
}

// drop takes the i-th of a line out of it. d.mu is held.
func (d *desk) drop(cgroup uint64, i int) {
	line := slices.Delete(d.lines[cgroup], i, i+1)
	if len(line) > 0 {
		d.lines[cgroup] = line
		return
	}
	delete(d.lines, cgroup)
	d.turns = slices.DeleteFunc(d.turns, func(c uint64) bool { return c == cgroup })
}

// next lets in who has room. d.mu is held.
func (d *desk) next() {
	for len(d.turns) > 0 {
		cgroup := d.turns[0]
		s := d.lines[cgroup][0]
		if s.size > d.room {
			return
		}
		d.room -= s.size
		close(s.free)
		d.turns = append(d.turns[1:], cgroup)
		d.drop(cgroup, 0)
	}
}
