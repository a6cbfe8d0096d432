package mask

import (
	"encoding/binary"
	"encoding/hex"
	"math"

	"sluicegate.io/sluice/policy"
)

// ApplyBinary is [Apply] for a value in PostgreSQL's binary format. Texts, json,
// integers, floats, uuid and bytea are understood; for other types only mask null is.
func ApplyBinary(m policy.Mask, t Type, key Key, value []byte) ([]byte, error) {
	if value == nil || m.Kind == policy.MaskNull {
		return nil, nil
	}
	t = t.base()
	text, err := decode(m, t, value)
	if err != nil {
		return nil, err
	}
	masked, err := Apply(m, t, key, text)
	if err != nil {
		return nil, err
	}
	return encode(m, t, masked)
}

// decode turns a binary value into text.
func decode(m policy.Mask, t Type, v []byte) ([]byte, error) {
	size := map[uint32]int{oidInt2: 2, oidInt4: 4, oidInt8: 8, oidFloat4: 4, oidFloat8: 8, oidUUID: 16}[t.OID]
	if size != 0 && len(v) != size {
		return nil, errValue
	}
	switch t.OID {
	case oidInt2:
		return appendInt(int64(int16(binary.BigEndian.Uint16(v)))), nil
	case oidInt4:
		return appendInt(int64(int32(binary.BigEndian.Uint32(v)))), nil
	case oidInt8:
		return appendInt(int64(binary.BigEndian.Uint64(v))), nil
	case oidFloat4:
		return floatText(float64(math.Float32frombits(binary.BigEndian.Uint32(v))), 32), nil
	case oidFloat8:
		return floatText(math.Float64frombits(binary.BigEndian.Uint64(v)), 64), nil
	case oidUUID:
		s := hex.EncodeToString(v)
		return []byte(s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]), nil
	case oidBytea:
		return []byte(`\x` + hex.EncodeToString(v)), nil
	case oidJSON:
		return v, nil
	case oidJSONB:
		if len(v) == 0 || v[0] != 1 {
			return nil, errValue
		}
		return v[1:], nil
	}
	if t.text() {
		return v, nil
	}
	return nil, cannot(m, t, "its binary format is not understood")
}
