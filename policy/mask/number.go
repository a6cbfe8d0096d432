package mask

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
	"strings"

	"sluicegate.io/sluice/policy"
)

// round does mask round: towards zero to a multiple of m.N.
func round(m policy.Mask, t Type, v []byte) ([]byte, error) {
	switch t.OID {
	case oidInt2, oidInt4, oidInt8:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return nil, errValue
		}
		return strconv.AppendInt(nil, n-n%int64(m.N), 10), nil
	case oidNumeric:
		return roundNumeric(m.N, v)
	case oidFloat4, oidFloat8:
		size := 64
		if t.OID == oidFloat4 {
			size = 32
		}
		f, err := strconv.ParseFloat(string(v), size)
		if err != nil {
			return nil, errValue
		}
		return floatText(roundFloat(f, m.N), size), nil
	}
	return nil, cannot(m, t, "it needs a number")
}

func roundFloat(f float64, n int) float64 {
	if math.Abs(f) > 1e30 {
		return f
	}
	return math.Trunc(f/float64(n)) * float64(n)
}

// roundNumeric keeps the number of decimals, which become zeros.
func roundNumeric(n int, v []byte) ([]byte, error) {
	switch string(v) {
	case "NaN", "Infinity", "-Infinity":
		return []byte("NaN"), nil
	}
	s, negative := strings.CutPrefix(string(v), "-")
	whole, part, point := strings.Cut(s, ".")
	if !digits(whole) || point && !digits(part) {
		return nil, errValue
	}
	i, _ := new(big.Int).SetString(whole, 10)
	i.Sub(i, new(big.Int).Mod(i, big.NewInt(int64(n))))
	out := i.String()
	if negative && i.Sign() != 0 {
		out = "-" + out
	}
	if point {
		out += "." + strings.Repeat("0", len(part))
	}
	return []byte(out), nil
}

// floatText prints a number as the server does with extra_float_digits 1.
func floatText(f float64, size int) []byte {
	switch {
	case math.IsNaN(f):
		return []byte("NaN")
	case math.IsInf(f, 1):
		return []byte("Infinity")
	case math.IsInf(f, -1):
		return []byte("-Infinity")
	}
	limit := 15 // digits before the point at which the server takes an exponent
	if size == 32 {
		limit = 6
		f = float64(float32(f))
	}
	e := strconv.AppendFloat(nil, f, 'e', -1, size)
	exponent, _ := strconv.Atoi(string(e[bytes.IndexByte(e, 'e')+1:]))
	if f != 0 && (exponent < -4 || exponent >= limit) {
		return e
	}
	return strconv.AppendFloat(nil, f, 'f', -1, size)
}
