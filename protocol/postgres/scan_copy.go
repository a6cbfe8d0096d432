package postgres

import (
	"bytes"
	"encoding/binary"

	"sluicegate.io/sluice/protocol"
)

// copied is how r's present statement writes what it copies, nil if that is not known.
func copied(r *run) *protocol.Copy {
	if r.statement >= len(r.Judgement.Plans) {
		return nil
	}
	return r.Judgement.Plans[r.statement].Copy
}

// scanCopy returns another message if a value in it was replaced. read is false if it
// does not hold whole rows of the format f, which servers send.
func (c *core) scanCopy(r *run, f *protocol.Copy, msg []byte) (out []byte, changed, read bool) {
	if f.Binary {
		return nil, false, false
	}
	data := msg[header:]
	column, from := 0, 0 // from: of data, not in out yet
	var buf []byte
	for at := 0; at < len(data); {
		value, size, ok := copyValue(f, data[at:], buf[:0])
		if !ok {
			return nil, false, false
		}
		buf = value
		end := at + size
		if column >= len(f.Columns) || f.Columns[column].Scan {
			if other, found := c.scanner.Value(&r.Run, r.statement, column, value); found && !bytes.Equal(other, value) {
				if out == nil {
					out = append(out, msg[:header]...)
				}
				out = append(out, data[from:at]...)
				out = appendCopy(f, out, other)
				from = end
			}
		}
		if end == len(data) {
			return nil, false, false // a row ends with its line
		}
		column++
		if data[end] == '\n' {
			column = 0
		}
		at = end + 1
		if at == len(data) && column != 0 {
			return nil, false, false
		}
	}
	if out == nil {
		return nil, false, true
	}
	out = append(out, data[from:]...)
	binary.BigEndian.PutUint32(out[1:], uint32(len(out)-1))
	return out, true, true
}

// copyValue reads the value that data begins with into buf, without what the format
// adds to it. size is how long it is in data; the delimiter or end of line follows.
func copyValue(f *protocol.Copy, data, buf []byte) (value []byte, size int, ok bool) {
	if f.CSV {
		return csvValue(f, data, buf)
	}
	for i := 0; i < len(data); i++ {
		switch b := data[i]; b {
		case f.Delimiter, '\n':
			return buf, i, true
		case '\\':
			if i++; i == len(data) {
				return nil, 0, false
			}
			if at := bytes.IndexByte(textEscapes, data[i]); at >= 0 {
				buf = append(buf, textEscaped[at])
			} else {
				buf = append(buf, data[i])
			}
		default:
			buf = append(buf, b)
		}
	}
	return buf, len(data), true
}

// What the text format has after a backslash, and what it stands for.
var (
	textEscapes = []byte("bfnrtv")
	textEscaped = []byte("\b\f\n\r\t\v")
)

func csvValue(f *protocol.Copy, data, buf []byte) (value []byte, size int, ok bool) {
	inside := false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case inside && b == f.Escape && i+1 < len(data) && (data[i+1] == f.Quote || data[i+1] == f.Escape):
			i++
			buf = append(buf, data[i])
		case b == f.Quote:
			inside = !inside
		case !inside && (b == f.Delimiter || b == '\n'):
			return buf, i, true
		default:
			buf = append(buf, b)
		}
	}
	return buf, len(data), !inside
}

// appendCopy writes a value as the format does.
func appendCopy(f *protocol.Copy, out, value []byte) []byte {
	if f.CSV {
		out = append(out, f.Quote)
		for _, b := range value {
			if b == f.Quote || b == f.Escape {
				out = append(out, f.Escape)
			}
			out = append(out, b)
		}
		return append(out, f.Quote)
	}
	for _, b := range value {
		if at := bytes.IndexByte(textEscaped, b); at >= 0 {
			out = append(out, '\\', textEscapes[at])
			continue
		}
		if b == '\\' || b == f.Delimiter {
			out = append(out, '\\')
		}
		out = append(out, b)
	}
	return out
}
