package sql_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/pgtest"
)

// regional has rows of two regions. Only those of EU may be there for the subject:
// all others hold HIDDEN.
const regional = `
CREATE TYPE app.region AS ENUM ('EU', 'US', 'X''Y');
CREATE TABLE app.deals (id int PRIMARY KEY, region text NOT NULL, note text, n int, ssn text);
INSERT INTO app.deals VALUES (1, 'EU', 'one', 10, '111-11-1111'), (2, 'EU', 'two', 20, '222-22-2222'), (3, 'US', 'HIDDEN', 0, 'HIDDEN');
CREATE INDEX ON app.deals (region);
CREATE TABLE app.items (id int PRIMARY KEY, deal_id int REFERENCES app.deals ON DELETE CASCADE, tenant int, v text);
INSERT INTO app.items VALUES (1, 1, 7, 'x'), (2, 3, 8, 'HIDDEN');
CREATE TABLE app.sites (id int, area app.region, v text) PARTITION BY LIST (area);
CREATE TABLE app.sites_eu PARTITION OF app.sites FOR VALUES IN ('EU', 'X''Y');
CREATE TABLE app.sites_us PARTITION OF app.sites FOR VALUES IN ('US');
INSERT INTO app.sites VALUES (1, 'EU', 'a'), (2, 'US', 'HIDDEN'), (3, 'X''Y', 'q');
CREATE VIEW app.v_deals AS SELECT id, note, region FROM app.deals;
CREATE VIEW app.v_scoped AS SELECT id, note, region AS part FROM app.deals;
CREATE MATERIALIZED VIEW app.m_deals AS SELECT * FROM app.v_deals;
CREATE TABLE app.parent (id int, region text, v text);
CREATE TABLE app.kid () INHERITS (app.parent);
INSERT INTO app.kid VALUES (1, 'EU', 'k'), (2, 'US', 'HIDDEN');
GRANT ALL ON ALL TABLES IN SCHEMA app TO app_rw; GRANT USAGE ON TYPE app.region TO app_rw;
ANALYZE`

const regionalPolicy = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  credential: {username: u}
  sensitive: [{tag: ssn, columns: ["*.*.ssn"], mask: {keepLast: 4}}]
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: agent}
spec:
  subjects: [{any: true}]
  databases: [shop]
  rules:
    - {name: all, effect: allow, actions: [select, insert, update, delete, merge, lock, truncate, create, alter, drop], on: ["app.*"], except: [app.secrets]}
    - {name: deals, effect: allow, actions: [select, update], on: [app.deals], match: {scope: {column: region, equals: EU}}}
    - {name: sites, effect: allow, actions: [select], on: [app.sites], match: {scope: {column: area, in: [EU, "X'Y"]}}}
    - {name: items, effect: allow, actions: [select], on: [app.items], match: {scope: {column: tenant, equals: 7}}}
    - {name: view, effect: allow, actions: [select], on: [app.v_scoped], match: {scope: {column: part, equals: EU}}}
    - {name: kid, effect: allow, actions: [select], on: [app.parent], match: {scope: {column: region, equals: EU}}}
    - {name: gone, effect: allow, actions: [select], on: [app.orders], match: {scope: {column: nope, equals: EU}}}
    - {name: odd, effect: allow, actions: [select], on: [app.customers], match: {scope: {column: balance, equals: 1}}}
`

// rowStatements are answered as "want" says, which is as in statements. None may
// show, count, change or be stopped by a row that is not there.
var rowStatements = []struct{ text, want string }{
	{`SELECT * FROM app.deals ORDER BY id`, `(?s)1\|EU\|one\|10\|\*\*\*1111.*2\|EU\|two.*SELECT 2`},
	{`SELECT count(*), sum(n) FROM app.deals`, `\|2\|30`},
	{`TABLE app.deals`, `SELECT 2`},
	{`SELECT ctid IS NULL, d.* FROM ONLY app.deals d ORDER BY d.id`, `SELECT 2`},
	{`SELECT max(note) FROM app.deals TABLESAMPLE BERNOULLI (100)`, `\|two`},
	{`SELECT EXISTS (SELECT 1 FROM app.deals WHERE region = 'US')`, `\|f`},
	{`SELECT id FROM app.deals WHERE 1/n > 0 OR true`, `SELECT 2`}, // n is 0 in a row that is not there
	{`SELECT id FROM app.deals d WHERE (CASE WHEN note = 'HIDDEN' THEN 1/n ELSE 1 END) = 1`, `SELECT 2`},
	{`SELECT d.id, e.id FROM app.deals d FULL JOIN app.deals e ON e.id = d.id + 1 AND 1/e.n = 0 ORDER BY 1`, `SELECT 3`},
	{`WITH d AS (SELECT * FROM app.deals) SELECT max(id) FROM d`, `\|2`},
	{`SELECT d.id, count(i.id) FROM app.deals d LEFT JOIN app.items i ON i.deal_id = d.id GROUP BY d.id ORDER BY 1`, `(?s)1\|1.*2\|0`},
	{`SELECT (SELECT max(id) FROM app.deals), ARRAY(SELECT id FROM app.deals)`, `\|2\|\{1,2\}`},
	{`SELECT id FROM app.sites ORDER BY 1`, `SELECT 2`},
	{`SELECT id FROM app.sites_us`, `SELECT 0`},
	{`SELECT id FROM app.sites_eu`, `SELECT 2`},
	{`SELECT * FROM app.kid`, `SELECT 1`},
	{`SELECT id FROM app.v_scoped`, `SELECT 2`},
	{`COPY app.deals TO STDOUT`, `(?s)1\tEU.*2\tEU`},
	{`COPY (SELECT id FROM app.deals) TO STDOUT`, `(?s)1.*2`},
	{`COPY app.items (v) TO STDOUT`, `CopyData x`},
	{`BEGIN; DECLARE c CURSOR FOR SELECT id FROM app.deals; FETCH ALL FROM c; COMMIT`, `FETCH 2`},
	{`PREPARE p AS SELECT id FROM app.deals WHERE id > $1; EXECUTE p(0)`, `SELECT 2`},
	{`SELECT d FROM app.deals d WHERE id = 1`, `\(1,EU,one,10,\*\*\*1111\)`},
	{`SET search_path = app; SELECT deals.id FROM deals NATURAL JOIN (SELECT 1 AS id) x`, `SELECT 1`},
	{`CREATE TABLE app.copy AS SELECT id FROM app.deals`, `!not possible on app.deals`},
	{`SELECT * FROM app.v_deals`, `!v_deals shows rows of app.deals`},
	{`SELECT 1 FROM app.m_deals`, `!shows rows of app.deals`},
	{`SELECT id FROM app.orders`, `!picked by column nope, which it does not have`},
	{`SELECT id FROM app.customers`, `!whose type has not such values`},
	{`SELECT id FROM app.deals FOR UPDATE`, `!FOR UPDATE is not possible`},
	{`EXPLAIN SELECT id FROM app.deals`, `!EXPLAIN is not possible`},
	{`EXPLAIN ANALYZE UPDATE app.deals SET n = 1`, `!EXPLAIN is not possible`},
	{`SELECT pg_relation_size('app.deals')`, `!not possible`},
	{`SELECT pg_relation_size('app.deals_pkey')`, `!.`},
	{`CREATE VIEW app.mine AS SELECT id FROM app.deals`, `!a view is not possible`},
	{`CREATE TABLE app.probe (id int REFERENCES app.deals)`, `!foreign key is not possible`},
	{`TRUNCATE app.deals CASCADE`, `!TRUNCATE is not possible`},
	{`DROP TABLE app.deals`, `!dropping it is not possible`},
	{`ALTER TABLE app.deals RENAME region TO old`, `!changing or dropping it is not possible`},
	{`CREATE INDEX ON app.deals ((1/n))`, `!changing or dropping it is not possible`},
	// Changes: nothing of region US may be touched
	{`UPDATE app.deals SET n = n + 1`, `UPDATE 2`},
	{`UPDATE app.deals SET n = n + 1 RETURNING id, note`, `(?s)DataRow.*UPDATE 2`},
	{`UPDATE app.deals SET n = 5 WHERE id > 0 OR true`, `UPDATE 2`},
	{`UPDATE app.deals SET n = 5 WHERE true) OR (true`, `!syntax`},
	{`UPDATE app.deals SET n = 5 WHERE 1/n > 100 -- x`, `UPDATE 0`},
	{`UPDATE app.deals AS "a b" SET n = 5 FROM app.items i WHERE i.deal_id = "a b".id RETURNING "a b".id`, `UPDATE 1`},
	{`UPDATE app.deals SET note = (SELECT 'x' WHERE true) WHERE deals.id = 1 /* RETURNING */ RETURNING id`, `UPDATE 1`},
	{`UPDATE app.deals SET n = 5 WHERE id IN (SELECT id FROM app.deals WHERE note = 'two')`, `UPDATE 1`},
	{`WITH u AS (UPDATE app.deals SET n = 3 RETURNING id), v AS (UPDATE app.sites SET v = 'z' WHERE id > 0 RETURNING id) SELECT count(*) FROM u, v`, `\|4`},
	{`UPDATE app.deals SET region = 'EU'`, `!changing column region is not possible`},
	{`UPDATE app.deals SET (n, region) = (1, 'EU')`, `!changing column region`},
	{`UPDATE app.sites_us SET v = 'z'`, `UPDATE 0`},
	{`UPDATE app.v_deals SET note = 'z'`, `!shows rows of`},
	{`DELETE FROM app.sites`, `DELETE 2`},
	{`DELETE FROM app.sites WHERE area = 'US'`, `DELETE 0`},
	{`DELETE FROM app.sites USING app.deals WHERE sites.id = deals.id RETURNING sites.id;`, `DELETE 1`},
	{`DELETE FROM app.deals WHERE id = 1`, `!what foreign key .* brings about is not possible`},
	{`BEGIN; DECLARE c CURSOR FOR SELECT id FROM app.sites; DELETE FROM app.sites WHERE CURRENT OF c; COMMIT`, `!WHERE CURRENT OF is not possible`},
	{`MERGE INTO app.deals d USING (VALUES (3)) s(i) ON d.id = s.i WHEN MATCHED THEN DELETE`, `!MERGE is not possible`},
	{`INSERT INTO app.deals (id, region, n) VALUES (4, 'EU', 1), (5, 'EU', 2) RETURNING id`, `INSERT 0 2`},
	{`INSERT INTO app.items VALUES (4, 1, 7, 'v')`, `INSERT 0 1`},
	{`INSERT INTO app.deals VALUES (4, 'US', '', 1, '')`, `!must be among those`},
	{`INSERT INTO app.deals VALUES (4, 'EU', '', 1, ''), (5, 'US', '', 1, '')`, `!must be among those`},
	{`INSERT INTO app.deals (id, region) SELECT 4, 'US'`, `!must be among those`},
	{`INSERT INTO app.deals (id, region) VALUES (4, upper('us'))`, `!must be among those`},
	{`INSERT INTO app.deals (id) VALUES (4)`, `!must be among those`},
	{`INSERT INTO app.deals DEFAULT VALUES`, `!must be among those`},
	{`INSERT INTO app.deals (id, region) VALUES (3, 'EU') ON CONFLICT (id) DO UPDATE SET note = 'z'`, `!ON CONFLICT DO UPDATE is not possible`},
	{`COPY app.deals FROM STDIN`, `!COPY FROM is not possible`},
}

// TestRows runs them on a real server.
func TestRows(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	s.Exec(t, db, regional)
	c := load(t, connect(t, s.DSN("app_su", db)))
	rows(t, s, db, c, regionalPolicy)
}

func rows(t *testing.T, s *pgtest.Server, db string, c *sql.Catalog, text string) {
	v := view(t, text)
	hidden := func() string {
		got, err := s.Query(db, `SELECT (SELECT string_agg(d::text, ',' ORDER BY id) FROM app.deals d WHERE region <> 'EU') || (SELECT string_agg(x::text, ',') FROM app.sites_us x) || (SELECT string_agg(i::text, ',') FROM app.items i WHERE tenant <> 7)`)
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	before := hidden()
	for _, tt := range rowStatements {
		t.Run(tt.text, func(t *testing.T) {
			cs := corpus.Case{As: "app_rw", Via: "simple"}
			cl := dial(t, s, db, c, v, &cs)
			defer cl.conn.Close(context.Background())
			cl.send(t, "BEGIN", &cs) // so that one does not see what the other did
			cl.send(t, strings.NewReplacer("BEGIN; ", "", "; COMMIT", "").Replace(tt.text), &cs)
			answer := cl.out.Text
			if strings.Contains(answer, "HIDDEN") || strings.Contains(answer, "division by zero") {
				t.Fatalf("a row that is not there is told\nserver got %q\n%s", cl.text, answer)
			}
			if want, deny := strings.CutPrefix(tt.want, "!"); deny {
				if len(cl.out.Errors) == 0 || !regexp.MustCompile(want).MatchString(answer) {
					t.Errorf("want refusal %q\nserver got %q\n%s", want, cl.text, answer)
				}
				return
			}
			if len(cl.out.Errors) > 0 || !regexp.MustCompile(tt.want).MatchString(answer) {
				t.Errorf("want %q\nserver got %q\n%s", tt.want, cl.text, answer)
			}
			cl.send(t, "COMMIT", &cs)
			if now := hidden(); now != before {
				t.Fatalf("rows that are not there changed to %q", now)
			}
			s.Exec(t, db, `DELETE FROM app.items; DELETE FROM app.deals; DELETE FROM app.sites;
				INSERT INTO app.deals VALUES (1, 'EU', 'one', 10, '111-11-1111'), (2, 'EU', 'two', 20, '222-22-2222'), (3, 'US', 'HIDDEN', 0, 'HIDDEN');
				INSERT INTO app.items VALUES (1, 1, 7, 'x'), (2, 3, 8, 'HIDDEN'); INSERT INTO app.sites VALUES (1, 'EU', 'a'), (2, 'US', 'HIDDEN'), (3, 'X''Y', 'q')`)
		})
	}
}
