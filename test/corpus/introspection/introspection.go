// Package introspection holds what tools and drivers ask of the catalog before
// and besides their user's own statements: psql, JDBC, ORMs, and drivers that
// read types or set up their session. All of it has to work through Sluice on
// tables with sensitive columns, but for the few cases that say otherwise.
//
// The files are in the format of package corpus. $OID(relation) stands for the
// OID of a relation of the corpus schema.
package introspection

import (
	"embed"
	"fmt"
	"regexp"

	"sluicegate.io/sluice/test/corpus"
)

//go:embed *.sql
var files embed.FS

var oid = regexp.MustCompile(`\$OID\(([a-z_.]+)\)`)

// Cases reads all files, with the OIDs that lookup returns put in.
func Cases(lookup func(relation string) (string, error)) ([]corpus.Case, error) {
	names, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []corpus.Case
	for _, n := range names {
		text, err := files.ReadFile(n.Name())
		if err != nil {
			return nil, err
		}
		var failed error
		filled := oid.ReplaceAllStringFunc(string(text), func(s string) string {
			o, err := lookup(oid.FindStringSubmatch(s)[1])
			if err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", n.Name(), err)
			}
			return o
		})
		if failed != nil {
			return nil, failed
		}
		cases, err := corpus.Parse(n.Name(), filled)
		if err != nil {
			return nil, err
		}
		all = append(all, cases...)
	}
	return all, nil
}
