// Package sql says what an SQL text does, and turns it into one that reads masks.
//
// A text is parsed by PostgreSQL's own parser and resolved against the
// database's own catalog, as the server would under the session's search path.
// Whatever is not known (a node of the parse tree, a relation, a function, an
// operator, a type, a setting) refuses the text by name. Every reference to a
// relation with masked columns is replaced, in the text, by a sub-select that
// holds the masks: all that is built on it sees masks, whatever it does to them.
// So masking does not depend on following a value through expressions. Following
// it serves another end: conditions on masked values are legal and quietly
// wrong, and are refused or announced.
//
// The package decides nothing about rights, which is for package policy, and
// makes no mask, which is for package policy/mask. It does no I/O except through
// the Querier that a catalog is loaded with.
package sql
