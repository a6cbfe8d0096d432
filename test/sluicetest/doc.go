// Package sluicetest puts Sluice into the path of a test.
//
// [Start] builds the binary, writes a configuration and keeps one small process
// under `sluice exec`. That process dials on the test's behalf and hands the
// connected sockets back, so that a test speaks to a database from its own
// process while every connection takes the redirected path: the kernel notes
// where a socket was born and meant to go when it connects, not who holds it
// later. [Sluice.Command] runs whole programs, such as drivers, the same way.
//
// A test binary that uses it calls [Main] from its TestMain.
//
// It knows Sluice only as its users do: by the command line, the configuration,
// the admin commands and /metrics.
package sluicetest
