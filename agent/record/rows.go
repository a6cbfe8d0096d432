package record

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"
)

// cutMessages returns the whole messages at the beginning of msgs that are within
// both bounds, and their number.
func cutMessages(msgs []byte, rows, size int) ([]byte, int) {
	end, n := 0, 0
	for n < rows {
		next, ok := nextMessage(msgs[end:])
		if !ok || end+next > size {
			break
		}
		end += next
		n++
	}
	return msgs[:end], n
}

// nextMessage returns the size of the backend message at the beginning of b:
// type, length of what follows with itself, payload.
func nextMessage(b []byte) (int, bool) {
	if len(b) < 5 {
		return 0, false
	}
	n := int64(binary.BigEndian.Uint32(b[1:])) + 1
	if n < 5 || n > int64(len(b)) {
		return 0, false
	}
	return int(n), true
}

// Values decodes the rows of r, one slice a row; a nil value is NULL. Rows of COPY
// have one value: the line. What is malformed is left out.
func (r *Rows) Values() [][][]byte {
	var all [][][]byte
	for b := r.Messages; ; {
		n, ok := nextMessage(b)
		if !ok {
			return all
		}
		switch b[0] {
		case 'D':
			all = append(all, dataRow(b[5:n]))
		case 'd':
			all = append(all, [][]byte{b[5:n]})
		}
		b = b[n:]
	}
}

func dataRow(b []byte) [][]byte {
	if len(b) < 2 {
		return nil
	}
	count := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	row := make([][]byte, 0, min(count, len(b)/4))
	for range count {
		if len(b) < 4 {
			return row
		}
		size := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		if size == -1 {
			row = append(row, nil)
			continue
		}
		if size < 0 || int64(size) > int64(len(b)) {
			return row
		}
		row = append(row, b[:size:size])
		b = b[size:]
	}
	return row
}

// MarshalJSON shows values as text, as null, or, where they are not text, in
// hexadecimal as \x2a.
func (r *Rows) MarshalJSON() ([]byte, error) {
	type plain Rows
	rows := [][]*string{}
	for _, row := range r.Values() {
		texts := make([]*string, len(row))
		for i, v := range row {
			texts[i] = printable(v)
		}
		rows = append(rows, texts)
	}
	return json.Marshal(struct {
		*plain
		Values [][]*string `json:"values"`
	}{(*plain)(r), rows})
}

func printable(v []byte) *string {
	if v == nil {
		return nil
	}
	s := string(v)
	if !utf8.Valid(v) || hasControl(v) {
		s = `\x` + hex.EncodeToString(v)
	}
	return &s
}

func hasControl(v []byte) bool {
	for _, c := range v {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return true
		}
	}
	return false
}
