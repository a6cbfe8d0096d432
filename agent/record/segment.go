package record

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A segment file begins with a header:
//
//	0   8  magic
//	8   8  number of the segment, from 1 in each lane
//	16  8  time, nanoseconds since 1970
//	24  8  frames in the lane before it
//	32  32 the lane's hash before it
//	64  4  CRC-32C of 0 to 64
//	68  60 zero
//
// A file whose magic is zero was reserved, and not used yet.
const (
	magic         = "SLUICER1"
	segmentHeader = 128
	sealRoom      = 256 // kept free for the seal
	populateStep  = 4 << 20
)

// segmentName is the file of segment n below its lane.
func segmentName(n uint64) string { return fmt.Sprintf("%010d.seg", n) }
func indexName(n uint64) string   { return fmt.Sprintf("%010d.idx", n) }

type segmentInfo struct {
	number uint64
	time   time.Time
	before uint64 // frames before it
	lane   hash   // before it
}

// put writes the header and returns the lane's hash after it.
func (i *segmentInfo) put(b []byte) hash {
	binary.LittleEndian.PutUint64(b[8:], i.number)
	binary.LittleEndian.PutUint64(b[16:], uint64(i.time.UnixNano()))
	binary.LittleEndian.PutUint64(b[24:], i.before)
	copy(b[32:], i.lane[:])
	var head [64]byte
	copy(head[:], b[:64])
	copy(head[:], magic)
	binary.LittleEndian.PutUint32(b[64:], crc32.Checksum(head[:], castagnoli))
	copy(b, magic)
	return i.after()
}

// after returns the lane's hash after the header.
func (i *segmentInfo) after() hash {
	var b [64]byte
	copy(b[:], magic)
	binary.LittleEndian.PutUint64(b[8:], i.number)
	binary.LittleEndian.PutUint64(b[16:], uint64(i.time.UnixNano()))
	binary.LittleEndian.PutUint64(b[24:], i.before)
	copy(b[32:], i.lane[:])
	h := sha256.Sum256(b[:])
	return link(&i.lane, &h)
}

var (
	errUnused = errors.New("segment was reserved and not used")
	errHeader = errors.New("segment header is damaged")
)

func parseSegment(b []byte) (segmentInfo, error) {
	var i segmentInfo
	if len(b) < segmentHeader {
		return i, errHeader
	}
	if binary.LittleEndian.Uint64(b) == 0 {
		return i, errUnused
	}
	if string(b[:8]) != magic || crc32.Checksum(b[:64], castagnoli) != binary.LittleEndian.Uint32(b[64:]) {
		return i, errHeader
	}
	i.number = binary.LittleEndian.Uint64(b[8:])
	i.time = time.Unix(0, int64(binary.LittleEndian.Uint64(b[16:]))).UTC()
	i.before = binary.LittleEndian.Uint64(b[24:])
	copy(i.lane[:], b[32:])
	return i, nil
}

// segment is a file that is being written. Its blocks are reserved, so that a
// full disk is noticed here and not when a page is first touched.
type segment struct {
	number uint64
	path   string
	size   int64 // of the file while it is written
	file   *os.File
	off    int64 // end of the data; guarded by Store.mu

	mu        sync.RWMutex // of the mapping, against unmap
	data      []byte
	populated atomic.Int64
}

// createSegment reserves a file of size bytes, or fewer if the disk has no room
// for them, down to least.
func createSegment(dir string, number uint64, size, least int64) (*segment, error) {
	path := filepath.Join(dir, segmentName(number))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("reserve segment: %w", err)
	}
	for {
		err = reserve(f, size)
		if err == nil || size/2 < least || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			break
		}
		size /= 2
		f.Truncate(0)
	}
	var data []byte
	if err == nil {
		data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, fmt.Errorf("reserve %d bytes for a segment: %w", size, err)
	}
	s := &segment{number: number, path: path, size: size, file: f, data: data, off: segmentHeader}
	s.populate()
	return s, nil
}

// reserve gives f size bytes of zeros that the file system keeps blocks for.
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// populate makes the next pages present, so that an append seldom waits for one.
// Without MADV_POPULATE_WRITE (Linux 5.14) appends fault them in.
func (s *segment) populate() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	from := s.populated.Load()
	to := min(from+populateStep, int64(len(s.data)))
	if from < to {
		unix.Madvise(s.data[from:to], unix.MADV_POPULATE_WRITE)
		s.populated.Store(to)
	}
}

// write copies a frame to the end of the data; the size goes last, so that no
// reader, and no recovery, ever sees half of it. A page that can't be had (the
// file was truncated, the device failed) is an error and not a crash.
func (s *segment) write(frame []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("segment %d: page can't be written: %w", s.number, ErrFailed)
		}
	}()
	at := s.off
	copy(s.data[at+4:], frame[4:])
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&s.data[at])), binary.LittleEndian.Uint32(frame))
	s.off = at + pad(int64(len(frame)))
	return nil
}

// begin writes the header and returns the lane's hash after it.
func (s *segment) begin(info segmentInfo) (h hash, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("segment %d: page can't be written: %w", s.number, ErrFailed)
		}
	}()
	return info.put(s.data), nil
}

// room is what is left, the seal's room not counted.
func (s *segment) room() int64 { return s.size - sealRoom - s.off }

// finish gives the unused rest back, syncs and unmaps.
func (s *segment) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		return nil
	}
	err := unix.Munmap(s.data)
	s.data = nil
	return errors.Join(err, s.file.Truncate(s.off), unix.Fdatasync(int(s.file.Fd())), s.file.Close())
}

// discard removes a segment that was never used.
func (s *segment) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	unix.Munmap(s.data)
	s.data = nil
	s.file.Close()
	os.Remove(s.path)
}
