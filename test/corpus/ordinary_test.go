package corpus_test

import (
	"slices"
	"strings"
	"testing"

	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/pgtest"
	"sluicegate.io/sluice/test/sluicetest"
)

// writable is what the corpus schema lacks of what applications write to.
const writable = `CREATE TYPE app.mood AS ENUM ('happy', 'sad');
CREATE TABLE app.items (id serial PRIMARY KEY, label text, qty int DEFAULT 1, doc jsonb, tags text[] DEFAULT '{}', mood app.mood, created timestamptz DEFAULT now());
CREATE TABLE app.gen (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, up text GENERATED ALWAYS AS (upper(v)) STORED);
GRANT ALL ON ALL TABLES IN SCHEMA app TO app_rw; GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO app_rw; GRANT USAGE ON TYPE app.mood TO app_rw`

const writePolicy = `---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: app}
spec:
  subjects: [{any: true}]
  databases: ["*"]
  rules:
    - {name: all, effect: allow, actions: [select, insert, update, delete, merge, lock], on: ["app.*"], except: [app.secrets]}
`

// inRole are the cases that the server refuses in mode role: EXCLUDED of a masked
// column wants the right to read it, and the login may draw from sequences only.
var inRole = map[string]bool{"W03": true, "W46": true}

// TestOrdinary runs what applications write, directly and through Sluice in both modes.
func TestOrdinary(t *testing.T) {
	cases, err := corpus.Parse("ordinary.sql", corpus.Ordinary)
	if err != nil {
		t.Fatal(err)
	}
	server := pgtest.Start(t, pgtest.Options{})
	inline, role := sluicetest.Shop(server), sluicetest.Shop(server)
	role.Username, role.Extra = "shop_agent", role.Extra+"  mode: role"
	for mode, d := range map[string]*sluicetest.Database{"direct": nil, "inline": &inline, "role": &role} {
		t.Run(mode, func(t *testing.T) {
			var sluice *sluicetest.Sluice
			if d != nil {
				sluice = sluicetest.Start(t, sluicetest.Options{Databases: []sluicetest.Database{*d}, Policy: writePolicy})
			}
			db := server.Database(t)
			server.Exec(t, db, writable)
			if mode == "role" {
				fortify(t, server, db, sluice.Config)
			}
			for _, c := range cases {
				t.Run(c.ID, func(t *testing.T) {
					if !strings.HasPrefix(c.Messages[0], "BEGIN") { // undone, for the next one
						c.Messages = slices.Concat([]string{"BEGIN"}, c.Messages, []string{"ROLLBACK"})
					}
					if mode == "direct" {
						got, err := c.Run(t.Context(), direct(server, db))
						if err != nil {
							t.Fatal(err)
						}
						if problem := c.CheckDirect(got, ""); problem != "" {
							t.Error(problem)
						}
						return
					}
					problem, _ := through(t, server, sluice, db, c, true)
					if (problem != "") != (mode == "role" && inRole[c.ID]) {
						t.Errorf("%s: %s", c.Messages, problem)
					}
				})
			}
		})
	}
}
