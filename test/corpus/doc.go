// Package corpus holds statements that a policy proxy has to withstand, and
// statements that it has to let through, with the schema that they assume.
//
// A case is a few lines of SQL and what must come of it; the format is
// explained on top of bypass.sql. [Parse] reads it and [Case.Run] speaks it to
// a server over the raw wire protocol, straight or through Sluice.
//
// setup.sql, roles.sql, bypass.sql and benign.sql are Sluice's shared corpus,
// copied unchanged, so that a clone has everything that its tests need;
// bypass_own.sql, bypass_state.sql, bypass_published.sql and benign_own.sql are this repository's
// additions.
package corpus

import (
	"embed"
	"strings"
)

// Setup is the SQL that makes the schema, run by a superuser in a new database.
//
//go:embed setup.sql
var Setup string

// Roles is the SQL that makes the cluster's roles, run before Setup.
//
//go:embed roles.sql
var Roles string

//go:embed bypass*.sql benign*.sql
var files embed.FS

// BypassOwn are further attempts, in classes that Bypass does not have.
//
//go:embed bypass_own.sql
var BypassOwn string

// Ordinary is what applications write, under a policy that lets them.
//
//go:embed ordinary.sql
var Ordinary string

// A File is one file of cases.
type File struct {
	Name   string
	Text   string
	Benign bool // must keep working, as opposed to must not get through
}

// Files lists the corpora: bypass*.sql and benign*.sql.
func Files() []File {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	var all []File
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		all = append(all, File{e.Name(), string(text), strings.HasPrefix(e.Name(), "benign")})
	}
	return all
}
