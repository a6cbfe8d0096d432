package postgres

import (
	"bytes"
	"encoding/binary"
)

// header is the length of a message's type and length fields.
const header = 5

// Whole messages that are sent as they are.
var (
	syncMessage      = []byte{'S', 0, 0, 0, 4}
	flushMessage     = []byte{'H', 0, 0, 0, 4}
	terminateMessage = []byte{'X', 0, 0, 0, 4}
)

// frame tells type and whole length of the message that b starts with. ok is
// false if b is too short to tell; a size less than header is a violation.
func frame(b []byte) (kind byte, size int, ok bool) {
	if len(b) < header {
		return 0, 0, false
	}
	n := binary.BigEndian.Uint32(b[1:])
	if n < 4 || n > 1<<30 { // PostgreSQL's own limit, MaxAllocSize
		return b[0], 0, true
	}
	return b[0], int(n) + 1, true
}

// cstring cuts the string off b that ends at its first NUL.
func cstring(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

// appendMessage appends a message of kind with body parts a, b and c.
func appendMessage[A, B, C ~string | ~[]byte](dst []byte, kind byte, a A, b B, c C) []byte {
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(a)+len(b)+len(c)))
	dst = append(dst, a...)
	dst = append(dst, b...)
	return append(dst, c...)
}

// output collects what is to be written in one go: slices of the input that
// pass, and bytes of our own between them.
type output struct {
	parts [][]byte
	own   []byte
}

// pass adds b without copying it. It has to stay as it is until it is written.
func (o *output) pass(b []byte) {
	if len(b) == 0 {
		return
	}
	if n := len(o.parts); n > 0 {
		if last := o.parts[n-1]; cap(last) > len(last) && &last[:len(last)+1][len(last)] == &b[0] {
			o.parts[n-1] = last[:len(last)+len(b)]
			return
		}
	}
	o.parts = append(o.parts, b)
}

// add adds a copy of b.
func (o *output) add(b []byte) {
	at := len(o.own)
	o.own = append(o.own, b...)
	o.pass(o.own[at:])
}

// message adds a message made of a, b and c.
func (o *output) message(kind byte, a, b, c []byte) {
	at := len(o.own)
	o.own = appendMessage(o.own, kind, a, b, c)
	o.pass(o.own[at:])
}

func (o *output) empty() bool { return len(o.parts) == 0 }

// reset forgets what was written, and keeps only a little memory.
func (o *output) reset() {
	clear(o.parts)
	o.parts = o.parts[:0]
	if cap(o.parts) > 64 {
		o.parts = nil
	}
	o.own = o.own[:0]
	if cap(o.own) > 1024 {
		o.own = nil
	}
}
