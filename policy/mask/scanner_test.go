package mask_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
)

func scanner(t testing.TB, names ...string) *mask.Scanner {
	t.Helper()
	if len(names) == 0 {
		names = policy.Detectors()
	}
	s, err := mask.NewScanner(names)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fake joins what would look like a real secret to tools that search source code.
func fake(parts ...string) string { return strings.Join(parts, "") }

func TestScanner(t *testing.T) {
	s := scanner(t)
	tests := []struct{ in, want string }{
		{"", ""},
		{"nothing to see here, 12345 and 2026-03-10 12:34:56+00", ""},
		{"4111 1111 1111 1111", "[credit-card]"},
		{"card 4111-1111-1111-1111.", "card [credit-card]."},
		{"4111111111111111", "[credit-card]"},
		{"378282246310005 amex", "[credit-card] amex"},
		{"ref 12 4111 1111 1111 1111 now", "ref 12 [credit-card] now"},
		{"4111111111111112", ""},
		{"41111111111111111111111111111111", ""},
		{"0000000000000000", ""},
		{"order 4111111111111111 4111111111111111", "order [credit-card] [credit-card]"},
		{"ssn 123-45-6789", "ssn [us-ssn]"},
		{"123 45 6789", "[us-ssn]"},
		{"123-45 6789", ""},
		{"1123-45-6789", ""},
		{"123-45-67890", ""},
		{"0-123-45-6789", ""},
		{"mail bob.smith+x@example.co.uk now", "mail [email] now"},
		{"<a@b.de>", "<[email]>"},
		{"Contact me@example.com.", "Contact [email]."},
		{"jürgen@köln.de", "[email]"},
		{"a@b", ""},
		{"@handle.xy", ""},
		{"1.5@2.75", ""},
		{"a@b.com@c.com", "[email]@c.com"},
		{"DE89370400440532013000", "[iban]"},
		{"pay GB82 WEST 1234 5698 7654 32 please", "pay [iban] please"},
		{"DE89370400440532013001", ""},
		{"XX89370400440532013000", ""},
		{"call +1 415 555 2671", "call [phone]"},
		{"+49 (0)30 1234567", "[phone]"},
		{"(415) 555-2671", "[phone]"},
		{"415-555-2671", "[phone]"},
		{"1415-555-2671", ""},
		{"+12345", ""},
		{"x = a+1234567890", ""},
		{fake("AKIA", "IOSFODNN7EXAMPLE"), "[cloud-key]"},
		{fake("AKIA", "IOSFODNN7EXAMPLEX"), ""},
		{fake("key=AI", "za", strings.Repeat("a", 35), ";"), "key=[cloud-key];"},
		{fake("gh", "p_", strings.Repeat("a1", 18)), "[cloud-key]"},
		{fake("xo", "xb-", "123456789012-abcdef"), "[cloud-key]"},
		{fake("AccountKey=", strings.Repeat("a+/B", 21), "aa=="), "[cloud-key]"},
		{fake("ey", "JhbGciOiJIUzI1NiJ9.ey", "JzdWIiOiIxIn0.abc_-def"), "[jwt]"},
		{fake("Bearer ey", "JhbGciOiJub25lIn0.ey", "JzdWIiOiIxIn0."), "Bearer [jwt]"},
		{"eyJhbGciOiJIUzI1NiJ9.nope.x", ""},
		{fake("a\n-----BEGIN RSA ", "PRIVATE KEY-----\nMII\n-----END RSA ", "PRIVATE KEY-----\nb"), "a\n[private-key]\nb"},
		{fake("-----BEGIN OPENSSH ", "PRIVATE KEY-----\ncut off"), "[private-key]"},
		{"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", ""},
	}
	for _, tt := range tests {
		in := []byte(tt.in)
		out, hits := s.Value(in)
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if string(out) != want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, out, want)
		}
		if hits.Any() != (tt.want != "") {
			t.Errorf("%q: hits %v", tt.in, hits)
		}
		if string(in) != tt.in {
			t.Errorf("%q was changed", tt.in)
		}
	}
}

func TestScannerLooksForWhatItWasAskedFor(t *testing.T) {
	out, hits := scanner(t, "us-ssn").Value([]byte("a@b.com 123-45-6789"))
	if string(out) != "a@b.com [us-ssn]" || hits[mask.SSN] != 1 || hits[mask.EmailAddress] != 0 {
		t.Errorf("%q %v", out, hits)
	}
	if _, err := mask.NewScanner([]string{"dna"}); err == nil {
		t.Error("an unknown detector is accepted")
	}
	for i, name := range policy.Detectors() {
		if mask.Detector(i).String() != name {
			t.Errorf("detector %d is %q in mask and %q in policy", i, mask.Detector(i), name)
		}
	}
}

// Each of these makes some detector begin as often as it can, and fail late.
var worst = map[string]string{
	"at": "a@", "jwt": "eyJ-", "jwt2": "eyJaaaaaaaaaa.", "google": "AIza-", "aws": "AKIA ",
	"digits": "4 ", "run": "4", "plus": "+1 ", "pem": "-----BEGIN ", "pem2": "-----BEGIN PRIVATE KEY",
	"dashes": "-", "iban": "DE89 ", "ssn": "123-45-678 ", "local": "a.", "domain": "a@bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ",
}

// Twice the input takes about twice the time, whatever the input.
func TestScannerIsLinear(t *testing.T) {
	s := scanner(t)
	for name, unit := range worst {
		in := bytes.Repeat([]byte(unit), (1<<20)/len(unit))
		start := time.Now()
		s.Value(in)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: %v for 1 MiB", name, took)
		}
	}
}

func TestScannerAllocatesNothing(t *testing.T) {
	s := scanner(t)
	in := []byte(prose)
	if n := testing.AllocsPerRun(100, func() { s.Value(in) }); n != 0 {
		t.Errorf("%v allocations where nothing is found", n)
	}
}

func FuzzScanner(f *testing.F) {
	for _, unit := range worst {
		f.Add([]byte(unit))
	}
	f.Add([]byte("a@b.com 4111 1111 1111 1111 +1 415 555 2671 123-45-6789 DE89370400440532013000"))
	s := scanner(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		out, hits := s.Value(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the value was changed")
		}
		if hits.Any() == bytes.Equal(in, out) {
			t.Fatalf("%v hits, %q became %q", hits, in, out)
		}
	})
}

const prose = "The order was shipped on 2026-03-10 from Warehouse 12 to the customer, who had asked for it twice; " +
	"total 1234.56 EUR, item A-4471, colour blue. Please see the attached notes and keep this in the file. "

func BenchmarkScanner(b *testing.B) {
	s := scanner(b)
	run := func(name string, in []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				s.Value(in)
			}
		})
	}
	run("prose", bytes.Repeat([]byte(prose), 20))
	run("short", []byte("customer name 17"))
	run("digits", bytes.Repeat([]byte("1234567890 "), 300))
	run("hex", bytes.Repeat([]byte("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"), 50))
	run("found", []byte("mail bob.smith@example.com please"))
	for name, unit := range worst {
		run("worst/"+name, bytes.Repeat([]byte(unit), 4096/len(unit)))
	}
}
