package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// sync brings what was appended to the disk, every interval and when somebody
// waits for it: all that wait are served by one fdatasync.
func (s *Store) sync() {
	defer s.done.Done()
	tick := time.NewTicker(s.o.Interval)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		case <-s.wantSync:
		}
		s.syncOnce()
	}
}

func (s *Store) syncOnce() error {
	s.mu.Lock()
	target, cur, sealed, head := s.head.count, s.cur, s.sealed, s.head
	s.sealed = nil
	if len(sealed) > 0 {
		s.finishing = sealed[0].number
	}
	first := s.oldest.Swap(0)
	s.mu.Unlock()

	s.syncing.Lock()
	idle := target == s.synced
	s.syncing.Unlock()
	if idle && len(sealed) == 0 {
		return nil
	}
	var err error
	for _, seg := range sealed {
		if e := seg.finish(); e != nil {
			err = fmt.Errorf("sync segment %d: %w", seg.number, e)
		}
		s.totals.Lock()
		s.totals.segments++
		s.totals.size += seg.off
		s.totals.Unlock()
	}
	if cur != nil && err == nil {
		// Only syncOnce closes a segment's file, and it never runs twice at once.
		if e := unix.Fdatasync(int(cur.file.Fd())); e != nil {
			err = fmt.Errorf("sync segment %d: %w", cur.number, e)
		}
	}
	s.syncs.Add(1)
	if now := time.Now(); err == nil && len(s.o.Key) > 0 && (cur == nil || now.Sub(s.anchored) >= s.o.Interval) {
		s.anchored = now
		if e := writeAnchor(s.dir, newAnchor(s.lane, &head, s.o.Key)); e != nil {
			s.o.Log.Warn("anchor of the records can't be written", "error", e)
		}
	}
	if err != nil {
		// What the kernel could not write it may have dropped: nothing that is
		// not known to be on the disk can be promised any more.
		s.mu.Lock()
		err = s.fail(err)
		s.mu.Unlock()
		s.oldest.CompareAndSwap(0, first)
	}
	s.syncing.Lock()
	if err == nil {
		s.synced = target
	} else {
		s.dead = true
	}
	s.syncing.Unlock()
	s.cond.Broadcast()
	if len(sealed) > 0 {
		s.mu.Lock()
		s.finishing = 0
		s.mu.Unlock()
		s.signal(s.wantKeep)
	}
	return err
}

// waitSynced returns when count frames are on the disk.
func (s *Store) waitSynced(count uint64) error {
	s.signal(s.wantSync)
	s.syncing.Lock()
	defer s.syncing.Unlock()
	for s.synced < count {
		if s.dead {
			return fmt.Errorf("event is not on the disk: %w", ErrFailed)
		}
		s.cond.Wait()
		if s.synced < count {
			s.signal(s.wantSync)
		}
	}
	return nil
}

// keep reserves segments ahead, makes their pages present, indexes those that are
// full, and retires old ones.
func (s *Store) keep() {
	defer s.done.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	retired := time.Now()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wantKeep:
		case <-tick.C:
		}
		s.mu.Lock()
		cur := s.cur
		var used int64
		if cur != nil {
			used = cur.off
		}
		s.mu.Unlock()
		if cur != nil && used > cur.populated.Load()-populateStep/2 {
			cur.populate()
		}
		// The next one is worth reserving when this one is half full, and at once
		// when there was no room.
		if cur != nil && (used > cur.size/2 || s.full.Load()) {
			s.ahead()
		}
		if now := time.Now(); now.Sub(retired) >= time.Second {
			retired = now
			s.index()
			s.retire(now)
		}
	}
}

// index writes the missing indexes of full segments.
func (s *Store) index() {
	busy := s.busy()
	all, err := segments(s.dir)
	if err != nil {
		return
	}
	for _, n := range all {
		if n >= busy {
			return
		}
		if _, err := os.Stat(filepath.Join(s.dir, indexName(n))); errors.Is(err, os.ErrNotExist) {
			if sum, err := summarize(s.dir, n); err == nil {
				writeIndex(s.dir, n, sum)
			}
		}
		select {
		case <-s.stop:
			return
		default:
		}
	}
}

// retire removes the oldest segments that are beyond the options, after it has
// said so in the current one.
func (s *Store) retire(now time.Time) {
	if s.o.MaxBytes <= 0 && s.o.MaxAge <= 0 {
		return
	}
	all, err := segments(s.dir)
	if err != nil {
		return
	}
	busy := s.busy()
	sizes, times := make([]int64, len(all)), make([]time.Time, len(all))
	var total int64
	for i, n := range all {
		if info, err := os.Stat(filepath.Join(s.dir, segmentName(n))); err == nil {
			sizes[i], times[i] = info.Size(), info.ModTime()
			total += sizes[i]
		}
	}
	for i, n := range all {
		large, old := s.o.MaxBytes > 0 && total > s.o.MaxBytes, s.o.MaxAge > 0 && now.Sub(times[i]) > s.o.MaxAge
		if n >= busy || !large && !old {
			if i > 0 {
				s.remove(now, all[:i], n)
			}
			return
		}
		total -= sizes[i]
	}
}

// busy returns the oldest segment that is not complete on the disk.
func (s *Store) busy() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finishing > 0 {
		return s.finishing
	}
	if len(s.sealed) > 0 {
		return s.sealed[0].number
	}
	return s.head.segment
}

// remove retires segments; kept is the first that stays.
func (s *Store) remove(now time.Time, old []uint64, kept uint64) {
	f, info, err := openSegment(s.dir, kept)
	if err != nil {
		s.o.Log.Warn("old records are kept, since what follows them can't be read", "segment", kept, "error", err)
		return
	}
	f.Close()
	s.mu.Lock()
	ok := s.failed == nil && s.cur != nil && s.cur.room() >= spare
	if ok {
		err = s.own(now, kindRetire, func(w *encoder) {
			w.uint(kept)
			w.uint(info.before)
			w.bytes(info.lane[:])
		})
	}
	s.mu.Unlock()
	if !ok || err != nil {
		return // at the next opportunity
	}
	for _, n := range old {
		path := filepath.Join(s.dir, segmentName(n))
		size := int64(0)
		if info, err := os.Stat(path); err == nil {
			size = info.Size()
		}
		if err := os.Remove(path); err != nil {
			s.o.Log.Warn("old records can't be removed", "error", err)
			return
		}
		os.Remove(filepath.Join(s.dir, indexName(n)))
		s.totals.Lock()
		s.totals.segments--
		s.totals.size -= size
		s.totals.Unlock()
	}
	s.o.Log.Info("old records removed", "segments", len(old), "kept", kept)
}

// syncDir makes the names in a directory durable. What it can't do, the sync of
// the files will tell.
func syncDir(path string) {
	if d, err := os.Open(path); err == nil {
		d.Sync()
		d.Close()
	}
}
