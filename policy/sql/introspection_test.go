package sql_test

import (
	"fmt"
	"testing"

	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/corpus/introspection"
)

// TestIntrospection runs what tools and drivers ask of the catalog.
func TestIntrospection(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	c := load(t, connect(t, s.DSN("app_rw", db)))
	v := demoView(t)
	all, err := introspection.Cases(func(relation string) (string, error) {
		rows, err := s.Query(db, fmt.Sprintf("SELECT '%s'::regclass::oid", relation))
		if err != nil {
			return "", err
		}
		return rows[0], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, cs := range all {
		t.Run(cs.ID, func(t *testing.T) {
			cl := run(t, s, db, c, v, cs)
			bad := ""
			switch {
			case cl == nil:
				bad = "startup parameter refused"
			case cs.Expect == corpus.Deny || cs.Expect == corpus.Approve:
				bad = cs.Check(&cl.out, "")
			case len(cl.out.Codes) > 0:
				bad = fmt.Sprint(cl.out.Errors)
			}
			if bad != "" {
				t.Errorf("%s\n%s", bad, cs.Messages)
			}
		})
	}
}
