package record

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"sluicegate.io/sluice/protocol"
)

var errPayload = errors.New("malformed event")

// sumString hashes a text without copying it as a whole.
func sumString(s string) hash {
	d := sha256.New()
	var part [4096]byte
	for len(s) > 0 {
		n := copy(part[:], s)
		d.Write(part[:n])
		s = s[n:]
	}
	var h hash
	d.Sum(h[:0])
	return h
}

// decoder reads what an encoder wrote. After a malformed field bad is set, and
// everything read is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) string() string { return string(d.take(d.uint())) }
func (d *decoder) bytes() []byte  { return append([]byte(nil), d.take(d.uint())...) }

func (d *decoder) bool() bool {
	b := d.take(1)
	return len(b) == 1 && b[0] != 0
}

// count reads the number of elements, of which each takes at least size bytes.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) small() int {
	n := d.uint()
	if n > 1<<31 {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) strings() map[string]string {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		k := d.string()
		m[k] = d.string()
	}
	return m
}

func (d *decoder) text() (text string, length int, sum []byte) {
	text = d.string()
	if length = d.small(); length > 0 {
		sum = append(sum, d.take(hashSize)...)
	}
	return text, length, sum
}

// decodeEvent returns the event of a frame. Nothing of it aliases the frame.
func decodeEvent(f *frame) (*Event, error) {
	e := &Event{Session: f.session, Seq: f.seq, Time: f.time, Kind: f.kind}
	d := &decoder{b: f.payload}
	switch f.kind {
	case KindStart:
		e.Start = &Start{Subject: d.string(), Identity: d.strings(), Client: d.string(), Origin: d.string(),
			Protocol: d.string(), Database: d.string(), Params: d.strings(), View: d.string(), Observe: d.bool()}
	case KindStatement:
		e.Statement = decodeStatement(d)
	case KindNotice:
		e.Notice = &Notice{Number: d.uint(), Type: d.string(), Text: d.string(), Facts: d.strings()}
	case KindRefusal:
		r := &Refusal{Number: d.uint(), Index: d.small()}
		r.Text, r.Length, _ = d.text()
		r.Code, r.Message, r.Detail, r.Hint = d.string(), d.string(), d.string(), d.string()
		r.Rule, r.Fatal = d.string(), d.bool()
		e.Refusal = r
	case KindColumns:
		c := &Columns{Number: d.uint(), Index: d.small()}
		c.Columns = make([]Column, d.count(4))
		for i := range c.Columns {
			c.Columns[i] = Column{Name: d.string(), Type: uint32(d.uint()), Format: int16(d.int()), Tag: d.string()}
		}
		e.Columns = c
	case KindRows:
		e.Rows = &Rows{Number: d.uint(), Index: d.small(), Count: d.small(), Cut: d.bool(), Messages: d.bytes()}
	case KindOutcome:
		e.Outcome = &Outcome{Number: d.uint(), Index: d.small(), Tag: d.string(), Code: d.string(),
			Rows: d.int(), Bytes: d.int(), MaskedValues: d.int(), Micros: d.int()}
	case KindEnd:
		e.End = &End{Reason: d.string(), Detail: d.string()}
	default:
		return nil, errPayload
	}
	if d.bad || len(d.b) > 0 {
		return nil, errPayload
	}
	return e, nil
}

func decodeStatement(d *decoder) *Statement {
	s := &Statement{Number: d.uint()}
	s.Text, s.Length, s.SHA256 = d.text()
	s.Decisions = make([]Decision, d.count(6))
	for i := range s.Decisions {
		s.Decisions[i] = Decision{Verdict: protocol.Verdict(d.uint()), Rule: d.string(), Tag: d.string(),
			Object: d.string(), Reason: d.string(), Observed: d.bool()}
	}
	s.Rewritten, s.Held, s.Bound = d.bool(), d.bool(), d.small()
	if n := d.count(1); n > 0 {
		s.Params = make([][]byte, n)
		for i := range s.Params {
			if size := d.uint(); size > 0 {
				s.Params[i] = append([]byte{}, d.take(size-1)...)
			}
		}
	}
	if n := d.count(1); n > 0 {
		s.Formats = make([]int16, n)
		for i := range s.Formats {
			s.Formats[i] = int16(d.int())
		}
	}
	return s
}
