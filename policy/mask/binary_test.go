package mask_test

import (
	"testing"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
)

// Values in binary are masked as the database masks them.
func TestBinaryAgreesWithSQL(t *testing.T) {
	conn := connect(t)
	key := mask.NewKey([]byte("a secret of the tests"), "tag")
	for _, row := range agreement {
		switch row.t.OID {
		// These have no binary mask but null.
		case 1700, 16, 1082, 1114, 1184, 869, 20001:
			if out, err := mask.ApplyBinary(policy.Mask{}, row.t, key, []byte("x")); out != nil || err != nil {
				t.Errorf("null of %s: %q, %v", row.t.Name, out, err)
			}
			continue
		}
		for _, m := range row.masks {
			expr, err := mask.SQL(m, `t."v"`, row.t, key)
			if err != nil {
				t.Fatal(err)
			}
			for _, value := range row.values {
				sql := `SELECT t."v", ` + expr + " FROM (SELECT CAST(" + literal(value) + " AS " + declared(row.t) + ") AS v) t"
				result := conn.PgConn().ExecParams(t.Context(), sql, nil, nil, nil, []int16{1}).Read()
				if result.Err != nil {
					t.Fatalf("%v\n%s", result.Err, sql)
				}
				in, want := result.Rows[0][0], result.Rows[0][1]
				got, err := mask.ApplyBinary(m, row.t, key, in)
				if err != nil || string(got) != string(want) || (got == nil) != (want == nil) {
					t.Errorf("%s of %s %q:\n  database %q\n  Go       %q, %v", m, row.t.Name, value, want, got, err)
				}
			}
		}
	}
}

// A value that is not what its type says is an error, never passed on.
func TestBrokenValues(t *testing.T) {
	for _, tt := range []struct {
		m     policy.Mask
		t     mask.Type
		value string
	}{
		{round10, int4, ""}, {round10, int4, "x"}, {round10, numeric, "1e5"}, {round10, float8, "one"},
		{day, date, "10/03/2026"}, {day, timestamptz, "2026-03-10 12:00:00+02"}, {day, timestamp, "2026-03-10"},
		{hash, bytea, "abc"},
	} {
		if out, err := mask.Apply(tt.m, tt.t, mask.Key{}, []byte(tt.value)); err == nil {
			t.Errorf("%s of %s %q = %q", tt.m, tt.t.Name, tt.value, out)
		}
	}
	for _, typ := range []mask.Type{int2, int4, int8, float4, float8, uuid, jsonb} {
		if out, err := mask.ApplyBinary(hash, typ, mask.Key{}, nil); out != nil || err != nil {
			t.Errorf("NULL of %s: %q, %v", typ.Name, out, err)
		}
		if _, err := mask.ApplyBinary(fixed("1"), typ, mask.Key{}, []byte{}); err == nil {
			t.Errorf("an empty %s is accepted", typ.Name)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte("alice@example.com"), uint8(0))
	f.Add([]byte("日本語\xff"), uint8(3))
	f.Add([]byte("2026-03-10 12:00:00+00 BC"), uint8(9))
	types := []mask.Type{text, varchar5, bpchar20, name, int4, numeric, float8, date, timestamp, timestamptz, uuid, bytea, jsonb}
	masks := []policy.Mask{null, email, constant, first2, last4, hash, day, year, round10}
	f.Fuzz(func(t *testing.T, value []byte, which uint8) {
		before := string(value)
		for _, m := range masks {
			typ := types[int(which)%len(types)]
			mask.Apply(m, typ, mask.Key{}, value)
			mask.ApplyBinary(m, typ, mask.Key{}, value)
		}
		if string(value) != before {
			t.Fatal("the value was changed")
		}
	})
}
