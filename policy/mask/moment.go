package mask

import (
	"bytes"
	"strconv"

	"sluicegate.io/sluice/policy"
)

// Bounds beyond which a truncated date is infinitely far; see truncateSQL.
const (
	firstYear = -4711 // 4712 BC
	lastYear  = 294275
)

// truncate does mask truncate on "2026-03-10", "2026-03-10 12:34:56.7",
// "2026-03-10 12:34:56+00", each perhaps with " BC".
func truncate(m policy.Mask, t Type, v []byte) ([]byte, error) {
	switch t.OID {
	case oidDate, oidTimestamp, oidTimestampTZ:
	default:
		return nil, cannot(m, t, "it needs a date or a timestamp")
	}
	if s := string(v); s == "infinity" || s == "-infinity" {
		return bytes.Clone(v), nil
	}
	text, bc := bytes.CutSuffix(v, []byte(" BC"))
	var clock []byte
	date := text
	if t.OID != oidDate {
		date, clock, _ = bytes.Cut(text, []byte(" "))
		zone := bytes.HasSuffix(clock, []byte("+00"))
		if len(clock) < 8 || zone != (t.OID == oidTimestampTZ) {
			return nil, errValue
		}
	}
	parts := bytes.Split(date, []byte("-"))
	if len(parts) != 3 || len(parts[0]) < 4 || len(parts[1]) != 2 || len(parts[2]) != 2 {
		return nil, errValue
	}
	year, err := strconv.Atoi(string(parts[0]))
	if err != nil || !digits(string(parts[0])) || !digits(string(parts[1])) || !digits(string(parts[2])) {
		return nil, errValue
	}
	if bc {
		year = 1 - year
	}
	switch {
	case year < firstYear:
		return []byte("-infinity"), nil
	case t.OID == oidDate && year > lastYear:
		return []byte("infinity"), nil
	}
	out := append([]byte{}, parts[0]...)
	month, day := parts[1], parts[2]
	if m.Text != "day" {
		day = []byte("01")
	}
	if m.Text == "year" {
		month = []byte("01")
	}
	out = append(append(append(append(out, '-'), month...), '-'), day...)
	switch t.OID {
	case oidTimestamp:
		out = append(out, " 00:00:00"...)
	case oidTimestampTZ:
		out = append(out, " 00:00:00+00"...)
	}
	if bc {
		out = append(out, " BC"...)
	}
	return out, nil
}
