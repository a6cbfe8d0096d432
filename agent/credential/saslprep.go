package credential

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// saslprep prepares a password as PostgreSQL does when it stores one: SASLprep
// (RFC 4013), or, where that refuses it, the bytes as they are.
// See pg_saslprep in src/common/saslprep.c of PostgreSQL.
func saslprep(password []byte) []byte {
	if ascii(password) || !utf8.Valid(password) {
		return password
	}
	mapped := make([]rune, 0, len(password))
	for _, r := range string(password) {
		switch {
		case unicode.Is(prepSpace, r):
			mapped = append(mapped, ' ')
		case unicode.Is(prepNothing, r):
		default:
			mapped = append(mapped, r)
		}
	}
	if len(mapped) == 0 {
		return password
	}
	out := []rune(norm.NFKC.String(string(mapped)))
	clear(mapped)
	if !permitted(out) {
		clear(out)
		return password
	}
	b := []byte(string(out))
	clear(out)
	return b
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// permitted checks for prohibited characters, and text of both directions
// (RFC 3454, section 6).
func permitted(text []rune) bool {
	right, left := false, false
	for _, r := range text {
		if unicode.Is(prepProhibited, r) {
			return false
		}
		right = right || unicode.Is(prepRight, r)
		left = left || unicode.Is(prepLeft, r)
	}
	return !right || !left && unicode.Is(prepRight, text[0]) && unicode.Is(prepRight, text[len(text)-1])
}
