package record

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"time"
)

// A frame is one event in a segment file, at an offset that is a multiple of 8:
//
//	0   4  size of the frame without padding; written last: 0 is the end so far
//	4   4  CRC-32C of what follows, to tell damage from a torn write
//	8   8  time, nanoseconds since 1970
//	16  12 session, zero for the store's own
//	28  4  number of the event in its session
//	32  1  Kind
//	33  7  zero
//	40  .. payload
//	    32 hash: SHA-256 of the hash before it in this session, and of 8.. to here
//
// Integers are little-endian. The hash before the first is zero; that before a
// frame of the store itself is the lane's.
const (
	headerSize = 40
	hashSize   = sha256.Size
	frameMin   = headerSize + hashSize
	frameMax   = 64 << 20
)

type hash = [hashSize]byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// scratch is where a frame is put together. The first 24 bytes are room for the
// larger part of the previous hash, so that it and the frame are hashed in one go.
type scratch struct{ b []byte }

const (
	lead       = hashSize - 8      // before the frame
	bodyAt     = hashSize          // where the hashed part of the frame begins
	payloadAt  = lead + headerSize // where the payload begins
	scratchMax = 64 << 10          // larger ones are not kept
)

var scratches = sync.Pool{New: func() any { return &scratch{b: make([]byte, 0, 1024)} }}

func newScratch() *scratch {
	s := scratches.Get().(*scratch)
	s.b = s.b[:payloadAt]
	return s
}

func (s *scratch) free() {
	if cap(s.b) <= scratchMax {
		scratches.Put(s)
	}
}

// finish completes the frame around the payload that was appended to s.b, and
// returns it with its hash. It is valid until free.
func (s *scratch) finish(prev *hash, now time.Time, id ID, seq uint32, k Kind) (frame []byte, h hash) {
	b := s.b
	copy(b, prev[:])
	binary.LittleEndian.PutUint64(b[bodyAt:], uint64(now.UnixNano()))
	copy(b[lead+16:], id[:])
	binary.LittleEndian.PutUint32(b[lead+28:], seq)
	clear(b[lead+32 : payloadAt])
	b[lead+32] = byte(k)
	h = sha256.Sum256(b)
	b = append(b, h[:]...)
	s.b = b
	frame = b[lead:]
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)))
	binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(frame[8:], castagnoli))
	return frame, h
}

// link returns the lane's hash after a frame with hash h.
func link(lane, h *hash) hash {
	var b [2 * hashSize]byte
	copy(b[:], lane[:])
	copy(b[hashSize:], h[:])
	return sha256.Sum256(b[:])
}

func pad(n int64) int64 { return (n + 7) &^ 7 }

// frame is one that was read.
type frame struct {
	offset  int64
	size    int
	time    time.Time
	session ID
	seq     uint32
	kind    Kind
	payload []byte
	hash    hash
	raw     []byte // from the size on
}

// parse reads a frame whose bytes are complete. It says false if the checksum
// does not match.
func (f *frame) parse(raw []byte) bool {
	if len(raw) < frameMin || binary.LittleEndian.Uint32(raw) != uint32(len(raw)) ||
		crc32.Checksum(raw[8:], castagnoli) != binary.LittleEndian.Uint32(raw[4:]) {
		return false
	}
	f.raw, f.size = raw, len(raw)
	f.time = time.Unix(0, int64(binary.LittleEndian.Uint64(raw[8:]))).UTC()
	copy(f.session[:], raw[16:])
	f.seq = binary.LittleEndian.Uint32(raw[28:])
	f.kind = Kind(raw[32])
	f.payload = raw[headerSize : len(raw)-hashSize]
	copy(f.hash[:], raw[len(raw)-hashSize:])
	return true
}

// follows says whether f carries the hash that it must have after prev.
func (f *frame) follows(prev *hash) bool {
	d := sha256.New()
	d.Write(prev[:])
	d.Write(f.raw[8 : len(f.raw)-hashSize])
	var h hash
	return hash(d.Sum(h[:0])) == f.hash
}
