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
		if i < len(cols) && cols[i].Scan {
			if other, changed := c.look(r, i, value); changed && !bytes.Equal(other, value) {
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

// look shows the Scanner column i, whose format and type are known from its description.
func (c *core) look(r *run, i int, value []byte) ([]byte, bool) {
	if i >= len(r.columns) {
		return nil, false
	}
	one := func(text []byte) ([]byte, bool) { return c.scanner.Value(&r.Run, r.statement, i, text) }
	if r.columns[i].Format == 0 {
		return one(value)
	}
	return scanBinary(r.columns[i].TypeOID, value, one, 0)
}

// scanReport returns an ErrorResponse or NoticeResponse about r's present statement
// in which the Scanner has replaced what it wants, nil if that is nothing: errors quote values.
func (c *core) scanReport(r *run, kind byte, body []byte) []byte {
	if c.scanner == nil || r.statement >= len(r.Judgement.Plans) {
		return nil
	}
	out, changed := []byte{kind, 0, 0, 0, 0}, false
	for len(body) > 1 && body[0] != 0 {
		field := body[0]
		value, rest, ok := cstring(body[1:])
		if !ok {
			return nil
		}
		body = rest
		switch field {
		case 'M', 'D', 'H', 'W':
			if other, is := c.scanner.Value(&r.Run, r.statement, 0, value); is && !bytes.Equal(other, value) {
				value, changed = other, true
			}
		}
		out = append(append(append(out, field), value...), 0)
	}
	if !changed {
		return nil
	}
	out = append(out, 0)
	binary.BigEndian.PutUint32(out[1:], uint32(len(out)-1))
	return out
}
