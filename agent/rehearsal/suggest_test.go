package rehearsal_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/rehearsal"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

const shop = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  credential: {username: app, passwordEnv: PASSWORD}
  sensitive:
    - {tag: ssn, columns: ["app.customers.ssn"], mask: {keepLast: 4}}
    - {tag: email, columns: ["app.customers.email"], mask: email}
`

// catalog is a snapshot of the corpus schema.
func catalog(t *testing.T) *sql.Catalog {
	t.Helper()
	f, err := os.Open("../../policy/sql/testdata/catalog.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	c := new(sql.Catalog)
	if err := json.NewDecoder(z).Decode(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func documents(t *testing.T, text string) []policy.Document {
	t.Helper()
	docs, err := policy.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return docs
}

func databases(t *testing.T) []*policy.Database {
	return []*policy.Database{documents(t, shop)[0].Database}
}

// runs are texts that a subject sent while everything passed.
func runs(c *sql.Catalog, as *policy.Subject, texts ...string) []*rehearsal.Run {
	var all []*rehearsal.Run
	for _, text := range texts {
		all = append(all, &rehearsal.Run{Subject: as, Database: "shop", Catalog: c, Text: text, Path: c.EffectivePath(sql.DefaultPath),
			Time: time.Now(), Count: 1, Verdict: protocol.Allow, Watched: true})
	}
	return all
}

var (
	bot   = &policy.Subject{Workload: policy.Workload{Name: "bot", Namespace: "agents", ServiceAccount: "bot"}}
	alice = &policy.Subject{Workload: policy.Workload{Name: "exec"}, Process: policy.Process{PID: 1, User: "alice"}}
)

var work = []string{
	"SELECT 1",
	"SELECT id, name, email FROM app.customers WHERE id = 7",
	"SELECT c.name, o.total FROM app.customers c JOIN app.orders o ON o.customer_id = c.id ORDER BY o.total",
	"SELECT count(*) FROM app.notes",
	"SELECT * FROM app.v_clean",
	"UPDATE app.orders SET total = 1 WHERE id = 3",
	"INSERT INTO app.notes (id, body) VALUES (5, 'x') ON CONFLICT (id) DO UPDATE SET body = excluded.body",
	"DELETE FROM app.lines WHERE id = 1",
	"DELETE FROM app.log",
	"TRUNCATE app.notes",
	`SELECT "Mixed Case" FROM "Odd Schema"."T""x"`,
	"BEGIN; SET search_path = app; COMMIT",
	"SELECT app.seen('x')",
	"PREPARE p AS SELECT id FROM app.people",
	"LOCK TABLE app.orders IN SHARE MODE",
}

// refused counts the runs that docs, a Database and Policies, would refuse.
func refused(t *testing.T, docs []policy.Document, runs []*rehearsal.Run) []string {
	t.Helper()
	set, err := policy.New(append(documents(t, shop), docs...))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range runs {
		v, _ := set.View(r.Subject, r.Database, r.Time)
		if j, _ := sql.Judge(r.Catalog, v, &protocol.Query{Text: r.Text, Path: r.Path}, sql.Options{}); j.Refusal != nil {
			out = append(out, r.Text+": "+j.Refusal.Message+" "+j.Refusal.Detail)
		}
	}
	return out
}

// TestSuggest proves that a suggested policy allows what was recorded, and that
// there is nothing in it that could be left out.
func TestSuggest(t *testing.T) {
	c := catalog(t)
	all := append(runs(c, bot, work...), runs(c, alice, "SELECT id FROM app.orders", "SELECT id FROM app.orders WHERE id = 1")...)
	d, err := rehearsal.Suggest(databases(t), all)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + d.YAML)
	if d.Undecided != 0 || d.Policies != 2 || d.Learned != len(all) {
		t.Errorf("%d undecided, %d policies, %d learned", d.Undecided, d.Policies, d.Learned)
	}
	docs := documents(t, d.YAML)
	if got := refused(t, docs, all); len(got) != 0 {
		t.Errorf("refused by what was made for it:\n%s", strings.Join(got, "\n"))
	}
	// Leave out each rule, column and function.
	tried := 0
	for n := range docs {
		without := func(what string, change func(p *policy.Policy)) {
			tried++
			p := *docs[n].Policy
			p.Rules = slices.Clone(p.Rules)
			p.Functions = slices.Clone(p.Functions)
			change(&p)
			other := slices.Clone(docs)
			other[n].Policy = &p
			if len(refused(t, other, all)) == 0 {
				t.Errorf("%s could be left out", what)
			}
		}
		for i, r := range docs[n].Policy.Rules {
			without("rule "+r.Name, func(p *policy.Policy) { p.Rules = slices.Delete(p.Rules, i, i+1) })
			for k := range r.Columns {
				if len(r.Columns) > 1 {
					without("column "+r.Columns[k]+" of rule "+r.Name, func(p *policy.Policy) {
						p.Rules[i].Columns = slices.Delete(slices.Clone(r.Columns), k, k+1)
					})
				}
			}
			if r.Match.Filtered != nil && !*r.Match.Filtered && r.Effect != protocol.Approve {
				t.Errorf("rule %s allows without a WHERE clause", r.Name)
			}
		}
		for i, f := range docs[n].Policy.Functions {
			without("function "+f.String(), func(p *policy.Policy) { p.Functions = slices.Delete(p.Functions, i, i+1) })
		}
	}
	t.Logf("%d ways to make it smaller tried", tried)
	// What was not recorded is not allowed.
	other := runs(c, bot, "SELECT ssn FROM app.customers", "SELECT v FROM app.secrets", "DELETE FROM app.customers WHERE id = 1",
		"DROP TABLE app.orders", "UPDATE app.orders SET total = 1", "INSERT INTO app.orders (id) VALUES (1)")
	if got := refused(t, docs, other); len(got) != len(other) {
		t.Errorf("refuses only %d of %d that were not recorded:\n%s", len(got), len(other), strings.Join(got, "\n"))
	}
}

func TestSuggestRisky(t *testing.T) {
	c := catalog(t)
	all := runs(c, bot, "DELETE FROM app.log", "TRUNCATE app.notes", "DELETE FROM app.lines WHERE id = 1", "SELECT name FROM app.customers WHERE ssn = '123-45-6789'",
		"SELECT pg_read_file('/etc/passwd')", "SELEC 1")
	all[5].Failed = true
	d, err := rehearsal.Suggest(databases(t), all)
	if err != nil {
		t.Fatal(err)
	}
	if d.Undecided != 2 || d.Failed != 1 || d.Learned != 3 {
		t.Errorf("%+v", d)
	}
	if strings.Contains(d.YAML, "123-45") || strings.Contains(d.YAML, "/etc/passwd") {
		t.Error("a constant of a statement is in the policy")
	}
	set, err := policy.New(append(documents(t, shop), documents(t, d.YAML)...))
	if err != nil {
		t.Fatal(err)
	}
	v, _ := set.View(bot, "shop", time.Now())
	for text, hold := range map[string]bool{"DELETE FROM app.log": true, "TRUNCATE app.notes": true, "DELETE FROM app.lines WHERE id = 9": false} {
		j, _ := sql.Judge(c, v, &protocol.Query{Text: text}, sql.Options{})
		if j.Refusal != nil || j.Hold != hold {
			t.Errorf("%s: %+v, hold %v", text, j.Refusal, j.Hold)
		}
	}
}

// TestSuggestReveal learns from an enforcing recording what was in clear.
func TestSuggestReveal(t *testing.T) {
	c := catalog(t)
	all := runs(c, bot, "SELECT email FROM app.customers", "SELECT ssn FROM app.customers")
	for _, r := range all {
		r.Watched = false
	}
	all[0].Clear, all[1].Clear = []bool{true}, []bool{false}
	d, err := rehearsal.Suggest(databases(t), all)
	if err != nil {
		t.Fatal(err)
	}
	if p := documents(t, d.YAML)[0].Policy; !slices.Equal(p.Reveal, []string{"email"}) {
		t.Errorf("reveals %v", p.Reveal)
	}
}

func TestReplay(t *testing.T) {
	c := catalog(t)
	set, err := policy.New(append(documents(t, shop), documents(t, `
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: next}
spec:
  subjects: [{serviceAccount: agents/bot}]
  databases: [shop]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers]}
`)...))
	if err != nil {
		t.Fatal(err)
	}
	all := runs(c, bot, "SELECT name FROM app.customers", "SELECT ssn FROM app.customers", "SELECT id FROM app.orders", "SELECT id FROM app.customers")
	all[3].Refused = true
	all[2].Count = 3
	changes, _ := rehearsal.Replay(set, all)
	var got []string
	for _, c := range changes {
		got = append(got, c.Text+": "+c.Was+" -> "+c.Would)
	}
	want := []string{"SELECT id FROM app.orders: allow -> deny", "SELECT ssn FROM app.customers: allow -> mask", "SELECT id FROM app.customers: deny -> allow"}
	if !slices.Equal(got, want) || !changes[0].Denies || changes[0].Count != 3 || changes[1].Denies {
		t.Errorf("%+v", changes)
	}
}

func TestTests(t *testing.T) {
	c := catalog(t)
	set, err := policy.New(append(documents(t, shop), documents(t, `
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: p}
spec:
  subjects: [{serviceAccount: agents/bot}]
  databases: [shop]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers]}
  tests:
    - {sql: "select ssn from app.customers", expect: mask}
    - {sql: "select id from app.orders", expect: allow}
`)...))
	if err != nil {
		t.Fatal(err)
	}
	ran, skipped, failures := rehearsal.Tests(set, time.Now(), func(string) *sql.Catalog { return c })
	if ran != 2 || skipped != 0 || len(failures) != 1 || failures[0].Got != protocol.Deny || failures[0].Unsure {
		t.Errorf("%d ran, %d skipped, %v", ran, skipped, failures)
	}
	if _, skipped, _ := rehearsal.Tests(set, time.Now(), func(string) *sql.Catalog { return nil }); skipped != 2 {
		t.Errorf("%d skipped", skipped)
	}
}

func TestShelf(t *testing.T) {
	s := rehearsal.NewShelf(t.TempDir())
	c := catalog(t)
	for n := range 3 {
		if err := s.Put("shop", "../x-y", c, time.Now()); err != nil {
			t.Fatal(err)
		}
		if all, err := s.Volumes("shop", "../x-y"); err != nil || len(all) != 1 {
			t.Fatalf("%d: %v, %v", n, all, err)
		}
	}
	if got, err := s.Newest("shop", ""); err != nil || got.Epoch != c.Epoch || got.Relation("app", "customers") == nil {
		t.Errorf("%v", err)
	}
	if got, err := s.Newest("shop", "other"); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}
