package sql

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
)

const wallPolicy = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  credential: {username: u}
  conditions: mask
  sensitive:
    - {tag: ssn, columns: ["app.customers.ssn", "app.people.ssn"], mask: {keepLast: 4}}
    - {tag: email, columns: ["*.*.email"], mask: email}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: agent}
spec:
  subjects: [{any: true}]
  databases: [shop]
  rules:
    - {name: all, effect: allow, actions: [any], on: ["app.*"]}
`

// TestWall forgets each replacement in turn, as if the analysis had overlooked the
// place: the text must not get through.
func TestWall(t *testing.T) {
	f, err := os.Open("testdata/catalog.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	c := new(Catalog)
	if err := json.NewDecoder(z).Decode(c); err != nil {
		t.Fatal(err)
	}
	set, err := policy.Load([]policy.File{{Name: "wall.yaml", Data: []byte(wallPolicy)}})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := set.View(&policy.Subject{}, "shop", time.Now())
	for _, text := range []string{
		`SELECT email FROM app.customers`,
		`SELECT c.ctid, c.email FROM customers c JOIN orders o ON o.customer_id = c.id`,
		`SELECT (SELECT ssn FROM customers LIMIT 1), ARRAY(SELECT email FROM ONLY app.customers)`,
		`TABLE app.customers`,
		`SELECT email FROM customers TABLESAMPLE system (50 + 1)`,
		`WITH customers AS (SELECT * FROM customers) SELECT * FROM customers`,
		`WITH RECURSIVE t AS (SELECT id, ssn FROM app.customers UNION ALL SELECT t.id, p.email FROM t JOIN people p ON p.id = t.id) SELECT * FROM t`,
		`WITH x AS (UPDATE app.customers SET name = 'x' RETURNING *) SELECT * FROM x`,
		`INSERT INTO people (id, email) VALUES (1, 'x') ON CONFLICT (id) DO NOTHING RETURNING email, people.ssn`,
		`UPDATE customers c SET name = 'x' FROM app.people p WHERE p.id = c.id RETURNING p.email, c.email, c.*`,
		`DELETE FROM app.people USING customers RETURNING people.*`,
		`INSERT INTO app.orders (id, customer_id) SELECT id, id FROM app.customers`,
		`COPY app.customers TO STDOUT`,
		`COPY (SELECT * FROM v_contact) TO STDOUT`,
		`EXPLAIN SELECT * FROM app.people`,
		`PREPARE p AS SELECT * FROM app.people WHERE id = $1`,
		`DECLARE c CURSOR FOR SELECT * FROM customers`,
		`SELECT 1; SELECT x FROM LATERAL (SELECT email AS x FROM app.log) y`,
		`SELECT id FROM app.orders WHERE EXISTS (SELECT FROM app.customers WHERE email IS NOT NULL)`,
		`SELECT * FROM app.mat, app.v_deep, app.log_1`,
	} {
		o := Options{}
		o.MaxLength, o.MaxDepth = o.maxLength(), 1000
		tree, raw, refused := parse(text, &o)
		if refused != nil {
			t.Fatal(text, refused)
		}
		budget := workBudget
		j := &judge{c: c, v: v, o: &o, text: text, path: []string{"pg_catalog", "app"}, masks: make(map[*Relation][]*masked), budget: &budget, known: c.pieces.of(v)}
		for _, stmt := range tree.Stmts {
			if _, err := (&analysis{judge: j}).judgeOne(stmt); err != nil {
				t.Fatal(text, err.Refusal)
			}
		}
		out, edits, ok := j.apply()
		if !ok || len(edits) == 0 || !j.checked(raw, len(tree.Stmts), out, edits) {
			t.Errorf("%q: %q is refused", text, out)
		}
		all := append([]edit(nil), j.edits...)
		for i := range all {
			j.edits = append(append([]edit(nil), all[:i]...), all[i+1:]...)
			out, edits, ok := j.apply()
			if all[i].text != "" && ok && j.checked(raw, len(tree.Stmts), out, edits) {
				t.Errorf("%q: %q passes", text, out)
			}
		}
	}
}
