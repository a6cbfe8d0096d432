package mask

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"

	"sluicegate.io/sluice/policy"
)

func appendInt(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

// encode turns a text value into the binary format.
func encode(m policy.Mask, t Type, v []byte) ([]byte, error) {
	switch t.OID {
	case oidInt2, oidInt4, oidInt8:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return nil, errValue
		}
		out := binary.BigEndian.AppendUint64(nil, uint64(n))
		return out[8-map[uint32]int{oidInt2: 2, oidInt4: 4, oidInt8: 8}[t.OID]:], nil
	case oidFloat4:
		f, err := strconv.ParseFloat(string(v), 32)
		if err != nil {
			return nil, errValue
		}
		return binary.BigEndian.AppendUint32(nil, math.Float32bits(float32(f))), nil
	case oidFloat8:
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return nil, errValue
		}
		bits := math.Float64bits(f)
		if math.IsNaN(f) {
			bits = 0x7ff8 << 48 // the server's; Go's has another last bit
		}
		return binary.BigEndian.AppendUint64(nil, bits), nil
	case oidUUID:
		return hex.DecodeString(string(bytes.ReplaceAll(v, []byte("-"), nil)))
	case oidBytea:
		return hex.DecodeString(string(v[2:]))
	case oidJSONB:
		return append([]byte{1}, v...), nil
	}
	if t.text() || t.OID == oidJSON {
		return v, nil
	}
	return nil, cannot(m, t, "its binary format is not understood")
}
