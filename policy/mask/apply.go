package mask

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluicegate.io/sluice/policy"
)

// errValue means that a value is not in the format that its type says. The
// caller hides it as a whole.
var errValue = errors.New("value is not as its type says")

// Apply masks a value in PostgreSQL's text format, as [SQL] does in the database.
// A nil value is NULL and stays so; a nil result is NULL. The value is not
// changed. On an error the caller sends NULL or nothing, never the value.
//
// Times are read as DateStyle ISO writes them, with time zone UTC.
func Apply(m policy.Mask, t Type, key Key, value []byte) ([]byte, error) {
	if value == nil || m.Kind == policy.MaskNull {
		return nil, nil
	}
	t = t.base()
	if t.array() {
		return nil, cannot(m, t, "arrays are masked in the database only")
	}
	switch m.Kind {
	case policy.MaskConstant:
		s, err := checkConstant(m, t)
		if err != nil {
			return nil, err
		}
		return constantText(s, t), nil
	case policy.MaskEmail, policy.MaskKeepFirst, policy.MaskKeepLast:
		if !t.text() {
			return nil, cannot(m, t, "it needs a text")
		}
		return fit(keep(m, t, unpad(value, t)), t), nil
	case policy.MaskHash:
		return token(m, t, key, value)
	case policy.MaskTruncate:
		return truncate(m, t, value)
	case policy.MaskRound:
		return round(m, t, value)
	}
	return nil, cannot(m, t, "there is no such mask")
}

// constantText returns a constant as the server would print it.
func constantText(s string, t Type) []byte {
	switch t.OID {
	case oidBool:
		return []byte(s[:1])
	case oidNumeric:
		_, scale, ok := t.precision()
		whole, part, point := strings.Cut(s, ".")
		if ok && scale > 0 {
			part += strings.Repeat("0", scale-len(part))
			point = true
		}
		if point {
			whole += "." + part
		}
		return []byte(whole)
	case oidFloat4:
		f, _ := strconv.ParseFloat(s, 32)
		return floatText(f, 32)
	case oidFloat8:
		f, _ := strconv.ParseFloat(s, 64)
		return floatText(f, 64)
	case oidUUID:
		return []byte(strings.ToLower(s))
	case oidTimestampTZ:
		return []byte(s)
	}
	return fit([]byte(s), t)
}

// keep does the masks that keep part of a text.
func keep(m policy.Mask, t Type, v []byte) []byte {
	switch m.Kind {
	case policy.MaskEmail:
		parts := bytes.SplitN(v, []byte("@"), 3)
		if len(parts) < 2 || len(parts[1]) == 0 {
			return []byte(stars)
		}
		var out []byte
		if utf8.RuneCount(parts[0]) > 1 {
			_, size := utf8.DecodeRune(v)
			out = append(out, v[:size]...)
		}
		out = append(out, stars+"@"...)
		return append(out, parts[1]...)
	case policy.MaskKeepFirst:
		if utf8.RuneCount(v) <= m.N {
			return []byte(stars)
		}
		at := 0
		for range m.N {
			_, size := utf8.DecodeRune(v[at:])
			at += size
		}
		return append(bytes.Clone(v[:at]), stars...)
	}
	if utf8.RuneCount(v) <= m.N {
		return []byte(stars)
	}
	at := len(v)
	for range m.N {
		_, size := utf8.DecodeLastRune(v[:at])
		at -= size
	}
	return append([]byte(starsFor(t, m.N)), v[at:]...)
}

// unpad drops what bpchar pads with, as a cast to text does.
func unpad(v []byte, t Type) []byte {
	if t.OID == oidBpchar {
		return bytes.TrimRight(v, " ")
	}
	return v
}

// fit cuts or pads a text to its type, as a cast does.
func fit(v []byte, t Type) []byte {
	if t.OID == oidName && len(v) > 63 {
		v = v[:63]
		for !utf8.Valid(v) && len(v) > 0 {
			v = v[:len(v)-1]
		}
		return v
	}
	n := t.length()
	if n == 0 {
		return v
	}
	at := 0
	for range n {
		if at == len(v) {
			if t.OID == oidBpchar {
				v = append(v[:at:at], ' ')
				at++
			}
			continue
		}
		_, size := utf8.DecodeRune(v[at:])
		at += size
	}
	return v[:at]
}

// token does mask hash.
func token(m policy.Mask, t Type, key Key, v []byte) ([]byte, error) {
	if err := checkHash(m, t); err != nil {
		return nil, err
	}
	switch t.OID {
	case oidBytea:
		raw, found := bytes.CutPrefix(v, []byte(`\x`))
		b, err := hex.DecodeString(string(raw))
		if !found || err != nil {
			return nil, errValue
		}
		return []byte(`\x` + hex.EncodeToString(key.sum(b))), nil
	case oidInt4:
		return strconv.AppendUint(nil, uint64(binary.BigEndian.Uint32(key.sum(v))&(1<<31-1)), 10), nil
	case oidInt8:
		return strconv.AppendUint(nil, binary.BigEndian.Uint64(key.sum(v))&(1<<63-1), 10), nil
	case oidNumeric:
		if bytes.IndexByte(v, '.') >= 0 {
			v = bytes.TrimRight(bytes.TrimRight(v, "0"), ".")
		}
		out := strconv.AppendUint(nil, binary.BigEndian.Uint64(key.sum(v))&(1<<63-1), 10)
		if _, scale, ok := t.precision(); ok && scale > 0 {
			out = append(append(out, '.'), strings.Repeat("0", scale)...)
		}
		return out, nil
	}
	out := []byte(hex.EncodeToString(key.sum(unpad(v, t)))[:tokenDigits])
	switch t.OID {
	case oidUUID:
		s := string(out)
		return []byte(s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]), nil
	case oidJSON, oidJSONB:
		return json.Marshal(string(out))
	}
	return fit(out, t), nil
}
