// Package mask says what a sensitive value becomes: as an SQL expression where a
// statement is rewritten ([SQL]), and in Go where a value is masked on the wire
// ([Apply], [ApplyBinary]). Both give the same result, which a test holds
// against a real server. A [Scanner] looks for what should not be there at all.
//
// It decides nothing: which column is masked how is for package policy, where an
// expression goes for package policy/sql. It does no I/O.
package mask

import (
	"errors"
	"fmt"

	"sluicegate.io/sluice/policy"
)

// stars stand for what is hidden. Their number is fixed, so that a mask does not
// tell how long a value is.
const stars = "***"

// ErrCannotApply means that a mask does not fit a type, which is a mistake in
// the configuration. The error that wraps it says why.
var ErrCannotApply = errors.New("mask cannot apply")

func cannot(m policy.Mask, t Type, why string) error {
	return fmt.Errorf("%w: %s to a column of type %s: %s", ErrCannotApply, m, t.Name, why)
}

// Check returns the error that SQL would give, if any.
func Check(m policy.Mask, t Type) error {
	_, err := SQL(m, "x", t, Key{})
	return err
}
