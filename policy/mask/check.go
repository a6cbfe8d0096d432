package mask

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluicegate.io/sluice/policy"
)

// tokenDigits is the length of a token of mask hash: 128 bits.
const tokenDigits = 32

// shortestToken is what a varchar must have room for; fewer digits would make
// different values equal.
const shortestToken = 16

// checkHash says why there is no token for a type.
func checkHash(m policy.Mask, t Type) error {
	switch t.OID {
	case oidInt4, oidInt8, oidUUID, oidBytea, oidJSON, oidJSONB:
		return nil
	case oidInt2:
		return cannot(m, t, "32768 tokens are too few to tell values apart")
	case oidNumeric:
		if p, s, ok := t.precision(); ok && p-s < 19 {
			return cannot(m, t, "it has no room for a token of 19 digits")
		}
		return nil
	}
	if !t.text() {
		return cannot(m, t, "a token needs a text, an integer, a numeric, a uuid, a bytea or a json")
	}
	if n := t.length(); n > 0 && n < shortestToken {
		return cannot(m, t, "it has no room for a token of "+strconv.Itoa(shortestToken)+" digits")
	}
	return nil
}

// checkConstant returns the constant as the type writes it, or why it is none of its values.
func checkConstant(m policy.Mask, t Type) (string, error) {
	s := m.Text
	ok := false
	switch t.OID {
	case oidInt2, oidInt4, oidInt8:
		size := map[uint32]int{oidInt2: 16, oidInt4: 32, oidInt8: 64}[t.OID]
		v, err := strconv.ParseInt(s, 10, size)
		s, ok = strconv.FormatInt(v, 10), err == nil
	case oidNumeric:
		ok = fits(s, t)
	case oidFloat4, oidFloat8:
		_, err := strconv.ParseFloat(s, map[uint32]int{oidFloat4: 32, oidFloat8: 64}[t.OID])
		ok = err == nil && plainNumber(s)
	case oidBool:
		ok = s == "true" || s == "false"
	case oidDate:
		_, err := time.Parse(time.DateOnly, s)
		ok = err == nil
	case oidTimestamp:
		_, err := time.Parse(time.DateTime, s)
		ok = err == nil
	case oidTimestampTZ:
		_, err := time.Parse("2006-01-02 15:04:05-07", s)
		ok = err == nil
	case oidUUID:
		raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		ok = err == nil && len(raw) == 16 && len(s) == 36
	case oidInet:
		_, err := netip.ParseAddr(s)
		ok = err == nil && !strings.Contains(s, "%")
	case oidCIDR:
		p, err := netip.ParsePrefix(s)
		ok = err == nil && p == p.Masked()
	case oidJSON, oidJSONB:
		ok = json.Valid([]byte(s)) && !strings.Contains(s, `\u0000`)
	case oidBytea:
		digits, found := strings.CutPrefix(s, `\x`)
		_, err := hex.DecodeString(digits)
		ok = found && err == nil
	default:
		switch {
		case t.text():
			return s, nil
		case t.Kind == 'e':
			ok = slices.Contains(t.Labels, s)
		default:
			return "", cannot(m, t, "for this type there is only null")
		}
	}
	if !ok {
		return "", cannot(m, t, "the constant is not one of its values")
	}
	return s, nil
}

// plainNumber reports whether s is digits with at most a sign and a point.
func plainNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	whole, part, point := strings.Cut(s, ".")
	return digits(whole) && (!point || digits(part))
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// fits reports whether a number is within numeric(p,s).
func fits(s string, t Type) bool {
	if !plainNumber(s) {
		return false
	}
	p, scale, ok := t.precision()
	if !ok {
		return true
	}
	whole, part, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	return len(strings.TrimLeft(whole, "0")) <= p-scale && len(part) <= max(scale, 0)
}
