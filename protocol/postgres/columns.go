package postgres

import (
	"encoding/binary"
	"errors"

	"sluicegate.io/sluice/protocol"
)

var errColumns = errors.New("invalid RowDescription")

// parseColumns decodes the body of a RowDescription.
func parseColumns(b []byte) ([]protocol.ResultColumn, error) {
	if len(b) < 2 {
		return nil, errColumns
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > len(b)/19 {
		return nil, errColumns
	}
	cols := make([]protocol.ResultColumn, n)
	for i := range cols {
		name, rest, ok := cstring(b)
		if !ok || len(rest) < 18 {
			return nil, errColumns
		}
		cols[i] = protocol.ResultColumn{
			Name:      string(name),
			TableOID:  binary.BigEndian.Uint32(rest),
			Attribute: int16(binary.BigEndian.Uint16(rest[4:])),
			TypeOID:   binary.BigEndian.Uint32(rest[6:]),
			Format:    int16(binary.BigEndian.Uint16(rest[16:])),
		}
		b = rest[18:]
	}
	if len(b) != 0 {
		return nil, errColumns
	}
	return cols, nil
}
