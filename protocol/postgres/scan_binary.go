package postgres

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// In the binary format a text is as it is, jsonb and jsonpath have a byte before it,
// and arrays and rows hold values of other types, each with its type and length. So
// do those of types that an extension or a user has made, of which only the number is
// known: they are taken for what they can be read as, to the last byte.

const (
	jsonbOID    = 3802
	jsonpathOID = 4072
	recordOID   = 2249
	firstUser   = 16384
	maxNesting  = 16
)

// looker shows one text to whoever looks into values.
type looker func(text []byte) (other []byte, changed bool)

// scanBinary looks into a value in the binary format, and returns another one if
// something in it was replaced.
func scanBinary(oid uint32, value []byte, look looker, depth int) ([]byte, bool) {
	if depth > maxNesting {
		return nil, false
	}
	switch {
	case textType(oid):
		return look(value)
	case oid == jsonbOID || oid == jsonpathOID:
		if len(value) < 1 {
			return nil, false
		}
		other, changed := look(value[1:])
		if !changed {
			return nil, false
		}
		return append([]byte{value[0]}, other...), true
	case oid == recordOID:
		out, changed, _ := scanRecord(value, look, depth)
		return out, changed
	case oid >= firstUser:
		if out, changed, ok := scanArray(value, look, depth); ok {
			return out, changed
		}
		if out, changed, ok := scanRecord(value, look, depth); ok {
			return out, changed
		}
		if utf8.Valid(value) && bytes.IndexByte(value, 0) < 0 {
			return look(value)
		}
	case arrayType(oid):
		out, changed, _ := scanArray(value, look, depth)
		return out, changed
	}
	return nil, false
}

// textType reports whether a built-in type's binary format is its text: text,
// varchar, bpchar, name, "char", json, xml, unknown.
func textType(oid uint32) bool {
	switch oid {
	case 25, 1043, 1042, 19, 18, 114, 142, 705:
		return true
	}
	return false
}

// arrayType reports whether a built-in type is an array of such a type, of jsonb, of
// jsonpath or of records.
func arrayType(oid uint32) bool {
	switch oid {
	case 1009, 1015, 1014, 1003, 1002, 199, 143, 3807, 4073, 2287:
		return true
	}
	return false
}

// scanArray takes a value for an array (array_send): the number of dimensions, a flag,
// the type of the elements, length and lower bound of each dimension, the elements.
func scanArray(value []byte, look looker, depth int) (out []byte, changed, ok bool) {
	b := value
	u32 := func() uint32 {
		if len(b) < 4 {
			b = nil
			return 0
		}
		n := binary.BigEndian.Uint32(b)
		b = b[4:]
		return n
	}
	if len(b) < 12 {
		return nil, false, false
	}
	dims, flags, element := u32(), u32(), u32()
	if dims > 6 || flags > 1 || len(b) < int(8*dims) {
		return nil, false, false
	}
	count := uint64(min(dims, 1))
	for range dims {
		if count *= uint64(u32()); count > uint64(len(value)) {
			return nil, false, false
		}
		u32()
	}
	out = append(out, value[:len(value)-len(b)]...)
	for range count {
		var all bool
		if out, b, all = scanElement(out, b, element, look, depth, &changed); !all {
			return nil, false, false
		}
	}
	return out, changed && len(b) == 0, len(b) == 0
}

// scanRecord takes a value for a row (record_send): the number of columns, and of each
// its type and value.
func scanRecord(value []byte, look looker, depth int) (out []byte, changed, ok bool) {
	if len(value) < 4 {
		return nil, false, false
	}
	count, b := binary.BigEndian.Uint32(value), value[4:]
	if uint64(count)*8 > uint64(len(b)) {
		return nil, false, false
	}
	out = append(out, value[:4]...)
	for range count {
		if len(b) < 4 {
			return nil, false, false
		}
		oid := binary.BigEndian.Uint32(b)
		out = append(out, b[:4]...)
		var all bool
		if out, b, all = scanElement(out, b[4:], oid, look, depth, &changed); !all {
			return nil, false, false
		}
	}
	return out, changed && len(b) == 0, len(b) == 0
}

// scanElement appends the value at the start of b, which has its length before it.
func scanElement(out, b []byte, oid uint32, look looker, depth int, changed *bool) (next, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	size := int(int32(binary.BigEndian.Uint32(b)))
	if size < 0 {
		return append(out, b[:4]...), b[4:], size == -1
	}
	if size > len(b)-4 {
		return nil, nil, false
	}
	value := b[4 : 4+size]
	if other, is := scanBinary(oid, value, look, depth+1); is {
		value, *changed = other, true
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(value)))
	return append(out, value...), b[4+size:], true
}
