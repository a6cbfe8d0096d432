package postgres

import (
	"bytes"
	"strings"
	"testing"

	"sluicegate.io/sluice/protocol"
)

var copyFormats = []*protocol.Copy{
	{Delimiter: '\t'}, {Delimiter: '|'},
	{CSV: true, Delimiter: ',', Quote: '"', Escape: '"'},
	{CSV: true, Delimiter: ';', Quote: '\'', Escape: '\\'},
}

// FuzzCopyValue checks that what is written is read again, whatever it is, and that
// no bytes make it read beyond a value.
func FuzzCopyValue(f *testing.F) {
	for _, s := range []string{"", "a", "a\tb|c\\\n\r\v", `"`, `a"b,'\\'`, "\\N", "\\."} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, f := range copyFormats {
			row := appendCopy(f, nil, []byte(a))
			row = append(appendCopy(f, append(row, f.Delimiter), []byte(b)), '\n')
			one, n, ok := copyValue(f, row, nil)
			if !ok || string(one) != a || row[n] != f.Delimiter {
				t.Fatalf("%+v: %q reads as %q, %d, %v", f, row, one, n, ok)
			}
			rest := row[n+1:]
			if two, n, ok := copyValue(f, rest, nil); !ok || string(two) != b || rest[n:][0] != '\n' {
				t.Fatalf("%+v: %q reads as %q, %d, %v", f, rest, two, n, ok)
			}
			if v, n, ok := copyValue(f, []byte(a), nil); ok && (n > len(a) || len(v) > len(a)) {
				t.Fatalf("%+v: %q reads as %q, %d", f, a, v, n)
			}
		}
	})
}

type copyScanner struct {
	protocol.Gate
	seen []string
}

func (s *copyScanner) Value(_ *protocol.Run, _, column int, v []byte) ([]byte, bool) {
	s.seen = append(s.seen, string(v))
	return bytes.ReplaceAll(v, []byte("s"), []byte("\\")), true
}

func TestScanCopy(t *testing.T) {
	message := func(s string) []byte {
		b := append([]byte("d\x00\x00\x00\x00"), s...)
		b[4] = byte(len(b) - 1)
		return b
	}
	some := []protocol.Column{{}, {Scan: true}}
	for _, tt := range []struct {
		format protocol.Copy
		data   string
		want   string // "" for data that is refused
		seen   string
	}{
		{protocol.Copy{Delimiter: '\t'}, "s\ts\n", "s\t\\\\\n", "s"},
		{protocol.Copy{Delimiter: '\t'}, "s\ta\ts\n", "s\ta\t\\\\\n", "a s"}, // a third column is not known
		{protocol.Copy{Delimiter: '\t'}, "s\\\tx\ts\nb\ts\n", "s\\\tx\t\\\\\nb\t\\\\\n", "s s"},
		{protocol.Copy{Delimiter: '\t'}, "a\n", "a\n", ""},
		{protocol.Copy{Delimiter: '\t'}, "a\ts", "", "s"},
		{protocol.Copy{Delimiter: '\t'}, "a\t", "", ""},
		{protocol.Copy{Delimiter: '\t'}, "a\\", "", ""},
		{protocol.Copy{CSV: true, Delimiter: ',', Quote: '"', Escape: '"'}, "\"a\n,\",\"s\"\n", "\"a\n,\",\"\\\"\n", "s"},
		{protocol.Copy{CSV: true, Delimiter: ',', Quote: '"', Escape: '"'}, "a,\"s\n", "", ""},
		{protocol.Copy{Binary: true}, "PGCOPY", "", ""},
	} {
		s := &copyScanner{}
		c := &core{scanner: s}
		tt.format.Columns = some
		in := message(tt.data)
		out, changed, read := c.scanCopy(&run{}, &tt.format, in)
		if !changed {
			out = in
		}
		if read != (tt.want != "") || read && (!bytes.Equal(out, message(tt.want)) || strings.Join(s.seen, " ") != tt.seen) {
			t.Errorf("%q: %q, %v, saw %q", tt.data, out, read, s.seen)
		}
	}
}
