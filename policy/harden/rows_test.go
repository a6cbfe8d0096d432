package harden_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
)

// TestRows checks that scopes hold in mode role, whose views do not have them.
func TestRows(t *testing.T) {
	f := start(t, demo+`    - {name: mine, effect: allow, actions: [select, update, delete], on: [app.deals], match: {scope: {column: region, equals: EU}}}
`, `CREATE TABLE app.deals (id int PRIMARY KEY, region text, note text, n int, email text);
INSERT INTO app.deals VALUES (1, 'EU', 'one', 10, 'a@example.com'), (2, 'EU', 'two', 20, 'b@example.com'), (3, 'US', 'HIDDEN', 0, 'HIDDEN')`)
	f.apply(t)
	for text, want := range map[string]string{
		`SELECT * FROM app.deals ORDER BY id`:                                                    `(?s)DataRow\|1.*DataRow\|2`,
		`SELECT count(*) FROM app.deals WHERE 1/n > 0 OR true`:                                   `DataRow\|2\n`,
		`SELECT id FROM ONLY app.deals TABLESAMPLE BERNOULLI (100) WHERE region = 'US' OR n > 1`: `(?s)DataRow\|1.*DataRow\|2`,
		`COPY app.deals TO STDOUT`:                                                               `(?s)1\tEU.*2\tEU`,
		`UPDATE app.deals SET n = n + 1 WHERE 1/n >= 0 RETURNING id, email`:                      `UPDATE 2`,
		`DELETE FROM app.deals WHERE 1/n > 100`:                                                  `DELETE 0`,
		`UPDATE app.deals SET region = 'US'`:                                                     `not possible on app.deals`,
		`DELETE FROM app.deals`:                                                                  `DELETE 2`,
	} {
		j := f.judged(t)
		for _, m := range []string{"BEGIN", text} {
			j.send(t, m, false, nil, false)
		}
		j.conn.Close(context.Background())
		if strings.Contains(j.out.Text, "HIDDEN") || strings.Contains(j.out.Text, "division") || !regexp.MustCompile(want).MatchString(j.out.Text) {
			t.Errorf("%s\nserver got %q\n%s", text, j.text, j.out.Text)
		}
	}
	if rows, err := f.Query(f.db, "SELECT count(*) FROM app.deals"); err != nil || rows[0] != "3" {
		t.Errorf("%v rows: %v", rows, err)
	}
}
