// Package policy holds the resources that say what is protected and who may do
// what: it parses them, compiles them to tables, and decides.
//
// [Load] turns files into a [Set], which is immutable. [Set.View] picks what one
// subject may do in one database; equal rights give the same [View], so that its
// pointer is a cache key. [View.Decide] judges what a statement does.
//
// The package is pure: no I/O, no clock, no SQL. What a statement does is for
// package policy/sql to find out, what a value becomes for package policy/mask.
// README.md in this folder is the reference of the language.
package policy
