package record

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"golang.org/x/sys/unix"
)

// A head says how far a lane goes: the file "head" is rewritten, in one of two
// slots by turns, with every append, so that a tail that was cut off is missed.
//
//	0   8  frames in the lane
//	8   8  segment
//	16  8  end of its data
//	24  8  time, nanoseconds since 1970
//	32  32 the lane's hash
//	64  4  CRC-32C of 0 to 64
type head struct {
	count   uint64
	segment uint64
	end     int64
	time    int64
	lane    hash
}

const (
	headFile   = "head"
	headSlot   = 128
	headSize   = 4096
	anchorFile = "anchor"
)

// headPage is the mapped file of a writer.
type headPage struct {
	file *os.File
	data []byte
}

func openHead(lane string) (*headPage, error) {
	f, err := os.OpenFile(filepath.Join(lane, headFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	var data []byte
	if err = unix.Fallocate(int(f.Fd()), 0, 0, headSize); errors.Is(err, unix.EOPNOTSUPP) {
		err = f.Truncate(headSize)
	}
	if err == nil {
		data, err = unix.Mmap(int(f.Fd()), 0, headSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("map head: %w", err)
	}
	return &headPage{file: f, data: data}, nil
}

func (p *headPage) put(h *head) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("head can't be written: %w", ErrFailed)
		}
	}()
	b := p.data[h.count%2*headSlot:][:headSlot]
	binary.LittleEndian.PutUint64(b[0:], h.count)
	binary.LittleEndian.PutUint64(b[8:], h.segment)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.end))
	binary.LittleEndian.PutUint64(b[24:], uint64(h.time))
	copy(b[32:], h.lane[:])
	binary.LittleEndian.PutUint32(b[64:], crc32.Checksum(b[:64], castagnoli))
	return nil
}

func (p *headPage) close() error {
	return errors.Join(unix.Munmap(p.data), unix.Fdatasync(int(p.file.Fd())), p.file.Close())
}

// readHead returns the newest sound slot, false if there is none.
func readHead(lane string) (head, bool) {
	b, err := os.ReadFile(filepath.Join(lane, headFile))
	if err != nil || len(b) < 2*headSlot {
		return head{}, false
	}
	var newest head
	for slot := range 2 {
		b := b[slot*headSlot:][:headSlot]
		if crc32.Checksum(b[:64], castagnoli) != binary.LittleEndian.Uint32(b[64:]) {
			continue
		}
		h := head{count: binary.LittleEndian.Uint64(b), segment: binary.LittleEndian.Uint64(b[8:]),
			end: int64(binary.LittleEndian.Uint64(b[16:])), time: int64(binary.LittleEndian.Uint64(b[24:]))}
		copy(h.lane[:], b[32:])
		if h.count >= newest.count {
			newest = h
		}
	}
	return newest, newest.segment > 0
}

// An Anchor is a head that is worth keeping elsewhere: whoever has one can tell
// that the log still holds everything up to it. With a key it can't be made up.
type Anchor struct {
	Lane    int       `json:"lane"`
	Segment uint64    `json:"segment"`
	Events  uint64    `json:"events"`
	Hash    string    `json:"hash"`
	Time    time.Time `json:"time"`
	MAC     string    `json:"mac,omitempty"`
}

func (a *Anchor) sign(key []byte) string {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "sluice record anchor 1|%d|%d|%d|%s|%d", a.Lane, a.Segment, a.Events, a.Hash, a.Time.UnixNano())
	return hex.EncodeToString(m.Sum(nil))
}

// Genuine says that the anchor was made with key.
func (a *Anchor) Genuine(key []byte) bool {
	return hmac.Equal([]byte(a.MAC), []byte(a.sign(key)))
}

func newAnchor(lane int, h *head, key []byte) *Anchor {
	a := &Anchor{Lane: lane, Segment: h.segment, Events: h.count, Hash: hex.EncodeToString(h.lane[:]), Time: time.Unix(0, h.time).UTC()}
	if len(key) > 0 {
		a.MAC = a.sign(key)
	}
	return a
}

func writeAnchor(lane string, a *Anchor) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := filepath.Join(lane, anchorFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readAnchor(lane string) (*Anchor, error) {
	b, err := os.ReadFile(filepath.Join(lane, anchorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	a := new(Anchor)
	if err := json.Unmarshal(b, a); err != nil {
		return nil, errDamaged
	}
	return a, nil
}
