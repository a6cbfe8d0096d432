package postgres

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

func stars(text []byte) ([]byte, bool) {
	other := bytes.ReplaceAll(text, []byte("secret"), []byte("***"))
	return other, !bytes.Equal(other, text)
}

// Values are encoded as pgtype does, which knows the formats on its own.
func TestScanBinary(t *testing.T) {
	m := pgtype.NewMap()
	encode := func(oid uint32, v any) []byte {
		t.Helper()
		b, err := m.Encode(oid, pgtype.BinaryFormatCode, v, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	record := func(parts ...string) []byte {
		b := pgtype.NewCompositeBinaryBuilder(m, nil)
		for _, p := range parts {
			b.AppendValue(pgtype.TextOID, p)
		}
		out, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, tt := range []struct {
		name     string
		oid      uint32
		in, want []byte
	}{
		{"text", pgtype.TextOID, []byte("a secret"), []byte("a ***")},
		{"json", pgtype.JSONOID, []byte(`"secret"`), []byte(`"***"`)},
		{"jsonb", pgtype.JSONBOID, encode(pgtype.JSONBOID, "a secret"), encode(pgtype.JSONBOID, "a ***")},
		{"array", pgtype.TextArrayOID, encode(pgtype.TextArrayOID, []string{"x", "secret", ""}), encode(pgtype.TextArrayOID, []string{"x", "***", ""})},
		{"nulls", pgtype.TextArrayOID, encode(pgtype.TextArrayOID, []*string{nil, new(string)}), nil},
		{"empty", pgtype.TextArrayOID, encode(pgtype.TextArrayOID, []string{}), nil},
		{"dimensions", pgtype.VarcharArrayOID, encode(pgtype.VarcharArrayOID, [][]string{{"secret"}, {"b"}}), encode(pgtype.VarcharArrayOID, [][]string{{"***"}, {"b"}})},
		{"array of jsonb", pgtype.JSONBArrayOID, encode(pgtype.JSONBArrayOID, []string{`"secret"`}), encode(pgtype.JSONBArrayOID, []string{`"***"`})},
		{"record", recordOID, record("1", "secret"), record("1", "***")},
		{"row of a table", 16400, record("secret", "b"), record("***", "b")},
		{"array of a user's type", 16401, encode(pgtype.TextArrayOID, []string{"secret"}), encode(pgtype.TextArrayOID, []string{"***"})},
		{"user's text", 16402, []byte("a secret"), []byte("a ***")},
		{"user's bytes", 16403, []byte("\x00secret"), nil},
		{"bytea", pgtype.ByteaOID, []byte("secret"), nil},
		{"number", pgtype.Int8OID, []byte("\x00\x00\x00\x00\x00\x00\x00\x01"), nil},
		{"short jsonb", pgtype.JSONBOID, nil, nil},
		{"short array", pgtype.TextArrayOID, []byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x06secret"), nil},
		{"longer record", recordOID, append(record("secret"), "x"...), nil},
		{"longer array", pgtype.TextArrayOID, append(encode(pgtype.TextArrayOID, []string{"x"}), "secret"...), nil},
	} {
		out, changed := scanBinary(tt.oid, tt.in, stars, 0)
		if want := tt.want != nil; changed != want || changed && !bytes.Equal(out, tt.want) {
			t.Errorf("%s: %v %q, want %q", tt.name, changed, out, tt.want)
		}
	}
}

func FuzzScanBinary(f *testing.F) {
	f.Add(uint32(16400), []byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x06secret"))
	f.Add(uint32(recordOID), []byte("\x00\x00\x00\x01\x00\x00\x00\x19\x00\x00\x00\x06secret"))
	f.Add(uint32(jsonbOID), []byte("\x01secret"))
	f.Fuzz(func(t *testing.T, oid uint32, value []byte) {
		before := bytes.Clone(value)
		same := func(text []byte) ([]byte, bool) { return text, true }
		if out, changed := scanBinary(oid, value, same, 0); changed && !bytes.Equal(out, value) {
			t.Errorf("%d %q became %q, though nothing was replaced", oid, value, out)
		}
		scanBinary(oid, value, stars, 0)
		if !bytes.Equal(value, before) {
			t.Error("the value itself has changed")
		}
	})
}
