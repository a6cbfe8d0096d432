package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// errDamaged means bytes that no writer left there.
var errDamaged = errors.New("damaged")

// scanner reads the frames of a segment file, which may be growing meanwhile. It
// reads and does not map: a file that shrinks is then an error, not a signal.
type scanner struct {
	file io.ReaderAt
	off  int64 // of the next frame
	buf  []byte
	at   int64 // offset of buf in the file
}

const scanWindow = 256 << 10

// openSegment opens segment n of a lane and reads its header.
func openSegment(lane string, n uint64) (*os.File, segmentInfo, error) {
	f, err := os.Open(filepath.Join(lane, segmentName(n)))
	if err != nil {
		return nil, segmentInfo{}, err
	}
	head := make([]byte, segmentHeader)
	if _, err := io.ReadFull(f, head); err != nil {
		f.Close()
		return nil, segmentInfo{}, errHeader
	}
	info, err := parseSegment(head)
	if err == nil && info.number != n {
		err = errHeader
	}
	if err != nil {
		f.Close()
		return nil, info, err
	}
	return f, info, nil
}

func newScanner(f io.ReaderAt) *scanner { return &scanner{file: f, off: segmentHeader} }

// window returns n bytes at off, fewer at the end of the file.
func (s *scanner) window(off int64, n int) ([]byte, error) {
	if i := off - s.at; i >= 0 && i+int64(n) <= int64(len(s.buf)) {
		return s.buf[i : i+int64(n)], nil
	}
	size := max(n, scanWindow)
	if cap(s.buf) < size {
		s.buf = make([]byte, size)
	}
	s.buf = s.buf[:size]
	got, err := s.file.ReadAt(s.buf, off)
	s.buf, s.at = s.buf[:got], off
	if err != nil && err != io.EOF {
		return nil, err
	}
	return s.buf[:min(n, got)], nil
}

// next reads the next frame into f, which is valid until the call after. It
// returns io.EOF at the end of what is written so far, and errDamaged for bytes
// that are no frame; off is then where they are.
func (s *scanner) next(f *frame) error {
	for try := 0; ; try++ {
		err := s.read(f)
		// A live file: what was read may be older in one place than in another.
		if !errors.Is(err, errDamaged) || try == 1 {
			return err
		}
		s.buf = s.buf[:0]
	}
}

func (s *scanner) read(f *frame) error {
	head, err := s.window(s.off, 8)
	if err != nil {
		return err
	}
	if len(head) < 8 {
		return io.EOF
	}
	size := binary.LittleEndian.Uint32(head)
	if size == 0 {
		s.buf = s.buf[:0] // look again next time
		return io.EOF
	}
	if size < frameMin || size > frameMax {
		return fmt.Errorf("%w: a size of %d at offset %d", errDamaged, size, s.off)
	}
	if int(size) > scanWindow {
		// Before room for a large frame is made, make sure that it is there.
		var last [1]byte
		if n, _ := s.file.ReadAt(last[:], s.off+int64(size)-1); n == 0 {
			return fmt.Errorf("%w: cut off at offset %d", errDamaged, s.off)
		}
	}
	raw, err := s.window(s.off, int(size))
	if err != nil {
		return err
	}
	if !f.parse(raw) {
		return fmt.Errorf("%w: checksum at offset %d", errDamaged, s.off)
	}
	f.offset = s.off
	s.off += pad(int64(size))
	return nil
}

// skip steps over a damaged frame, if a sound one follows. Else the rest of the
// file can't be read.
func (s *scanner) skip() bool {
	head, err := s.window(s.off, 8)
	if err != nil || len(head) < 8 {
		return false
	}
	size := binary.LittleEndian.Uint32(head)
	if size < frameMin || size > frameMax {
		return false
	}
	probe := &scanner{file: s.file, off: s.off + pad(int64(size))}
	var f frame
	if err := probe.read(&f); err != nil {
		return false
	}
	s.off += pad(int64(size))
	return true
}

// segments lists the segment numbers of a lane in order.
func segments(lane string) ([]uint64, error) {
	entries, err := os.ReadDir(lane)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".seg"); ok {
			if n, err := strconv.ParseUint(name, 10, 64); err == nil && segmentName(n) == e.Name() {
				all = append(all, n)
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all, nil
}

const lanePrefix = "lane-"

func laneName(n int) string { return fmt.Sprintf("%s%02d", lanePrefix, n) }

// lanes lists the lanes of a directory. A directory that is not there has none.
func lanes(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	var all []int
	for _, e := range entries {
		if num, ok := strings.CutPrefix(e.Name(), lanePrefix); ok && e.IsDir() {
			if n, err := strconv.Atoi(num); err == nil && laneName(n) == e.Name() {
				all = append(all, n)
			}
		}
	}
	sort.Ints(all)
	return all, nil
}
