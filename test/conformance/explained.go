package main

import "path"

// An explanation is why parts of a suite differ and are meant to. All of them are
// in docs/compatibility.md too.
type explanation struct {
	suite, part, why string // part is a pattern of package path
}

const (
	ownCredential = "Sluice logs in with the credential that it holds, whatever user the client names"
	unstable      = "differs between two direct runs too: psql tells the line that it has read, not the one that was run"
)

var explanations = []explanation{
	{"pgx", "pgconn/TestConnectInvalidUser", ownCredential},
	{"pq", "root/TestErrorDuringStartup*", ownCredential},
	{"pq", "root/TestAuth/end_to_end/user=*", ownCredential},
	{"older", "pgconn/root/TestConnectInvalidUser", ownCredential},
	{"regress", "triggers", unstable},
}

// explained returns why a part differs, "" if nobody knows.
func explained(suite, part string) string {
	for _, e := range explanations {
		if ok, err := path.Match(e.part, part); ok && err == nil && e.suite == suite {
			return e.why
		}
	}
	return ""
}
