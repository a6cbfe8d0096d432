// Package policy holds the resources that say what is protected and who may do
// what: it parses them, compiles them to tables, and decides.
//
// It is pure: no I/O, no clock, no SQL. What a statement does is for package
// policy/sql to find out, what a value becomes for package policy/mask.
// README.md in this folder is the reference of the language.
package policy
