package policy

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// number returns a decoder of a whole number of at least low and at most high.
// Only plain decimals are read: 010 is eight in one YAML version and ten in another.
func number[T ~int | ~int64 | ~uint32](d *decoder, to *T, what string, low, high int64) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := outlined(n); ok {
			s.bounds(low, high)
			return
		}
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			d.errorf(n, "%s must be a whole number, not %s", what, describe(n))
			return
		}
		v, ok := decimal(i.GetToken().Value)
		if !ok || v < low || v > high {
			if high == math.MaxInt64 {
				d.errorf(n, "%s must be a whole number of at least %d, in plain digits", what, low)
			} else {
				d.errorf(n, "%s must be a whole number from %d to %d, in plain digits", what, low, high)
			}
			return
		}
		*to = T(v)
	}
}

// decimal reads digits without a leading zero.
func decimal(s string) (int64, bool) {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return v, err == nil
}

// size returns a decoder of a number of bytes: 4096, 64KiB, 2MiB, 1GiB, 10MB.
func (d *decoder) size(to *int64, what string) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := outlined(n); ok {
			s.IntOrString = true
			s.Pattern = "^[1-9][0-9]*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"
			return
		}
		if _, ok := n.(*ast.IntegerNode); ok {
			number(d, to, what, 1, math.MaxInt64)(n)
			return
		}
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		digits := strings.TrimRight(s, "BKMGTi")
		unit, known := map[string]int64{
			"B": 1, "kB": 1000, "KB": 1000, "MB": 1e6, "GB": 1e9, "TB": 1e12,
			"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		}[s[len(digits):]]
		v, ok := decimal(digits)
		if !known || !ok || v < 1 || v > math.MaxInt64/unit {
			d.errorf(n, "%s %q is not a size: write bytes, or a number with KiB, MiB or GiB, as in 2MiB", what, clip(s))
			return
		}
		*to = v * unit
	}
}

// duration returns a decoder of a time span: 30s, 15m, 1h30m, 7d.
func (d *decoder) duration(to *time.Duration, what string) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := outlined(n); ok {
			s.Type, s.Pattern = "string", "^([1-9][0-9]*d|([0-9]+([.][0-9]+)?(h|m|s|ms))+)$"
			return
		}
		s, ok := n.(*ast.StringNode)
		if !ok {
			d.errorf(n, "%s must be a time span such as 30s, 15m, 1h or 7d, not %s", what, describe(n))
			return
		}
		v, ok := span(s.Value)
		if !ok {
			d.errorf(n, "%s %q is not a time span: write one such as 30s, 15m, 1h or 7d", what, clip(s.Value))
			return
		}
		*to = v
	}
}

func span(s string) (time.Duration, bool) {
	if days, found := strings.CutSuffix(s, "d"); found {
		v, ok := decimal(days)
		if !ok || v < 1 || v > 36500 {
			return 0, false
		}
		return time.Duration(v) * 24 * time.Hour, true
	}
	v, err := time.ParseDuration(s)
	return v, err == nil && v >= time.Millisecond && v <= 36500*24*time.Hour
}

// instant returns a decoder of a moment as RFC 3339 writes it.
func (d *decoder) instant(to *time.Time, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, what)
		if o, outline := outlined(n); outline {
			o.Format, o.MinLength = "date-time", 0
		}
		if !ok {
			return
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			d.errorf(n, "%s %q is not a moment: write one such as 2026-01-31T18:00:00Z", what, clip(s))
			return
		}
		*to = t
	}
}

// name returns a decoder of a resource's name.
func (d *decoder) name(to *string, what string) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, what)
		if o, outline := outlined(n); outline {
			o.Pattern, o.MaxLength = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", 63
		}
		if !ok {
			return
		}
		if !validName(s) {
			d.errorf(n, "%s %q is not a name: use 1 to 63 letters, digits, - _ and ., starting and ending with a letter or digit", what, clip(s))
			return
		}
		*to = s
	}
}

func validName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		inner := c == '-' || c == '_' || c == '.'
		if !letter && (!inner || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// mask returns a decoder of a mask.
func (d *decoder) mask(to *Mask) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := outlined(n); ok {
			s.Open, s.Nullable = true, true
			return
		}
		if empty(n) {
			*to = Mask{Kind: MaskNull}
			return
		}
		if s, ok := n.(*ast.StringNode); ok {
			choice(d, to, "mask",
				word[Mask]{"null", Mask{Kind: MaskNull}},
				word[Mask]{"email", Mask{Kind: MaskEmail}},
				word[Mask]{"hash", Mask{Kind: MaskHash}})(s)
			return
		}
		if _, ok := n.(*ast.MappingNode); !ok {
			d.errorf(n, "mask must be null, email, hash, or one of {constant: ...}, {keepFirst: n}, {keepLast: n}, {truncate: day|month|year}, {round: n}; not %s", describe(n))
			return
		}
		count := 0
		set := func(kind MaskKind, decode func(ast.Node)) func(ast.Node) {
			return func(n ast.Node) {
				count++
				to.Kind = kind
				decode(n)
			}
		}
		d.mapping(n, "mask", nil,
			field{"constant", set(MaskConstant, d.constant(&to.Text))},
			field{"keepFirst", set(MaskKeepFirst, number(d, &to.N, "keepFirst", 1, 1000))},
			field{"keepLast", set(MaskKeepLast, number(d, &to.N, "keepLast", 1, 1000))},
			field{"truncate", set(MaskTruncate, choice(d, &to.Text, "truncate",
				word[string]{"day", "day"}, word[string]{"month", "month"}, word[string]{"year", "year"}))},
			field{"round", set(MaskRound, number(d, &to.N, "round", 2, 1e9))},
		)
		if count != 1 {
			d.errorf(n, "mask needs exactly one of constant, keepFirst, keepLast, truncate, round")
		}
	}
}

// constant returns a decoder of a mask's constant, which may be any scalar.
func (d *decoder) constant(to *string) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := outlined(n); ok {
			s.IntOrString = true // and in files also true, false and 1.5
			return
		}
		switch n := n.(type) {
		case *ast.StringNode:
			*to = n.Value // may be empty
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			*to = n.GetToken().Value
		default:
			d.errorf(n, "constant must be a text or a number, not %s", describe(n))
			return
		}
		if len(*to) > 1000 || strings.IndexByte(*to, 0) >= 0 {
			d.errorf(n, "constant must have at most 1000 bytes and no NUL")
		}
	}
}
