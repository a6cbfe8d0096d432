package mask

import (
	"fmt"
	"math/bits"
	"slices"
)

// Detector is a kind of content that has no business in a value.
type Detector uint8

const (
	CloudKey Detector = iota
	CreditCard
	EmailAddress
	IBAN
	JWT
	Phone
	PrivateKey
	SSN
	detectors // their number
)

var detectorNames = [detectors]string{
	"cloud-key", "credit-card", "email", "iban", "jwt", "phone", "private-key", "us-ssn",
}

// String returns the policy word.
func (d Detector) String() string {
	if int(d) < len(detectorNames) {
		return detectorNames[d]
	}
	return "unknown"
}

// Hits counts what was found, by Detector.
type Hits [detectors]uint32

// Any reports whether anything was found.
func (h *Hits) Any() bool { return *h != Hits{} }

// Scanner looks for content in text values and replaces it, as in "[email]". It
// is the second net under the labels of columns, never a boundary: who can
// compute on a value can spell it in a way that no detector knows.
//
// It reads a value once. At each byte a table says which detectors could begin
// there; each of those looks at a bounded number of bytes, or at bytes that
// nothing looks at again. It does not allocate unless it finds something. It is
// immutable and safe for concurrent use.
type Scanner struct {
	// first has a bit per Detector that a byte may begin, and inWord.
	first [256]uint16
}

// inWord marks the bytes after which no word begins.
const inWord = 1 << 15

// NewScanner returns a Scanner for the named detectors.
func NewScanner(names []string) (*Scanner, error) {
	s := &Scanner{}
	for _, name := range names {
		i := slices.Index(detectorNames[:], name)
		if i < 0 {
			return nil, fmt.Errorf("no content detector is called %q", name)
		}
		for _, b := range begins[i] {
			s.first[b] |= 1 << i
		}
	}
	for c := range 256 {
		if class[c]&alnum != 0 {
			s.first[c] |= inWord
		}
	}
	return s, nil
}

// begins are the bytes that each detector begins with, or for an email address
// the one that it is found by.
var begins = [detectors][]byte{
	CloudKey:     keyBegins(),
	CreditCard:   []byte("23456"),
	EmailAddress: []byte("@"),
	IBAN:         []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
	JWT:          []byte("e"),
	Phone:        []byte("+(0123456789"),
	PrivateKey:   []byte("-"),
	SSN:          []byte("0123456789"),
}

// boundary are the detectors that begin a word: none inside one is looked at.
const boundary = 1<<CloudKey | 1<<CreditCard | 1<<IBAN | 1<<JWT | 1<<Phone | 1<<SSN

// Value returns in, or a copy of it without what was found. The result may be in
// itself, which is not changed.
func (s *Scanner) Value(in []byte) ([]byte, Hits) {
	var hits Hits
	var out []byte
	done := 0 // bytes of in that are in out, or replaced
	open := [2]uint16{inWord - 1, (inWord - 1) &^ boundary}
	mask := open[0]
	for i := 0; i < len(in); i++ {
		e := s.first[in[i]]
		set := e & mask
		mask = open[e>>15]
		if set == 0 {
			continue
		}
		d, start, end := find(set, in, done, i)
		if end == 0 {
			continue
		}
		hits[d]++
		if out == nil {
			out = make([]byte, 0, len(in)+16)
		}
		out = append(out, in[done:start]...)
		out = append(out, '[')
		out = append(out, detectorNames[d]...)
		out = append(out, ']')
		done = end
		i = end - 1
		mask = open[0]
	}
	if out == nil {
		return in, hits
	}
	return append(out, in[done:]...), hits
}

// find tries the detectors of set at i. An end of 0 means that none matched.
func find(set uint16, in []byte, done, i int) (d Detector, start, end int) {
	for ; set != 0; set &= set - 1 {
		d := Detector(bits.TrailingZeros16(set))
		switch d {
		case CloudKey:
			end = cloudKey(in, i)
		case CreditCard:
			end = creditCard(in, i)
		case EmailAddress:
			if start, end := email(in, done, i); end != 0 {
				return d, start, end
			}
		case IBAN:
			end = iban(in, i)
		case JWT:
			end = jwt(in, i)
		case Phone:
			end = phone(in, i)
		case PrivateKey:
			end = privateKey(in, i)
		case SSN:
			end = ssn(in, i)
		}
		if end != 0 {
			return d, i, end
		}
	}
	return 0, 0, 0
}

// Classes of bytes.
const (
	digit    = 1 << iota
	upper    // A-Z
	lower    // a-z
	local    // may stand before the @ of an address
	base64   // of base64url
	alnum    // digit, letter, or any byte beyond ASCII
	standard // of base64 beside letters and digits
)

var class = classes()

func classes() (t [256]uint8) {
	for c := range 256 {
		switch {
		case c >= '0' && c <= '9':
			t[c] = digit | local | base64 | alnum
		case c >= 'A' && c <= 'Z':
			t[c] = upper | local | base64 | alnum
		case c >= 'a' && c <= 'z':
			t[c] = lower | local | base64 | alnum
		case c == '-' || c == '_':
			t[c] = local | base64
		case c == '+':
			t[c] = local | standard
		case c == '/' || c == '=':
			t[c] = standard
		case c == '.' || c == '%' || c == '\'':
			t[c] = local
		case c >= 0x80:
			t[c] = local | alnum
		}
	}
	return t
}

// is reports whether in has a byte of a class at i.
func is(in []byte, i int, c uint8) bool { return i < len(in) && class[in[i]]&c != 0 }
