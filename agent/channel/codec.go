package channel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrMessage means that the other side sent what is no message. The channel is
// not to be used after it.
var ErrMessage = errors.New("malformed message")

// Bounds of the texts in messages, so that all of a message fits into Size.
const (
	maxName   = 253
	maxPath   = 640
	maxText   = 512
	maxLabels = 1400
	maxBytes  = 128  // salts, proofs
	maxAuth   = 2048 // the AuthMessage of SCRAM
)

// Marshal returns m as Size bytes. Texts that are too long make it fail: a
// shortened fact would be another fact.
func Marshal(m Message) ([]byte, error) {
	buf := make([]byte, Size)
	if err := marshal(buf, m); err != nil {
		return nil, err
	}
	return buf, nil
}

func marshal(buf []byte, m Message) error {
	e := encoder{b: buf[:1]}
	e.b[0] = byte(m.kind())
	m.encode(&e)
	if e.bad || len(e.b) > Size {
		return fmt.Errorf("message of kind %d does not fit", m.kind())
	}
	clear(buf[len(e.b):Size])
	return nil
}

// Unmarshal decodes one message. It accepts nothing but what Marshal makes.
func Unmarshal(b []byte) (Message, error) {
	if len(b) != Size {
		return nil, fmt.Errorf("%w: %d bytes", ErrMessage, len(b))
	}
	m := blank(kind(b[0]))
	if m == nil {
		return nil, fmt.Errorf("%w: kind %d", ErrMessage, b[0])
	}
	d := decoder{b: b[1:]}
	m.decode(&d)
	if d.bad || !bytes.Equal(d.b, zeros[:len(d.b)]) {
		return nil, fmt.Errorf("%w of kind %d", ErrMessage, b[0])
	}
	return m, nil
}

// zeros is what follows the end of a message.
var zeros [Size]byte

// blank returns an empty message of kind k, or nil.
func blank(k kind) Message {
	switch k {
	case kindConfig:
		return new(Config)
	case kindAccepted:
		return new(Accepted)
	case kindDialled:
		return new(Dialled)
	case kindProved:
		return new(Proved)
	case kindToken:
		return new(Token)
	case kindListener:
		return new(Listener)
	case kindReport:
		return new(Report)
	case kindDrain:
		return new(Drain)
	case kindReady:
		return new(Ready)
	case kindDial:
		return new(Dial)
	case kindProve:
		return new(Prove)
	case kindReadToken:
		return new(ReadToken)
	case kindClosed:
		return new(Closed)
	case kindDenied:
		return new(Denied)
	}
	return nil
}

type encoder struct {
	b   []byte
	bad bool
}

func (e *encoder) u8(v uint8)               { e.b = append(e.b, v) }
func (e *encoder) u32(v uint32)             { e.b = binary.LittleEndian.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64)             { e.b = binary.LittleEndian.AppendUint64(e.b, v) }
func (e *encoder) duration(v time.Duration) { e.u64(uint64(v)) }

func (e *encoder) text(s string, most int) {
	if len(s) > most {
		e.bad = true
		return
	}
	e.b = binary.LittleEndian.AppendUint16(e.b, uint16(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) addr(a netip.AddrPort) {
	switch ip := a.Addr(); {
	case !ip.IsValid():
		e.u8(0)
	case ip.Is4():
		e.u8(4)
		v := ip.As4()
		e.b = append(e.b, v[:]...)
	default:
		e.u8(6)
		v := ip.As16()
		e.b = append(e.b, v[:]...)
	}
	e.b = binary.LittleEndian.AppendUint16(e.b, a.Port())
}

type decoder struct {
	b   []byte
	bad bool
}

// take returns the next n bytes; after an error zeros.
func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return make([]byte, n)
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u8() uint8               { return d.take(1)[0] }
func (d *decoder) u16() uint16             { return binary.LittleEndian.Uint16(d.take(2)) }
func (d *decoder) u32() uint32             { return binary.LittleEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64             { return binary.LittleEndian.Uint64(d.take(8)) }
func (d *decoder) duration() time.Duration { return time.Duration(d.u64()) }

func (d *decoder) text(most int) string { return string(d.part(most)) }

func (d *decoder) bytes(most int) []byte { return append([]byte(nil), d.part(most)...) }

// part is what a message holds of at most that length. It is not a copy.
func (d *decoder) part(most int) []byte {
	n := int(d.u16())
	if n > most {
		d.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	return d.take(n)
}

func (d *decoder) addr() netip.AddrPort {
	var ip netip.Addr
	switch d.u8() {
	case 0:
	case 4:
		ip = netip.AddrFrom4([4]byte(d.take(4)))
	case 6:
		ip = netip.AddrFrom16([16]byte(d.take(16)))
	default:
		d.bad = true
	}
	return netip.AddrPortFrom(ip, d.u16())
}

// enum decodes a byte that is at most last.
func enum[T ~uint8](d *decoder, last T) T {
	v := T(d.u8())
	if v > last {
		d.bad = true
	}
	return v
}
