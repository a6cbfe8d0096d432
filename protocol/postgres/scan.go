package postgres

import (
	"bytes"
	"encoding/binary"

	"sluicegate.io/sluice/protocol"
)

// scans reports whether the values of r's present statement are looked into.
func (c *core) scans(r *run, kind byte) bool {
	if c.scanner == nil {
		return false
	}
	cols := planned(r)
	if kind == 'd' {
		f := copied(r)
		if f == nil {
			return false // a Gate that wants it looked into says how it is written
		}
		cols = f.Columns
	}
	for _, col := range cols {
		if col.Scan {
			return true
		}
	}
	return false
}

// planned are the columns that r's present statement is expected to return.
func planned(r *run) []protocol.Column {
	if r.statement < len(r.Inner) && r.Inner[r.statement] != nil {
		return r.Inner[r.statement].Columns
	}
	if r.statement >= len(r.Judgement.Plans) {
		return nil
	}
	return r.Judgement.Plans[r.statement].Columns
}

// scan shows the Scanner the values of msgs that it is to see, and returns the
// rows with what it wants in their place: msgs itself where it wants nothing else. It
// reports false for data that is not written as it should be.
func (c *core) scan(r *run, msgs []byte) ([]byte, bool) {
	cols := planned(r)
	var out []byte
	from := 0 // of msgs, not in out yet
	for at := 0; at < len(msgs); {
		kind, size, _ := frame(msgs[at:])
		row := msgs[at : at+size]
		changed, ok := []byte(nil), false
		if kind == 'd' {
			var read bool
			if changed, ok, read = c.scanCopy(r, copied(r), row); !read {
				return nil, false
			}
		} else {
			changed, ok = c.scanRow(r, cols, row)
		}
		if ok {
			out = append(append(out, msgs[from:at]...), changed...)
			from = at + size
		}
		at += size
	}
	if from == 0 {
		return msgs, true
	}
	return append(out, msgs[from:]...), true
}

// scanRow returns another row if a value was replaced.
func (c *core) scanRow(r *run, cols []protocol.Column, row []byte) ([]byte, bool) {
	b := row[header:]
	if len(b) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	var out []byte
	for i := range n {
		if len(b) < 4 {
			return nil, false
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		if size < 0 || size > len(b)-4 {
			if size >= 0 {
				return nil, false
			}
			size = 0
			if out != nil {
				out = append(out, b[:4]...)
			}
			b = b[4:]
			continue
		}
		value := b[4 : 4+size]
		if i < len(cols) && cols[i].Scan && textual(r, i) {
			if other, changed := c.scanner.Value(&r.Run, r.statement, i, value); changed && !bytes.Equal(other, value) {
				if out == nil {
					out = append([]byte(nil), row[:len(row)-len(b)]...)
				}
				out = binary.BigEndian.AppendUint32(out, uint32(len(other)))
				out = append(out, other...)
				b = b[4+size:]
				continue
			}
		}
		if out != nil {
			out = append(out, b[:4+size]...)
		}
		b = b[4+size:]
	}
	if out == nil {
		return nil, false
	}
	binary.BigEndian.PutUint32(out[1:], uint32(len(out)-1))
	return out, true
}

// textual reports whether column i comes as text: in text format, or in binary
// where that is the same (text, varchar, bpchar, name, char, json, xml, unknown).
func textual(r *run, i int) bool {
	if i >= len(r.columns) {
		return false
	}
	if r.columns[i].Format == 0 {
		return true
	}
	switch r.columns[i].TypeOID {
	case 25, 1043, 1042, 19, 18, 114, 142, 705:
		return true
	}
	return false
}
