package policy

import "strconv"

// MaskKind is what a mask does. The zero value makes NULL of everything.
type MaskKind uint8

const (
	MaskNull      MaskKind = iota // NULL
	MaskEmail                     // a***@example.com
	MaskConstant                  // Text
	MaskKeepFirst                 // the first N characters, then ***
	MaskKeepLast                  // ***, then the last N characters
	MaskHash                      // a keyed token, equal for equal values of one tag
	MaskTruncate                  // Text is "day", "month" or "year"
	MaskRound                     // towards zero to a multiple of N
)

// Mask is what a sensitive value becomes. Package policy/mask does it. It is
// comparable, and the zero value is NULL.
type Mask struct {
	Kind MaskKind
	N    int
	Text string
}

// String returns the mask as the policy language writes it.
func (m Mask) String() string {
	switch m.Kind {
	case MaskNull:
		return "null"
	case MaskEmail:
		return "email"
	case MaskConstant:
		return "{constant: " + strconv.Quote(m.Text) + "}"
	case MaskKeepFirst:
		return "{keepFirst: " + strconv.Itoa(m.N) + "}"
	case MaskKeepLast:
		return "{keepLast: " + strconv.Itoa(m.N) + "}"
	case MaskHash:
		return "hash"
	case MaskTruncate:
		return "{truncate: " + m.Text + "}"
	case MaskRound:
		return "{round: " + strconv.Itoa(m.N) + "}"
	}
	return "unknown"
}
