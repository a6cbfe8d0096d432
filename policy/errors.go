package policy

import "fmt"

// Position is a place in a file.
type Position struct {
	File         string
	Line, Column int // from 1; 0: unknown
}

// String returns "file:line:column".
func (p Position) String() string {
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// A SyntaxError says where a policy is wrong, and what would be right.
type SyntaxError struct {
	File         string
	Line, Column int // from 1
	Msg          string
	// Others are the rest of what is wrong in the set, in order, at most 100.
	Others []*SyntaxError
}

// Error returns "file:line:column: message" of the first error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}
