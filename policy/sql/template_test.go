package sql_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// literals finds what may be a constant, and much that is none.
var literals = regexp.MustCompile(`\d+|'[^']*'`)

// others are what a constant is replaced by, and what must not pass for one.
var others = []string{"0", "7", "12", "999999999", "1234567890", "00", "1.5", "1e5", "0x1F", "1_0", "2a", "''", "'x'", "'a b'",
	"'--'", "'/*'", `'\'`, "'a''b'", "'\n'", "'$$'", "'app.secrets'", "'é'", "'\xff'", "'\x00'", "'\v'", "E'x'", "$1", "NULL", "-1", ""}

// mutate puts other literals in the place of some.
func mutate(r *rand.Rand, text string) string {
	return literals.ReplaceAllStringFunc(text, func(s string) string {
		switch r.IntN(4) {
		case 0:
			return s
		case 1:
			return others[r.IntN(len(others))]
		}
		// The same kind of constant, so that there are hits.
		if s[0] == '\'' {
			return []string{"''", "'x'", "'a b'", "'--'", "'/*'", "'$$'", "'app.secrets'", "'é'", "'\n'"}[r.IntN(9)]
		}
		return []string{"0", "7", "12", "999999999", "00"}[r.IntN(5)]
	})
}

// sameAnswer checks that what a template answers is what a parse would.
func sameAnswer(t testing.TB, c *sql.Catalog, v *policy.View, cache *sql.Cache, s *sql.Scratch, q *protocol.Query) bool {
	t.Helper()
	before := cache.Stats().Templates
	got, _ := cache.JudgeInto(c, v, q, s)
	if cache.Stats().Templates == before {
		return false
	}
	want, _ := sql.Judge(c, v, q, sql.Options{})
	if len(got.Edits) == 0 && len(want.Edits) == 0 {
		want.Edits, got.Edits = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: a template says\n%+v, a parse\n%+v", q.Text, got, want)
	}
	return true
}

func templateSeeds(t testing.TB) []string {
	var out []string
	for _, s := range statements {
		out = append(out, s.text)
	}
	for _, file := range []string{"bypass.sql", "bypass_own.sql", "benign.sql"} {
		for _, cs := range cases(t, file) {
			out = append(out, cs.Messages...)
		}
	}
	return append(out, join, strings.Replace(join, "LIMIT", "AND c.name <> 'x' LIMIT", 1))
}

// TestTemplates takes every text that the tests have, with other literals.
func TestTemplates(t *testing.T) {
	c, err := shopCatalog()
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, fmt.Sprintf(shopPolicy, "conditions: mask"))
	r := rand.New(rand.NewPCG(1, 2))
	hits, n := 0, 0
	for _, text := range templateSeeds(t) {
		cache := sql.NewCache(0, sql.Options{})
		q := &protocol.Query{Text: text, Path: []string{"pg_catalog", "app"}}
		cache.Judge(c, v, q)
		var s sql.Scratch
		for range 8 {
			n++
			if sameAnswer(t, c, v, cache, &s, &protocol.Query{Text: mutate(r, text), Path: q.Path}) {
				hits++
			}
		}
	}
	t.Logf("%d hits of %d", hits, n)
	if hits < n/20 {
		t.Errorf("%d hits of %d are too few to prove anything", hits, n)
	}
}

func TestTemplateHit(t *testing.T) {
	c, err := shopCatalog()
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, fmt.Sprintf(shopPolicy, ""))
	for _, tt := range []struct {
		first, next string
		hit         bool
	}{
		{`SELECT email FROM app.customers WHERE id = 1`, `SELECT email FROM app.customers WHERE id = 17`, true},
		{`SELECT email FROM app.customers WHERE id = 1`, `SELECT email FROM app.customers WHERE id = 1234567890`, false},
		{`SELECT email FROM app.customers WHERE id = 1`, `SELECT email FROM app.customers WHERE id = 1 `, false},
		{`SELECT email FROM app.customers WHERE id = 1`, `SELECT email FROM app.customers WHERE id = 1a`, false},
		{`SELECT email FROM app.customers WHERE name = 'a'`, `SELECT email FROM app.customers WHERE name = 'O x; DROP TABLE x --'`, true},
		{`SELECT email FROM app.customers WHERE name = 'a'`, `SELECT email FROM app.customers WHERE name = 'O\'`, false},
		{`SELECT email FROM app.customers WHERE name = 'a'`, `SELECT email FROM app.customers WHERE name = 'a'''`, false},
		{`SELECT email FROM app.customers WHERE name = 'a'`, "SELECT email FROM app.customers WHERE name = '\xff'", false},
		{`SELECT id FROM app.orders WHERE id IN (1, 2) AND total BETWEEN 1 AND 2`, `SELECT id FROM app.orders WHERE id IN (3, 44) AND total BETWEEN 5 AND 666`, true},
		{`SELECT id, total FROM app.orders ORDER BY 2`, `SELECT id, total FROM app.orders ORDER BY 1`, false},
		{`SELECT id FROM app.orders LIMIT 1`, `SELECT id FROM app.orders LIMIT 2`, false},
		{`SELECT 'app.orders'::regclass`, `SELECT 'app.secret'::regclass`, false},
		{`SELECT nextval('a')`, `SELECT nextval('b')`, false},
		{`SELECT E'a' || 'b'`, `SELECT E'a' || 'c'`, true},
		{`SELECT E'a' || 'b'`, `SELECT E'b' || 'b'`, false},
		{`UPDATE app.customers SET balance = 5, name = 'x' WHERE id = 1 RETURNING *`, `UPDATE app.customers SET balance = 66, name = 'yy' WHERE id = 22 RETURNING *`, true},
		{`INSERT INTO app.orders VALUES (7, 1, 10), (8, 2, 20)`, `INSERT INTO app.orders VALUES (70, 1, 10), (80, 2, 200)`, true},
	} {
		cache := sql.NewCache(0, sql.Options{})
		cache.Judge(c, v, &protocol.Query{Text: tt.first})
		if hit := sameAnswer(t, c, v, cache, nil, &protocol.Query{Text: tt.next}); hit != tt.hit {
			t.Errorf("%q then %q: hit %v", tt.first, tt.next, hit)
		}
	}
	cache := sql.NewCache(0, sql.Options{})
	cache.Judge(c, v, &protocol.Query{Text: join})
	next := &protocol.Query{Text: strings.Replace(join, "(1,2)", "(31,42)", 1)}
	var s sql.Scratch
	if n := testing.AllocsPerRun(100, func() { cache.JudgeInto(c, v, next, &s) }); n != 0 || cache.Stats().Templates < 100 {
		t.Errorf("a hit allocates %v times; %+v", n, cache.Stats())
	}
}

func FuzzTemplate(f *testing.F) {
	c, err := shopCatalog()
	if err != nil {
		f.Fatal(err)
	}
	v := view(f, fmt.Sprintf(shopPolicy, "conditions: mask"))
	for i, s := range templateSeeds(f) {
		f.Add(s, s, uint64(i))
	}
	f.Fuzz(func(t *testing.T, first, second string, seed uint64) {
		cache := sql.NewCache(0, sql.Options{})
		path := []string{"pg_catalog", "app"}
		cache.Judge(c, v, &protocol.Query{Text: first, Path: path})
		sameAnswer(t, c, v, cache, nil, &protocol.Query{Text: second, Path: path})
		sameAnswer(t, c, v, cache, nil, &protocol.Query{Text: mutate(rand.New(rand.NewPCG(seed, 1)), first), Path: path})
	})
}
