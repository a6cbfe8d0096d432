package mask_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/test/pgtest"
)

func base(oid uint32, name string, mod int32) mask.Type {
	return mask.Type{OID: oid, Name: "pg_catalog." + name, Mod: mod, Kind: 'b'}
}

var (
	text        = base(25, "text", -1)
	varchar8    = base(1043, "varchar", 12)
	varchar5    = base(1043, "varchar", 9)
	varchar20   = base(1043, "varchar", 24)
	varchar     = base(1043, "varchar", -1)
	bpchar20    = base(1042, "bpchar", 24)
	char        = mask.Type{OID: 18, Name: `pg_catalog."char"`, Mod: -1, Kind: 'b', Category: 'Z'}
	name        = mask.Type{OID: 19, Name: "pg_catalog.name", Mod: -1, Kind: 'b', Category: 'S', Elem: &char}
	int2        = base(21, "int2", -1)
	int4        = base(23, "int4", -1)
	int8        = base(20, "int8", -1)
	numeric     = base(1700, "numeric", -1)
	numeric6_2  = base(1700, "numeric", 4+(6<<16|2))
	numeric30_2 = base(1700, "numeric", 4+(30<<16|2))
	float4      = base(700, "float4", -1)
	float8      = base(701, "float8", -1)
	boolean     = base(16, "bool", -1)
	date        = base(1082, "date", -1)
	timestamp   = base(1114, "timestamp", -1)
	timestamp3  = base(1114, "timestamp", 3)
	timestamptz = base(1184, "timestamptz", -1)
	uuid        = base(2950, "uuid", -1)
	bytea       = base(17, "bytea", -1)
	inet        = base(869, "inet", -1)
	jsonT       = base(114, "json", -1)
	jsonb       = base(3802, "jsonb", -1)
	domain      = mask.Type{OID: 20000, Name: "app.mail", Mod: -1, Kind: 'd', Base: &varchar20}
	mood        = mask.Type{OID: 20001, Name: "app.mood", Mod: -1, Kind: 'e', Labels: []string{"sad", "ok"}}
)

var (
	null     = policy.Mask{}
	email    = policy.Mask{Kind: policy.MaskEmail}
	constant = policy.Mask{Kind: policy.MaskConstant, Text: `it's \ gone`}
	first2   = policy.Mask{Kind: policy.MaskKeepFirst, N: 2}
	last4    = policy.Mask{Kind: policy.MaskKeepLast, N: 4}
	hash     = policy.Mask{Kind: policy.MaskHash}
	day      = policy.Mask{Kind: policy.MaskTruncate, Text: "day"}
	month    = policy.Mask{Kind: policy.MaskTruncate, Text: "month"}
	year     = policy.Mask{Kind: policy.MaskTruncate, Text: "year"}
	round10  = policy.Mask{Kind: policy.MaskRound, N: 10}
	round1k  = policy.Mask{Kind: policy.MaskRound, N: 1000}
)

func fixed(s string) policy.Mask { return policy.Mask{Kind: policy.MaskConstant, Text: s} }

var texts = []string{
	"", "a", "ab", "abc", "abcd", "abcde", "alice@example.com", "a@b", "@b", "a@", "a@b@c", "@@", "ä@ö.de", "äö@ü",
	"4111-1111-1111-1111", "日本語テキスト", "👩‍👩‍👧 family", "tab\tnew\nline", `back\slash 'quote'`, "  spaces  ", strings.Repeat("é", 3000),
}

// agreement are the values on which the database and Go must agree.
var agreement = []struct {
	t      mask.Type
	masks  []policy.Mask
	values []string
}{
	{text, []policy.Mask{null, email, constant, first2, last4, hash}, texts},
	{varchar, []policy.Mask{null, email, constant, first2, last4, hash}, texts},
	{name, []policy.Mask{null, email, constant, first2, last4, hash}, texts[:16]},
	{varchar8, []policy.Mask{null, email, constant, first2, last4}, texts[:6]},
	{varchar5, []policy.Mask{null, email, constant, first2, last4}, texts[:6]},
	{varchar20, []policy.Mask{null, email, constant, first2, last4, hash}, texts[:16]},
	{bpchar20, []policy.Mask{null, email, constant, first2, last4, hash}, texts[:16]},
	{domain, []policy.Mask{null, email, constant, first2, last4, hash}, []string{"x@y.example", "long@y.example"}},
	{int2, []policy.Mask{null, fixed("7"), round10, round1k, {Kind: policy.MaskRound, N: 100000}}, []string{"0", "-1", "32767", "-32768", "15"}},
	{int4, []policy.Mask{null, fixed("-7"), round10, round1k, hash}, []string{"0", "-1", "2147483647", "-2147483648", "15"}},
	{int8, []policy.Mask{null, fixed("7"), round10, round1k, hash}, []string{"0", "-1", "9223372036854775807", "-9223372036854775808", "15"}},
	{numeric, []policy.Mask{null, fixed("7.50"), round10, round1k, hash}, []string{"0", "-1.5", "1234567890123456789012345678.25", "NaN", "Infinity", "1e20", "0.001", "-0.5", "10.00"}},
	{numeric6_2, []policy.Mask{null, fixed("7.5"), fixed("-3"), round10, round1k}, []string{"0", "-1.5", "9999.99", "-9999.99", "NaN"}},
	{numeric30_2, []policy.Mask{hash, round10}, []string{"0", "-1.5", "9999.99"}},
	{float4, []policy.Mask{null, fixed("7.5"), round10}, []string{"0", "-1.5", "1234567", "123456", "3.4e38", "NaN", "-Infinity", "1e-20", "-0.5"}},
	{float8, []policy.Mask{null, fixed("7.5"), fixed("1000000000000000000000"), round10, round1k}, []string{"0", "-1.5", "1234567.891", "1.7e308", "12345678901234567", "NaN", "Infinity", "1e-20", "-0.5", "1e15", "1e14"}},
	{boolean, []policy.Mask{null, fixed("true"), fixed("false")}, []string{"true", "false"}},
	{date, []policy.Mask{null, fixed("2000-01-01"), day, month, year}, []string{"2026-03-10", "0001-12-31 BC", "4713-06-01 BC", "4712-06-01 BC", "294275-12-31", "294276-01-02", "5874897-12-31", "infinity", "-infinity", "1999-12-31"}},
	{timestamp, []policy.Mask{null, fixed("2000-01-01 10:00:00"), day, month, year}, []string{"2026-03-10 12:34:56.789", "0001-12-31 23:59:59 BC", "4713-06-01 00:00:00 BC", "294276-12-31 23:59:59", "infinity", "-infinity"}},
	{timestamp3, []policy.Mask{null, day, month, year}, []string{"2026-03-10 12:34:56.789"}},
	{timestamptz, []policy.Mask{null, fixed("2000-01-01 10:00:00+00"), day, month, year}, []string{"2026-03-10 12:34:56.789+00", "2026-03-10 23:30:00-05", "0001-12-31 23:59:59+00 BC", "infinity", "-infinity"}},
	{uuid, []policy.Mask{null, fixed("00000000-0000-0000-0000-00000000000A"), hash}, []string{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
	{bytea, []policy.Mask{null, fixed(`\x00ff`), hash}, []string{`\x`, `\xdeadbeef`}},
	{inet, []policy.Mask{null, fixed("0.0.0.0")}, []string{"10.1.2.3/8", "::1"}},
	{jsonT, []policy.Mask{null, fixed(`{"a": 1}`), hash}, []string{`{"a":  "b"}`, `null`, `"x"`}},
	{jsonb, []policy.Mask{null, fixed(`{"a": 1}`), hash}, []string{`{"a": "b"}`, `null`, `"x"`}},
	{mood, []policy.Mask{null, fixed("ok")}, []string{"sad", "ok"}},
}

// hostile makes what unqualified names and operators would find first.
const hostile = `
CREATE SCHEMA app;
CREATE DOMAIN app.mail AS varchar(20) CHECK (VALUE ~ '^[a-z]+@[a-z.]+$');
CREATE TYPE app.mood AS ENUM ('sad', 'ok');
CREATE TYPE app.pair AS (a text, b int);
CREATE COLLATION app.folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE SCHEMA evil;
CREATE FUNCTION evil."left"(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION evil."right"(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION evil.length(text) RETURNS int LANGUAGE sql AS 'SELECT 0';
CREATE FUNCTION evil.cat(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE OPERATOR evil.|| (FUNCTION = evil.cat, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION evil.gt(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR evil.> (FUNCTION = evil.gt, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR evil.= (FUNCTION = evil.gt, LEFTARG = int, RIGHTARG = int);
CREATE TYPE evil.text AS ENUM ('x');
`

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	s := pgtest.Start(t, pgtest.Options{})
	s.Exec(t, "template1", "CREATE DATABASE masks")
	s.Exec(t, "masks", hostile)
	conn, err := pgx.Connect(t.Context(), s.SocketDSN("masks"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	query(t, conn, "SET search_path = evil, pg_catalog, app; SET TimeZone = 'UTC'")
	return conn
}

// query returns the values of the last result; nil is NULL.
func query(t *testing.T, conn *pgx.Conn, sql string) [][]byte {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		return nil
	}
	return last.Rows[0]
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func declared(typ mask.Type) string {
	switch {
	case typ.Base != nil || typ.Mod < 0:
		return typ.Name
	case typ.OID == 1043 || typ.OID == 1042:
		return fmt.Sprintf("%s(%d)", typ.Name, typ.Mod-4)
	case typ.OID == 1700:
		return fmt.Sprintf("%s(%d,%d)", typ.Name, (typ.Mod-4)>>16, (typ.Mod-4)&0x7ff)
	}
	return fmt.Sprintf("%s(%d)", typ.Name, typ.Mod)
}

func TestSQLAgreesWithGo(t *testing.T) {
	conn := connect(t)
	key := mask.NewKey([]byte("a secret of the tests"), "tag")
	for _, row := range agreement {
		for _, m := range row.masks {
			expr, err := mask.SQL(m, `t."v"`, row.t, key)
			if err != nil {
				t.Errorf("%s of %s: %v", m, row.t.Name, err)
				continue
			}
			for _, value := range append([]string{"<NULL>"}, row.values...) {
				lit := "NULL"
				if value != "<NULL>" {
					lit = literal(value)
				}
				source := "(SELECT CAST(" + lit + " AS " + declared(row.t) + ") AS v) t"
				got := query(t, conn, `SELECT t."v", `+expr+", pg_catalog.pg_typeof("+expr+") FROM "+source)
				want, err := mask.Apply(m, row.t, key, got[0])
				if err != nil {
					t.Errorf("Apply(%s, %s, %q): %v", m, row.t.Name, value, err)
					continue
				}
				if string(got[1]) != string(want) || (got[1] == nil) != (want == nil) {
					t.Errorf("%s of %s %q:\n  database %q\n  Go       %q", m, declared(row.t), value, got[1], want)
				}
				if value != "<NULL>" && m.Kind != policy.MaskNull && got[1] == nil {
					t.Errorf("%s of %s %q is NULL", m, row.t.Name, value)
				}
			}
		}
	}
}

func TestSQLKeepsTypes(t *testing.T) {
	conn := connect(t)
	for _, row := range agreement {
		for _, m := range row.masks {
			expr, err := mask.SQL(m, `t."v"`, row.t, mask.Key{})
			if err != nil {
				t.Fatal(err)
			}
			sql := "SELECT t.v, " + expr + " FROM (SELECT CAST(NULL AS " + declared(row.t) + ") AS v) t"
			d, err := conn.Prepare(t.Context(), "", sql)
			if err != nil {
				t.Fatalf("%v\n%s", err, sql)
			}
			a, b := d.Fields[0], d.Fields[1]
			if a.DataTypeOID != b.DataTypeOID {
				t.Errorf("%s of %s becomes type %d", m, row.t.Name, b.DataTypeOID)
			}
			if a.TypeModifier != b.TypeModifier {
				t.Errorf("%s of %s(%d) gets modifier %d", m, row.t.Name, a.TypeModifier, b.TypeModifier)
			}
		}
	}
}

func TestArrays(t *testing.T) {
	conn := connect(t)
	key := mask.NewKey([]byte("a secret of the tests"), "tag")
	array := func(elem mask.Type) mask.Type {
		return mask.Type{OID: 1009, Name: elem.Name + "[]", Mod: elem.Mod, Kind: 'b', Category: 'A', Elem: &elem}
	}
	tests := []struct {
		t           mask.Type
		m           policy.Mask
		value, want string
	}{
		{array(text), last4, `{abcdefgh,NULL,"a b",äöüßé}`, `{***efgh,NULL,***,***öüßé}`},
		{array(text), last4, `{}`, `{}`},
		{array(text), last4, `{{abcdefg,b},{c,d}}`, `{***defg,***,***,***}`},
		{array(varchar8), first2, `{abcdefgh}`, `{ab***}`},
		{array(int4), round10, `{11,-29,NULL}`, `{10,-20,NULL}`},
		{array(text), null, `{a}`, ``},
	}
	for _, tt := range tests {
		expr, err := mask.SQL(tt.m, "t.v", tt.t, key)
		if err != nil {
			t.Fatal(err)
		}
		typ := declared(*tt.t.Elem) + "[]"
		got := query(t, conn, "SELECT "+expr+" FROM (SELECT CAST("+literal(tt.value)+" AS "+typ+") AS v) t")
		if string(got[0]) != tt.want {
			t.Errorf("%s of %s = %s, want %s", tt.m, tt.value, got[0], tt.want)
		}
	}
}

// A column under a collation that calls different texts equal keeps it, and the
// mask still works.
func TestCollation(t *testing.T) {
	conn := connect(t)
	folding := text
	folding.Collation = `app."folding"`
	for _, m := range []policy.Mask{email, first2, last4, constant, null} {
		expr, err := mask.SQL(m, "t.v", folding, mask.Key{})
		if err != nil {
			t.Fatal(err)
		}
		got := query(t, conn, "SELECT pg_catalog.bool_and(m OPERATOR(pg_catalog.=) pg_catalog.upper(m)), pg_catalog.min(pg_catalog.pg_collation_for(m)) FROM (SELECT "+expr+
			" AS m FROM (SELECT 'alice@example.com' COLLATE app.folding AS v) t) x")
		if m.Kind != policy.MaskNull && string(got[0]) != "t" || string(got[1]) != "folding" {
			t.Errorf("%s: %s, collation %s", m, got[0], got[1])
		}
	}
}

func TestCannotApply(t *testing.T) {
	composite := mask.Type{OID: 20002, Name: "app.pair", Mod: -1, Kind: 'c'}
	tests := []struct {
		m policy.Mask
		t mask.Type
	}{
		{email, int4}, {last4, int8}, {first2, jsonb}, {hash, int2}, {hash, boolean}, {hash, date},
		{hash, varchar8}, {hash, numeric6_2}, {day, text}, {round10, text}, {round10, date},
		{fixed("x"), int4}, {fixed("40000"), int2}, {fixed("12345.6"), numeric6_2}, {fixed("maybe"), boolean},
		{fixed("2026-02-30"), date}, {fixed("{"), jsonb}, {fixed("happy"), mood}, {fixed("x"), composite},
		{fixed("1"), uuid}, {fixed("10.0.0.1/8"), base(650, "cidr", -1)}, {last4, composite}, {policy.Mask{Kind: 99}, text},
	}
	for _, tt := range tests {
		if _, err := mask.SQL(tt.m, "x", tt.t, mask.Key{}); !errors.Is(err, mask.ErrCannotApply) {
			t.Errorf("SQL(%s, %s): error %v", tt.m, tt.t.Name, err)
		}
		if out, err := mask.Apply(tt.m, tt.t, mask.Key{}, []byte("1")); !errors.Is(err, mask.ErrCannotApply) {
			t.Errorf("Apply(%s, %s) = %q, %v", tt.m, tt.t.Name, out, err)
		}
		if _, err := mask.SQL(null, "x", tt.t, mask.Key{}); err != nil {
			t.Errorf("mask null of %s: %v", tt.t.Name, err)
		}
	}
}

// A string type of an extension is masked as a text.
func TestExtensionType(t *testing.T) {
	conn := connect(t)
	query(t, conn, "CREATE EXTENSION citext SCHEMA app")
	citext := mask.Type{OID: 20003, Name: "app.citext", Mod: -1, Kind: 'b', Category: 'S'}
	for m, want := range map[policy.Mask]string{email: "A***@x.org", first2: "Al***", last4: "***.org", constant: constant.Text} {
		expr, err := mask.SQL(m, "t.v", citext, mask.Key{})
		if err != nil {
			t.Fatal(err)
		}
		got := query(t, conn, "SELECT "+expr+", pg_catalog.pg_typeof("+expr+") FROM (SELECT CAST('Alice@x.org' AS app.citext) AS v) t")
		if string(got[0]) != want || string(got[1]) != "citext" {
			t.Errorf("%s: %q of type %s", m, got[0], got[1])
		}
	}
}
