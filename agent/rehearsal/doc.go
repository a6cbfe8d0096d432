// Package rehearsal judges recorded statements again: by another policy, to tell
// what would change ([Replay]), or to make a policy of them that allows what ran
// and nothing more ([Suggest]). It also runs the tests that policies carry
// ([Tests]), and keeps the catalogs that all of this needs ([Shelf]).
//
// It runs no statement and connects to nothing. Package agent/record reads and
// writes recordings; what a statement does is for package policy/sql to say.
package rehearsal
