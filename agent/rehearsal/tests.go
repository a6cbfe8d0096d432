package rehearsal

import (
	"fmt"
	"slices"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// A Failure is a test of a policy that does not hold.
type Failure struct {
	Pos      policy.Position
	Policy   string
	Database string
	SQL      string
	Want     protocol.Verdict
	Got      protocol.Verdict
	Why      string // what a workload would read, of a refusal
	// Unsure says that the text names what the catalog does not have, which may be
	// older than the database.
	Unsure bool
}

// Error says what failed.
func (f *Failure) Error() string {
	s := fmt.Sprintf("%s: the test expects %s in database %s, and it is %s: %s", f.Pos, f.Want, f.Database, f.Got, f.SQL)
	if f.Why != "" {
		s += " (" + f.Why + ")"
	}
	return s
}

// Tests runs the tests of a Set. catalog returns what is known of a Database, nil
// if nothing is: skipped then counts its tests.
func Tests(set *policy.Set, at time.Time, catalog func(database string) *sql.Catalog) (ran, skipped int, failures []*Failure) {
	for _, p := range set.Policies() {
		for i := range p.Tests {
			t := &p.Tests[i]
			for _, db := range set.Databases() {
				if t.Database != "" && t.Database != db.Name || !slices.Contains(p.Databases, db.Name) && !slices.Contains(p.Databases, "*") {
					continue
				}
				c := catalog(db.Name)
				if c == nil {
					skipped++
					continue
				}
				ran++
				if f := test(set, p, t, db, c, at); f != nil {
					failures = append(failures, f)
				}
			}
		}
	}
	return ran, skipped, failures
}

func test(set *policy.Set, p *policy.Policy, t *policy.Test, db *policy.Database, c *sql.Catalog, at time.Time) *Failure {
	as := t.As
	if as == nil && len(p.Subjects) > 0 {
		as = p.Subjects[0].Example()
	}
	v, _ := set.View(as, db.Name, at)
	j, stale := sql.Judge(c, v, &protocol.Query{Text: t.SQL, Path: c.EffectivePath(sql.DefaultPath)}, sql.Options{Key: key})
	got, _ := Worst(j)
	if got == t.Expect {
		return nil
	}
	f := &Failure{Pos: t.Pos, Policy: p.Name, Database: db.Name, SQL: t.SQL, Want: t.Expect, Got: got, Unsure: stale}
	if j.Refusal != nil {
		f.Why = j.Refusal.Message
	}
	return f
}
