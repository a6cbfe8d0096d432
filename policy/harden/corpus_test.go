package harden_test

import (
	"context"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/corpus/introspection"
)

// everything puts back what PUBLIC has by default, which no judgement may need gone.
const everything = `GRANT TEMPORARY ON DATABASE %[1]s TO PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO PUBLIC; GRANT USAGE ON SCHEMA app TO PUBLIC; GRANT EXECUTE ON ALL ROUTINES IN SCHEMA app TO PUBLIC`

// TestBypass runs the corpora as the scoped login behind the judge.
func TestBypass(t *testing.T) {
	f := start(t, demo)
	f.apply(t)
	for _, state := range []string{"hardened", "public"} {
		if state == "public" {
			f.Exec(t, f.db, one(everything, f.db))
		}
		for _, file := range []string{"bypass*.sql", "benign*.sql"} {
			t.Run(state+"/"+file, func(t *testing.T) {
				bad, all := 0, cases(t, file)
				for _, cs := range all {
					if strings.HasPrefix(cs.Via, "fcall:") || cs.As == "app_repl" {
						continue // the codec refuses it
					}
					var opts []string
					if opt, ok := strings.CutPrefix(cs.Via, "opt:"); ok {
						if k, v, _ := strings.Cut(opt, "="); !sql.StartupParameter(k, v) {
							continue
						}
						opts = append(opts, opt)
					}
					j := f.judged(t, opts...)
					ext := cs.Via != "simple" && !strings.HasPrefix(cs.Via, "opt:")
					for _, m := range cs.Messages {
						j.send(t, strings.ReplaceAll(strings.ReplaceAll(m, "$DB", f.db), "$TMP", f.Temp), ext, cs.Bind, false)
					}
					j.conn.Close(context.Background())
					why := cs.Check(&j.out, "")
					if file == "benign*.sql" {
						why = cs.CheckBenign(&j.out)
					}
					if why == "" {
						continue
					}
					bad++
					// What only differs in how it is refused is for the test of mode inline.
					if file == "benign*.sql" || strings.HasPrefix(why, "LEAK") || strings.Contains(why, "effect") || !added(cs) {
						t.Errorf("%s: %s\n%s\nserver got %q\nanswer %s", cs.ID, why, cs.Messages, j.text, j.out.Text)
					}
				}
				t.Logf("%d of %d", len(all)-bad, len(all))
			})
		}
	}
}

// added reports whether a case is not of bypass.sql, whose groups have one letter. Those
// ask the server for more than values, and run into its own errors on masks, of which
// the codec that is not here would withhold the text.
func added(cs corpus.Case) bool { return len(cs.ID) > 1 && cs.ID[1] >= 'A' && cs.ID[1] <= 'Z' }

// harmless are the cases of bypass.sql that come through without a judge, since
// they are about the catalog and the session alone.
var harmless = map[string]bool{"I08": true, "K08": true, "L18": true, "L23": true}

// values are what the corpus schema hides.
var values = regexp.MustCompile(`123-45-6789|987-65-4321|555-12-3456|(alice|bob|carol)@example\.com|4111-1111-1111-1111|5500-0000-0000-0004|3400-000000-00009|TOPSECRET-42`)

// TestUnspliced runs every bypass as the scoped login with no judge in front: what
// a construct comes to that the analysis missed.
func TestUnspliced(t *testing.T) {
	f := start(t, demo)
	f.apply(t)
	counts := map[string]int{}
	for _, cs := range cases(t, "bypass*.sql") {
		if cs.As == "app_repl" {
			continue
		}
		target := corpus.Target{Database: f.db, User: login, Replace: strings.NewReplacer("$DB", f.db, "$TMP", f.Temp, "55433", f.Addr()[strings.LastIndex(f.Addr(), ":")+1:]),
			Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", f.Addr()) },
			OID:  func(string) (uint32, error) { return 3826, nil }}
		tr, err := cs.Run(context.Background(), target)
		if err != nil {
			t.Errorf("%s: %v", cs.ID, err)
			continue
		}
		effect := ""
		if cs.Effect != "" {
			if rows, err := f.Query(f.db, target.Replace.Replace(cs.Effect)); err == nil && len(rows) == 1 {
				effect = rows[0]
			}
		}
		if v := values.FindString(tr.Text); v != "" {
			t.Errorf("%s: LEAK %s", cs.ID, v)
		}
		switch {
		case cs.Leak != nil && cs.Leak.MatchString(tr.Text), effect == "t":
			counts["through"]++
			if added(cs) == harmless[cs.ID] {
				t.Errorf("%s came through", cs.ID)
			}
			t.Logf("through: %s %s\n%s", cs.ID, cs.Messages, tr.Text)
		case len(tr.Codes) > 0 && contains(tr.Codes, "42501"):
			counts["42501"]++
		case len(tr.Codes) > 0:
			counts["other error"]++
			t.Logf("%s: %v", cs.ID, tr.Errors)
		default:
			counts["ran"]++
			t.Logf("ran: %s %s\n%s", cs.ID, cs.Messages, tr.Text)
		}
	}
	t.Logf("%v", counts)
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// TestIntrospection runs what tools and drivers ask of the catalog.
func TestIntrospection(t *testing.T) {
	f := start(t, demo)
	f.apply(t)
	all, err := introspection.Cases(func(relation string) (string, error) {
		rows, err := f.Query(f.db, one("SELECT '%s'::regclass::oid", relation))
		if err != nil {
			return "", err
		}
		return rows[0], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, cs := range all {
		j := f.judged(t)
		for _, m := range cs.Messages {
			j.send(t, m, cs.Via != "simple", cs.Bind, false)
		}
		j.conn.Close(context.Background())
		if cs.Expect != corpus.Deny && cs.Expect != corpus.Approve && len(j.out.Codes) > 0 {
			bad++
			t.Errorf("%s: %v\n%s", cs.ID, j.out.Errors, cs.Messages)
		}
	}
	t.Logf("%d of %d", len(all)-bad, len(all))
}

// TestLarge says what a database of 10,000 columns costs.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 200 tables")
	}
	f := start(t, strings.ReplaceAll(writer, `"app.*"`, `"app.*", "public.*"`))
	f.Exec(t, f.db, `DO $$ DECLARE cols text := (SELECT string_agg(format('column_%s %s', g, (ARRAY['int','text','numeric(10,2)','timestamptz','varchar(40)'])[g%5+1]), ', ')
FROM generate_series(1, 50) g); BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE public.table_%s (%s)', i, cols); END LOOP; END $$`)
	began := time.Now()
	p := f.plan(t)
	planned := time.Since(began)
	began = time.Now()
	if _, left, err := p.Apply(context.Background(), f.admin); err != nil || len(left) > 0 {
		t.Fatal(err, texts(left))
	}
	applied := time.Since(began)
	began = time.Now()
	l, err := p.Compare(context.Background(), f.admin)
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Diff(l); len(d) > 0 {
		t.Errorf("still %d changes, such as %s", len(d), d[0].Text)
	}
	t.Logf("%d views: planned in %v, applied in %v, compared in %v", len(p.Views), planned.Round(time.Millisecond), applied.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// TestPlans checks that the views are not in the way of indexes.
func TestPlans(t *testing.T) {
	const large = `INSERT INTO app.customers SELECT g, 'n' || g, 'e', '1', '2', g FROM generate_series(1000, 50000) g;
INSERT INTO app.orders SELECT g, g, g FROM generate_series(1000, 50000) g; CREATE INDEX ON app.customers (balance); CREATE INDEX ON app.customers (name text_pattern_ops); ANALYZE`
	f := start(t, demo, large)
	f.apply(t)
	for text, index := range map[string]string{
		`SELECT email FROM app.customers WHERE id = 1500`:                                                 "customers_pkey",
		`SELECT email FROM app.customers WHERE balance = 1500`:                                            "customers_balance_idx",
		`SELECT email FROM app.customers WHERE name LIKE 'n1500%'`:                                        "customers_name_idx",
		`SELECT email FROM app.customers ORDER BY id LIMIT 5`:                                             "customers_pkey",
		`SELECT max(id) FROM app.customers`:                                                               "customers_pkey",
		`SELECT c.email FROM app.customers c JOIN app.orders o ON o.customer_id = c.id WHERE o.id = 1005`: "customers_pkey",
	} {
		j := f.judged(t)
		j.send(t, "EXPLAIN (COSTS OFF) "+text, false, nil, false)
		j.conn.Close(context.Background())
		if !strings.Contains(j.out.Text, index) {
			t.Errorf("%s uses no %s:\n%s", text, index, j.out.Text)
		}
	}
}
