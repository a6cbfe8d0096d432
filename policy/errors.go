package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file, or a field of an object of the cluster.
type Position struct {
	File         string // or kind and name
	Line, Column int    // from 1; 0: unknown, or an object
	Field        string // of an object, as spec.rules[0].effect
}

// String returns "file:line:column", or "kind name: field".
func (p Position) String() string {
	switch {
	case p.Line == 0 && p.Field != "":
		return p.File + ": " + p.Field
	case p.Line == 0:
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// A SyntaxError says where a policy is wrong, and what would be right.
type SyntaxError struct {
	File         string
	Line, Column int    // from 1
	Field        string // of an object of the cluster
	Msg          string
	// Others are the rest of what is wrong in the set, in order, at most 99.
	Others []*SyntaxError
	// More is the number of mistakes that Others leaves out.
	More int
}

// Error returns "file:line:column: message" of the first error.
func (e *SyntaxError) Error() string {
	return e.Position().String() + ": " + e.Msg
}

// Position returns where the first error is.
func (e *SyntaxError) Position() Position {
	return Position{File: e.File, Line: e.Line, Column: e.Column, Field: e.Field}
}

// All returns one line for each error.
func (e *SyntaxError) All() string {
	var b strings.Builder
	b.WriteString(e.Error())
	for _, o := range e.Others {
		b.WriteString("\n" + o.Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more", e.More)
	}
	return b.String()
}

// problems gathers what is wrong in a set.
type problems struct {
	list []*SyntaxError
}

func (p *problems) add(at Position, format string, args ...any) {
	p.list = append(p.list, &SyntaxError{
		File: at.File, Line: at.Line, Column: at.Column, Field: at.Field, Msg: fmt.Sprintf(format, args...),
	})
}

// err returns everything as one error, sorted by place, or nil.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b *SyntaxError) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	list := p.list
	more := 0
	if len(list) > maxErrors {
		more = len(list) - maxErrors
		list = list[:maxErrors]
	}
	first := *list[0]
	first.Others = list[1:]
	first.More = more
	return &first
}
