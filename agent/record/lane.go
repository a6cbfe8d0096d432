package record

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const lockFile = "lock"

// lockLane takes the first lane that no other writer has. The lock belongs to
// the open file, and goes with its process.
func lockLane(dir string) (number int, lock *os.File, err error) {
	for n := range 100 {
		lane := filepath.Join(dir, laneName(n))
		if err := os.Mkdir(lane, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return 0, nil, fmt.Errorf("create lane: %w", err)
		}
		f, err := os.OpenFile(filepath.Join(lane, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return 0, nil, fmt.Errorf("lock lane: %w", err)
		}
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if err == nil {
			return n, f, nil
		}
		f.Close()
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return 0, nil, fmt.Errorf("lock lane: %w", err)
		}
	}
	return 0, nil, errors.New("open records: 100 others write there")
}

// live says that a writer has the lane.
func live(lane string) bool {
	f, err := os.Open(filepath.Join(lane, lockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_RDLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}

// Reasons of a seal.
const (
	sealFull      = "full"
	sealClosed    = "closed"
	sealRecovered = "recovered"
)

// resume is where a lane goes on, and what was found there.
type resume struct {
	head         // segment is the last that there is, 0: none
	clean bool   // it was closed, or there was none
	lost  uint64 // events that the head counts and the files do not have
	note  string // what is wrong with the last segment, "" if nothing
}

// recoverLane finds the end of what an earlier writer left, and seals its last
// segment. It removes nothing but reserved segments: bytes that it can't read
// stay as they are, for Verify to report.
func recoverLane(lane string, now time.Time) (resume, error) {
	all, err := segments(lane)
	if err != nil {
		return resume{}, fmt.Errorf("read lane: %w", err)
	}
	known, haveHead := readHead(lane)
	for len(all) > 0 {
		n := all[len(all)-1]
		f, info, err := openSegment(lane, n)
		if errors.Is(err, errUnused) || errors.Is(err, errHeader) && unusedFile(lane, n) {
			if err := os.Remove(filepath.Join(lane, segmentName(n))); err != nil {
				return resume{}, err
			}
			all = all[:len(all)-1]
			continue
		}
		if errors.Is(err, errHeader) {
			// Nothing can be chained to it but what the head remembers.
			known.segment = max(n, known.segment)
			return resume{head: known, note: fmt.Sprintf("header of segment %d is damaged", n)}, nil
		}
		if err != nil {
			return resume{}, fmt.Errorf("read segment %d: %w", n, err)
		}
		r, err := recoverSegment(f, info)
		f.Close()
		if err != nil {
			return resume{}, fmt.Errorf("recover segment %d: %w", n, err)
		}
		if haveHead && known.count > r.count {
			// What follows a hole may still be worth a look: nothing is cut off.
			r.lost = known.count - r.count
			r.note = fmt.Sprintf("segment %d ends before the head", r.segment)
			r.segment = max(r.segment, known.segment)
		}
		if !r.clean && r.note == "" {
			if err := r.seal(lane, now); err != nil {
				return resume{}, fmt.Errorf("seal segment %d: %w", n, err)
			}
		}
		return r, nil
	}
	if haveHead && known.count > 0 {
		return resume{head: known, note: "all segments are gone", lost: known.count}, nil
	}
	return resume{clean: true}, nil
}

// unusedFile says that a file begins with zeros or is empty.
func unusedFile(lane string, n uint64) bool {
	f, err := os.Open(filepath.Join(lane, segmentName(n)))
	if err != nil {
		return false
	}
	defer f.Close()
	var b [segmentHeader]byte
	io.ReadFull(f, b[:])
	return b == [segmentHeader]byte{}
}

func recoverSegment(f *os.File, info segmentInfo) (resume, error) {
	r := resume{head: head{count: info.before, segment: info.number, lane: info.after()}}
	s := newScanner(f)
	for {
		var fr frame
		err := s.next(&fr)
		if err == io.EOF {
			break
		}
		if errors.Is(err, errDamaged) {
			r.note = fmt.Sprintf("segment %d is unreadable from offset %d", info.number, s.off)
			break
		}
		if err != nil {
			return r, err
		}
		r.lane = link(&r.lane, &fr.hash)
		r.count++
		r.clean = fr.kind == kindSeal
		r.time = fr.time.UnixNano()
	}
	r.end = s.off
	return r, nil
}

// seal ends the segment of a writer that died.
func (r *resume) seal(lane string, now time.Time) error {
	f, err := os.OpenFile(filepath.Join(lane, segmentName(r.segment)), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fr, h, free := storeFrame(&r.lane, now, kindSeal, func(w *encoder) { w.string(sealRecovered); w.uint(r.count) })
	defer free()
	if _, err := f.WriteAt(fr, r.end); err != nil {
		return err
	}
	r.lane = link(&r.lane, &h)
	r.count++
	r.end += pad(int64(len(fr)))
	return errors.Join(f.Truncate(r.end), f.Sync())
}

// storeFrame makes a frame of the store's own. free is to be called when the
// frame is not needed any more.
func storeFrame(lane *hash, now time.Time, k Kind, fill func(*encoder)) (fr []byte, h hash, free func()) {
	sc := newScratch()
	w := encoder(sc.b)
	fill(&w)
	sc.b = w
	fr, h = sc.finish(lane, now, ID{}, 0, k)
	return fr, h, sc.free
}
