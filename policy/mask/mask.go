// Package mask says what a sensitive value becomes: as an SQL expression where a
// statement is rewritten, and in Go where a value is masked on the wire. Both
// give the same result.
//
// It decides nothing: which column is masked how is for package policy, where an
// expression goes for package policy/sql. It does no I/O.
package mask

import (
	"errors"

	"sluicegate.io/sluice/policy"
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
}

// Key makes the tokens of mask hash. Equal keys make equal tokens.
type Key struct{ block [64]byte }

// NewKey derives the key of one tag from a secret.
func NewKey(secret []byte, tag string) Key { return Key{} }

// SQL returns an expression that masks column, a quoted reference to a column of
// type t, inside the database. It uses nothing but what is in pg_catalog, by
// qualified name, so that no search_path changes what it means. NULL stays NULL
// (and mask null makes it), and the type stays as it is, with its modifier; a
// domain becomes its base type, which is what a result shows anyway.
//
// The error says why the mask cannot apply to the type.
func SQL(m policy.Mask, column string, t Type, key Key) (string, error) {
	return "", errors.New("mask: SQL is not there yet")
}
