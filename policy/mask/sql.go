package mask

import (
	"strconv"

	"sluicegate.io/sluice/policy"
)

// SQL returns an expression that masks column, a quoted reference to a column of
// type t, inside the database. It uses nothing but what is in pg_catalog, by
// qualified name, so that no search_path and no operator of a user changes what
// it means. It is volatile in nothing and raises no error for any value.
//
// NULL stays NULL (and mask null makes it), and the type stays as it is, with its
// modifier. A domain becomes its base type, since its CHECK would refuse masks;
// a result shows the base type anyway. Arrays are masked element by element and
// come out with one dimension.
//
// The error wraps [ErrCannotApply] and says why the mask cannot apply to the type.
func SQL(m policy.Mask, column string, t Type, key Key) (string, error) {
	if t.Base != nil {
		t = t.base()
	}
	if m.Kind == policy.MaskNull {
		return collated("CAST(NULL AS "+t.cast()+")", t), nil
	}
	if t.array() {
		return array(m, column, t, key)
	}
	var masked string
	var err error
	switch m.Kind {
	case policy.MaskConstant:
		masked, err = constantSQL(m, t)
	case policy.MaskEmail, policy.MaskKeepFirst, policy.MaskKeepLast:
		masked, err = textSQL(m, column, t)
	case policy.MaskHash:
		masked, err = hashSQL(m, column, t, key)
	case policy.MaskTruncate:
		masked, err = truncateSQL(m, column, t)
	case policy.MaskRound:
		masked, err = roundSQL(m, column, t)
	default:
		err = cannot(m, t, "there is no such mask")
	}
	if err != nil {
		return "", err
	}
	return collated("CASE WHEN "+column+" IS NULL THEN CAST(NULL AS "+t.cast()+") "+masked+" END", t), nil
}

// collated gives an expression the column's own collation, so that sorting and
// comparing it goes on as before.
func collated(expr string, t Type) string {
	if t.Collation == "" {
		return expr
	}
	return "(" + expr + " COLLATE " + t.Collation + ")"
}

// array masks each element.
func array(m policy.Mask, column string, t Type, key Key) (string, error) {
	elem := *t.Elem
	elem.Mod = t.Mod
	elem.Collation = t.Collation
	if elem.Kind == 'd' || elem.array() {
		return "", cannot(m, t, "for arrays of domains there is only null")
	}
	one, err := SQL(m, `"sluice e"."v"`, elem, key)
	if err != nil {
		return "", err
	}
	return "CASE WHEN " + column + " IS NULL THEN CAST(NULL AS " + t.cast() + ") ELSE CAST(ARRAY(SELECT " + one +
		" FROM pg_catalog.unnest(" + column + `) WITH ORDINALITY AS "sluice e"("v", "i") ORDER BY "sluice e"."i") AS ` +
		t.cast() + ") END", nil
}

// The functions below return the WHEN and ELSE parts of a CASE whose first WHEN
// has dealt with NULL.

func constantSQL(m policy.Mask, t Type) (string, error) {
	text, err := checkConstant(m, t)
	if err != nil {
		return "", err
	}
	return "ELSE CAST(" + quote(text) + " AS " + t.cast() + ")", nil
}

// textSQL does the masks that keep part of a text.
func textSQL(m policy.Mask, column string, t Type) (string, error) {
	if !t.text() {
		return "", cannot(m, t, "it keeps part of a text, so it needs a text; null, constant and hash are for others")
	}
	v := asText(column, t)
	// Functions that search refuse collations under which different bytes are equal.
	searched := v
	if t.Collation != "" {
		searched = "(" + v + ` COLLATE pg_catalog."C")`
	}
	out := func(s string) string {
		if t.OID == oidText {
			return s
		}
		return "CAST(" + s + " AS " + t.cast() + ")"
	}
	lit := func(s string) string { return "CAST('" + s + "' AS pg_catalog.text)" }
	join := " OPERATOR(pg_catalog.||) "
	n := strconv.Itoa(m.N)
	switch m.Kind {
	case policy.MaskEmail:
		part := func(n string) string { return "pg_catalog.split_part(" + searched + ", '@', " + n + ")" }
		return "WHEN pg_catalog.length(" + part("2") + ") OPERATOR(pg_catalog.=) 0 THEN " + out(lit(stars)) +
			" WHEN pg_catalog.length(" + part("1") + ") OPERATOR(pg_catalog.>) 1 THEN " +
			out("pg_catalog.left("+v+", 1)"+join+lit(stars+"@")+join+part("2")) +
			" ELSE " + out(lit(stars+"@")+join+part("2")), nil
	case policy.MaskKeepFirst:
		return "WHEN pg_catalog.length(" + v + ") OPERATOR(pg_catalog.>) " + n + " THEN " +
			out("pg_catalog.left("+v+", "+n+")"+join+lit(stars)) + " ELSE " + out(lit(stars)), nil
	}
	return "WHEN pg_catalog.length(" + v + ") OPERATOR(pg_catalog.>) " + n + " THEN " +
		out(lit(starsFor(t, m.N))+join+"pg_catalog.right("+v+", "+n+")") + " ELSE " + out(lit(stars)), nil
}

// starsFor returns as many stars before n kept characters as the type has room for.
func starsFor(t Type, n int) string {
	if size := t.length(); size > 0 {
		return stars[:min(len(stars), max(size-n, 0))]
	}
	return stars
}

// asText returns a column as text.
func asText(column string, t Type) string {
	if t.OID == oidText {
		return column
	}
	return "CAST(" + column + " AS pg_catalog.text)"
}

func hashSQL(m policy.Mask, column string, t Type, key Key) (string, error) {
	if err := checkHash(m, t); err != nil {
		return "", err
	}
	if t.OID == oidBytea {
		return "ELSE " + key.sumSQL(column), nil
	}
	text := asText(column, t)
	if t.OID == oidNumeric {
		// 1.0 and 1.00 are equal, so their tokens are.
		text = "CAST(pg_catalog.trim_scale(" + column + ") AS pg_catalog.text)"
	}
	hex := "pg_catalog.encode(" + key.sumSQL("pg_catalog.convert_to("+text+", 'UTF8')") + ", 'hex')"
	first := func(n int) string { return "pg_catalog.left(" + hex + ", " + strconv.Itoa(n) + ")" }
	bits := func(n int, to, mask string) string {
		size := strconv.Itoa(n)
		return "CAST(CAST(CAST('x' AS pg_catalog.text) OPERATOR(pg_catalog.||) " + first(n/4) +
			" AS pg_catalog.bit(" + size + ")) AS " + to + ") OPERATOR(pg_catalog.&) CAST(" + mask + " AS " + to + ")"
	}
	switch t.OID {
	case oidInt4:
		return "ELSE " + bits(32, "pg_catalog.int4", "2147483647"), nil
	case oidInt8:
		return "ELSE " + bits(64, "pg_catalog.int8", "9223372036854775807"), nil
	case oidNumeric:
		return "ELSE CAST(" + bits(64, "pg_catalog.int8", "9223372036854775807") + " AS " + t.cast() + ")", nil
	case oidJSON:
		return "ELSE pg_catalog.to_json(" + first(tokenDigits) + ")", nil
	case oidJSONB:
		return "ELSE pg_catalog.to_jsonb(" + first(tokenDigits) + ")", nil
	case oidText:
		return "ELSE " + first(tokenDigits), nil
	}
	return "ELSE CAST(" + first(tokenDigits) + " AS " + t.cast() + ")", nil
}

func truncateSQL(m policy.Mask, column string, t Type) (string, error) {
	unit := quote(m.Text)
	switch t.OID {
	case oidDate:
		// A timestamp reaches less far than a date. What is beyond is infinitely far.
		lit := func(s string) string { return "CAST('" + s + "' AS pg_catalog.date)" }
		return "WHEN " + column + " OPERATOR(pg_catalog.>=) " + lit("294276-01-01") + " THEN " + lit("infinity") +
			" WHEN " + column + " OPERATOR(pg_catalog.<) " + lit("4712-01-01 BC") + " THEN " + lit("-infinity") +
			" ELSE CAST(pg_catalog.date_trunc(" + unit + ", CAST(" + column + " AS pg_catalog.timestamp)) AS pg_catalog.date)", nil
	case oidTimestamp:
		lit := func(s string) string { return "CAST('" + s + "' AS " + t.cast() + ")" }
		return "WHEN " + column + " OPERATOR(pg_catalog.<) " + lit("4712-01-01 BC") + " THEN " + lit("-infinity") +
			" ELSE CAST(pg_catalog.date_trunc(" + unit + ", " + column + ") AS " + t.cast() + ")", nil
	case oidTimestampTZ:
		// In UTC, or a session's TimeZone would move what is cut off.
		lit := func(s string) string { return "CAST('" + s + "' AS " + t.cast() + ")" }
		return "WHEN " + column + " OPERATOR(pg_catalog.<) " + lit("4712-01-01 00:00:00+00 BC") + " THEN " + lit("-infinity") +
			" ELSE CAST(pg_catalog.date_trunc(" + unit + ", " + column + ", 'UTC') AS " + t.cast() + ")", nil
	}
	return "", cannot(m, t, "it needs a date or a timestamp")
}

func roundSQL(m policy.Mask, column string, t Type) (string, error) {
	n := strconv.Itoa(m.N)
	switch t.OID {
	case oidInt2:
		if m.N > 32767 {
			return "ELSE CAST(0 AS pg_catalog.int2)", nil
		}
		fallthrough
	case oidInt4, oidInt8:
		by := "CAST(" + n + " AS " + t.Name + ")"
		return "ELSE " + column + " OPERATOR(pg_catalog.-) (" + column + " OPERATOR(pg_catalog.%) " + by + ")", nil
	case oidNumeric:
		by := "CAST(" + n + " AS pg_catalog.numeric)"
		return "ELSE CAST(" + column + " OPERATOR(pg_catalog.-) pg_catalog.mod(" + column + ", " + by + ") AS " + t.cast() + ")", nil
	case oidFloat4, oidFloat8:
		wide := "CAST(" + column + " AS pg_catalog.float8)"
		by := "CAST(" + n + " AS pg_catalog.float8)"
		// Beyond 1e30 neighbouring numbers are further apart than any n.
		return "WHEN pg_catalog.abs(" + wide + ") OPERATOR(pg_catalog.>) CAST(1e30 AS pg_catalog.float8) THEN " + column +
			" ELSE CAST(pg_catalog.trunc(" + wide + " OPERATOR(pg_catalog./) " + by + ") OPERATOR(pg_catalog.*) " + by +
			" AS " + t.Name + ")", nil
	}
	return "", cannot(m, t, "it needs a number")
}
