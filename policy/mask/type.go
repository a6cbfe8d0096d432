package mask

import (
	"fmt"
	"strings"
)

// Type is the type of a column as the catalog tells it.
type Type struct {
	OID  uint32
	Name string // what a cast needs: schema-qualified and quoted, without modifier: pg_catalog.varchar
	Mod  int32  // atttypmod, -1: none
	Kind byte   // pg_type.typtype: b base, c composite, d domain, e enum, p pseudo, r range, m multirange
	// Category is pg_type.typcategory; 'S' marks what is a string beside the
	// built-in ones, such as citext.
	Category byte
	Elem     *Type    // of an array, else nil
	Base     *Type    // of a domain, else nil
	Labels   []string // of an enum
	// Collation is the column's, qualified and quoted, where it is not the
	// database's default; functions that search in text need to leave it aside.
	Collation string
}

// OIDs of pg_type that masks know; they never change.
const (
	oidBool        = 16
	oidBytea       = 17
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidJSON        = 114
	oidFloat4      = 700
	oidFloat8      = 701
	oidCIDR        = 650
	oidInet        = 869
	oidBpchar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestampTZ = 1184
	oidTimeTZ      = 1266
	oidBit         = 1560
	oidVarbit      = 1562
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
)

// base follows domains down to the type that holds the value.
func (t Type) base() Type {
	for range 32 { // domains over domains end somewhere; a broken catalog must not hang us
		if t.Base == nil {
			break
		}
		collation := t.Collation
		t = *t.Base
		if collation != "" {
			t.Collation = collation
		}
	}
	return t
}

// array reports whether values are arrays. Types such as name and point have an
// element type too, and are none.
func (t Type) array() bool {
	return t.Elem != nil && (t.Category == 'A' || t.Category == 0)
}

// text reports whether the type's values are character strings.
func (t Type) text() bool {
	switch t.OID {
	case oidText, oidVarchar, oidBpchar, oidName:
		return true
	}
	return t.Category == 'S' && t.Kind == 'b' && t.OID >= 16384 // of an extension
}

// length returns n of varchar(n) and bpchar(n), or 0.
func (t Type) length() int {
	if (t.OID == oidVarchar || t.OID == oidBpchar) && t.Mod >= 4 {
		return int(t.Mod) - 4
	}
	return 0
}

// precision returns p and s of numeric(p,s).
func (t Type) precision() (p, s int, ok bool) {
	if t.OID != oidNumeric || t.Mod < 4 {
		return 0, 0, false
	}
	mod := t.Mod - 4
	return int(mod>>16) & 0xffff, int((mod&0x7ff)^1024) - 1024, true
}

// cast returns the type's name with its modifier.
func (t Type) cast() string {
	if t.array() {
		elem := *t.Elem
		elem.Mod = t.Mod
		return elem.cast() + "[]"
	}
	if t.Mod < 0 {
		return t.Name
	}
	switch t.OID {
	case oidVarchar, oidBpchar:
		if n := t.length(); n > 0 {
			return fmt.Sprintf("%s(%d)", t.Name, n)
		}
	case oidNumeric:
		if p, s, ok := t.precision(); ok {
			return fmt.Sprintf("%s(%d,%d)", t.Name, p, s)
		}
	case oidBit, oidVarbit, oidTime, oidTimeTZ, oidTimestamp, oidTimestampTZ:
		return fmt.Sprintf("%s(%d)", t.Name, t.Mod)
	}
	return t.Name
}

// quote returns s as an SQL string, whatever standard_conforming_strings is.
func quote(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}
