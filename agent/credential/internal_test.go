package credential

import "testing"

// The examples of RFC 4013, section 3, and what PostgreSQL does with those that
// SASLprep refuses.
func TestSASLprep(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"soft hyphen", "I\u00adX", "IX"},
		{"no change", "user", "user"},
		{"case is kept", "USER", "USER"},
		{"feminine ordinal", "\u00aa", "a"},
		{"roman numeral", "\u2168", "IX"},
		{"control in ASCII", "\a", "\a"},
		{"both directions", "\u0627\u0031", "\u0627\u0031"},
		{"right to left", "\u0627\u0628", "\u0627\u0628"},
		{"no-break space", "a\u00a0b", "a b"},
		{"only what maps to nothing", "\u00ad", "\u00ad"},
		{"decomposed", "e\u0301", "\u00e9"},
		{"unassigned in Unicode 3.2", "\u00aa\U0001f600", "\u00aa\U0001f600"},
		{"private use", "\u00aa\ue000", "\u00aa\ue000"},
		{"not UTF-8", "\xff\xfe", "\xff\xfe"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(saslprep([]byte(tt.in))); got != tt.want {
				t.Errorf("saslprep(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}
