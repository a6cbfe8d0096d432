package harden_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/harden"
)

// writer is a policy that lets everything pass that a workload does to tables.
var writer = strings.NewReplacer("effect: approve", "effect: allow", "[app.customers, app.orders]", `["app.*"], except: [app.secrets]`,
	`on: ["app.customers", "app.orders"]`, `on: ["app.*"], except: [app.secrets]`, "conditions: deny", "conditions: mask").Replace(demo)

// extra has what the corpus schema lacks.
const extra = `
CREATE TYPE app.mood AS ENUM ('sad', 'ok');
CREATE TABLE app.people (id serial PRIMARY KEY, mood app.mood DEFAULT 'ok', email varchar(40), n int GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT now());
INSERT INTO app.people (email) VALUES ('dora@example.com');
CREATE TABLE app.log (at date, email text) PARTITION BY RANGE (at);
CREATE TABLE app.log_1 PARTITION OF app.log DEFAULT;
INSERT INTO app.log VALUES ('2026-01-01', 'eve@example.com');
CREATE TABLE app.parent (id int, email text); CREATE TABLE app.child () INHERITS (app.parent);
INSERT INTO app.parent VALUES (1, 'p@example.com'); INSERT INTO app.child VALUES (2, 'q@example.com');
CREATE FUNCTION app.tg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION app.audit() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*)::int FROM app.secrets';
`

func TestStatements(t *testing.T) {
	f := start(t, writer, extra)
	f.apply(t)
	for _, tt := range []struct{ sql, want string }{
		{`SELECT id, email, ssn FROM app.customers WHERE id = 1`, `1\|a\*\*\*@example.com\|\*\*\*6789`},
		{`SELECT tableoid::regclass, ctid, * FROM app.customers c WHERE id = 1`, `app.customers\|\(0,\d+\)\|1\|Alice\|a\*\*\*@`},
		{`SELECT tableoid::regclass, email FROM app.log`, `app.log_1\|e\*\*\*@`},
		{`SELECT email FROM ONLY app.parent`, `DataRow\|\*\*\*@example.com\nCommandComplete SELECT 1\n`},
		{`SELECT count(*) FROM app.parent`, `DataRow\|2\n`},
		{`COPY app.parent TO STDOUT`, `CopyData 1\t\*\*\*@example.com\n$`},
		{`SELECT label, tax_ref FROM app.v_contact WHERE id = 1`, `Alice\|\*\*\*6789`},
		{`SELECT id FROM app.orders TABLESAMPLE BERNOULLI (100) ORDER BY id LIMIT 1`, `DataRow\|1\n`},
		{`SELECT count(*) FROM app.orders TABLESAMPLE SYSTEM (0)`, `DataRow\|0\n`},
		{`SELECT count(*) BETWEEN 1 AND 52 FROM app.customers TABLESAMPLE BERNOULLI (50) REPEATABLE (7)`, `DataRow\|t\n`},
		{`SELECT id FROM app.orders WHERE id = 1 FOR UPDATE`, `DataRow\|1\n`},
		{`SELECT c.id FROM app.customers c JOIN app.orders o ON o.customer_id = c.id WHERE o.id = 1 FOR NO KEY UPDATE OF c`, `DataRow\|1\n`},
		{`INSERT INTO app.customers VALUES (900, 'Zed', 'zed@example.com', '111-22-3333')`, `INSERT 0 1`},
		{`SELECT email FROM app.customers WHERE id = 900`, `z\*\*\*@`},
		{`INSERT INTO app.customers (id, name, email) VALUES (901, 'Yan', 'yan@example.com') RETURNING *`, `901\|Yan\|y\*\*\*@example.com\|\|\|\n`},
		{`INSERT INTO app.customers (id, email) VALUES (902, 'x@example.com') RETURNING id, email AS mail, ctid IS NULL`, `902\|\*\*\*@example.com\|f|902\|x\*\*\*`},
		{`INSERT INTO app.people (email) VALUES ('fred@example.com') RETURNING id, mood, email, n`, `2\|ok\|f\*\*\*@example.com\|2`},
		{`INSERT INTO app.people (mood, email) VALUES ('sad'::app.mood, 'g@example.com') RETURNING people.mood`, `DataRow\|sad`},
		{`INSERT INTO app.orders DEFAULT VALUES`, `null value in column`},
		{`INSERT INTO app.orders (id, total) VALUES (1, 99) ON CONFLICT (id) DO UPDATE SET total = EXCLUDED.total RETURNING orders.total`, `DataRow\|99`},
		{`INSERT INTO app.orders AS o (id, total) VALUES (1, 99) ON CONFLICT (id) DO NOTHING`, `INSERT 0 0`},
		{`INSERT INTO app.orders SELECT 70, 1, 5 RETURNING *`, `70\|1\|5\n`},
		{`UPDATE app.customers SET email = 'new@example.com', balance = balance + 1 WHERE id = 1 RETURNING id, email`, `1\|n\*\*\*@example.com`},
		{`UPDATE app.customers SET name = 'A' WHERE app.customers.id = 1 RETURNING app.customers.email, customers.*`, `n\*\*\*@example.com\|1\|A\|n\*\*\*@`},
		{`UPDATE app.orders o SET total = c.balance FROM app.customers c WHERE c.id = o.customer_id AND o.id = 2 RETURNING o.*, c.email`, `2\|1\|[\d.]+\|[an]\*\*\*@`},
		{`UPDATE ONLY app.orders SET total = 1 WHERE id = 70`, `UPDATE 1`},
		{`UPDATE app.parent SET id = id + 1 RETURNING id, email`, `(?s)2\|.*3\|`},
		{`UPDATE ONLY app.parent SET id = 1`, `ONLY is not possible`},
		{`DELETE FROM app.orders USING app.customers c WHERE c.id = customer_id AND orders.id = 70 RETURNING orders.id, c.ssn`, `70\|\*\*\*6789`},
		{`WITH d AS (DELETE FROM app.orders WHERE id = 3 RETURNING id, total) SELECT * FROM d`, `3\|30`},
		{`SET search_path = app; UPDATE customers SET balance = 0 WHERE id = 2; SELECT balance FROM customers WHERE id = 2`, `DataRow\|0\n`},
		{`SELECT last_value FROM app.people_id_seq`, `DataRow\|\d`},
		{`SELECT mood, count(*) FROM app.people WHERE mood = 'ok'::app.mood GROUP BY mood`, `ok\|2`},
		{`SELECT 'app.customers'::regclass`, `app.customers`},
		{`SELECT id, email, count(*) FROM app.customers c WHERE id = 1 GROUP BY id`, `1\|n\*\*\*@`},
		{`EXPLAIN (COSTS OFF) SELECT id FROM app.customers WHERE id = 1`, `Filter: \(id = 1\)`},
		// What views don't do is refused with its reason.
		{`MERGE INTO app.orders o USING app.orders s ON o.id = s.id WHEN MATCHED THEN DELETE`, `MERGE is not possible in mode role`},
		{`COPY app.orders FROM STDIN`, `COPY FROM is not possible in mode role`},
		{`UPDATE app.customers SET name = 'B' WHERE id = 2 RETURNING customers`, `whole row`},
		{`UPDATE app.orders SET total = 5 WHERE id = 2 RETURNING orders`, `whole row`},
		{`UPDATE app.customers SET name = email WHERE id = 2`, `masked`},
		{`TRUNCATE app.orders`, `permission denied`},
		{`SELECT * FROM sluice_shop."app.customers"`, `not allowed|cannot be named`},
		{`SELECT app.audit()`, `not allowed`},
		{`SELECT v FROM app.secrets`, `not allowed`},
	} {
		j := f.judged(t)
		j.send(t, tt.sql, false, nil, true)
		j.conn.Close(context.Background())
		if !regexp.MustCompile(tt.want).MatchString(j.out.Text) {
			t.Errorf("%s\nserver got %q\nanswer %s\nwant %s", tt.sql, j.text, j.out.Text, tt.want)
		}
		if regexp.MustCompile(`(alice|new|zed|yan|dora|eve)@|123-45`).MatchString(j.out.Text) {
			t.Errorf("LEAK %s\n%s", tt.sql, j.out.Text)
		}
	}
	// The login itself has nothing beside the views.
	for _, direct := range []string{`SELECT id FROM app.orders`, `UPDATE app.orders SET total = 1`, `SELECT v FROM app.secrets`, `CREATE TEMP TABLE t (a int)`,
		`SELECT app.audit()`, `CREATE TABLE app.t (a int)`, `SELECT * FROM sluice_shop.taken_from_public`, `CREATE VIEW sluice_shop.v AS SELECT 1`} {
		j := f.judged(t)
		j.run(direct, false, nil, false)
		j.conn.Close(context.Background())
		if len(j.out.Codes) != 1 || j.out.Codes[0] != "42501" {
			t.Errorf("%s: %s", direct, j.out.Text)
		}
	}
}

// TestTrueColumns asks the views to write to for what only masks may show.
func TestTrueColumns(t *testing.T) {
	f := start(t, writer)
	p := f.apply(t)
	for _, v := range p.Views {
		if !v.Writes || v.Of != "app.customers" {
			continue
		}
		name := `"sluice_shop"."` + v.Name + `"`
		for _, direct := range []string{"SELECT ssn FROM " + name, "TABLE " + name, "UPDATE " + name + " SET id = id RETURNING ssn", "SELECT x FROM " + name + " x",
			"UPDATE " + name + " SET name = ssn", "DELETE FROM " + name + " WHERE ssn LIKE '1%'", "SELECT count(ssn) FROM " + name,
			"INSERT INTO " + name + " (id, ssn) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.ssn"} {
			j := f.judged(t)
			j.run(direct, false, nil, false)
			j.conn.Close(context.Background())
			if len(j.out.Codes) != 1 || j.out.Codes[0] != "42501" {
				t.Errorf("%s: %s", direct, j.out.Text)
			}
		}
	}
}

// There is no view of what shows a relation that nobody may read.
func TestDeniedBelow(t *testing.T) {
	const denied = "    - {name: never, effect: deny, actions: [select], on: [app.secrets]}\n"
	f := start(t, writer+denied, "CREATE VIEW app.v_denied AS SELECT v AS b FROM app.secrets", "CREATE VIEW app.v_deeper AS SELECT b FROM app.v_denied",
		"CREATE VIEW app.v_clean AS SELECT id FROM app.orders")
	var of []string
	for _, v := range f.apply(t).Views {
		if !v.Writes {
			of = append(of, v.Of)
		}
	}
	if contains(of, "app.v_denied") || contains(of, "app.v_deeper") || !contains(of, "app.v_clean") {
		t.Errorf("views of %q", of)
	}
}

func TestDrift(t *testing.T) {
	f := start(t, demo, extra)
	f.apply(t)
	var read string
	for _, v := range f.plan(t).Views {
		if v.Of == "app.customers" && !v.Writes {
			read = `sluice_shop."` + v.Name + `"`
		}
	}
	for _, tt := range []struct{ does, want string }{
		{`GRANT SELECT ON app.secrets TO shop_agent`, `shop_agent has SELECT ON TABLE "app"."secrets"`},
		{`GRANT SELECT (v) ON app.secrets TO shop_agent`, `shop_agent has SELECT \("v"\)`},
		{`GRANT SELECT ON app.secrets TO PUBLIC`, `everybody has SELECT ON TABLE "app"."secrets"`},
		{`GRANT UPDATE (total) ON app.orders TO shop_agent`, `has UPDATE \("total"\)`},
		{`GRANT USAGE, CREATE ON SCHEMA app TO shop_agent`, `has CREATE ON SCHEMA "app"`},
		{`GRANT CREATE ON SCHEMA public TO PUBLIC`, `everybody has CREATE ON SCHEMA "public"`},
		{`GRANT TEMPORARY ON DATABASE ` + "$DB" + ` TO PUBLIC`, `everybody has TEMPORARY`},
		{`GRANT CREATE ON DATABASE ` + "$DB" + ` TO shop_agent`, `has CREATE ON DATABASE`},
		{`CREATE FUNCTION app.leak() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT v FROM app.secrets'`, `everybody has EXECUTE ON ROUTINE "app"."leak"`},
		{`GRANT EXECUTE ON FUNCTION app.f_get_ssn(int) TO shop_agent`, `has EXECUTE ON ROUTINE "app"."f_get_ssn"`},
		{`ALTER ROLE shop_agent SUPERUSER`, `has SUPERUSER`},
		{`ALTER ROLE shop_agent BYPASSRLS`, `has BYPASSRLS`},
		{`ALTER ROLE shop_agent CREATEROLE CREATEDB`, `has CREATEROLE`},
		{`ALTER ROLE sluice_shop_owner LOGIN`, `should be NOLOGIN`},
		{`ALTER ROLE shop_agent NOLOGIN`, `should be LOGIN`},
		{`GRANT app_rw TO shop_agent`, `member of app_rw`},
		{`GRANT pg_read_all_data TO shop_agent`, `member of pg_read_all_data`},
		{`GRANT sluice_shop_owner TO app_rw`, `app_rw is a member of sluice_shop_owner`},
		{`CREATE OR REPLACE VIEW ` + read + ` AS SELECT id, name, email, ssn, card, balance, ctid, tableoid, xmin, xmax, cmin, cmax FROM app.customers`, `was altered`},
		{`ALTER VIEW ` + read + ` SET (security_barrier)`, `was altered`},
		{`ALTER VIEW ` + read + ` OWNER TO app_rw`, `was altered`},
		{`DROP VIEW ` + read, `make view`},
		{`CREATE RULE more AS ON UPDATE TO ` + read + ` DO ALSO NOTHING`, `was altered`},
		{`CREATE TRIGGER more INSTEAD OF INSERT ON ` + read + ` FOR EACH ROW EXECUTE FUNCTION app.tg()`, `was altered`},
		{`REVOKE SELECT ON ` + read + ` FROM shop_agent`, `grant SELECT`},
		{`GRANT SELECT ON ` + read + ` TO app_rw`, `app_rw has SELECT`},
		{`GRANT SELECT ON sluice_shop.taken_from_public TO shop_agent`, `shop_agent has SELECT`},
		{`CREATE VIEW sluice_shop.more AS SELECT 1 AS a`, `remove view`},
		{`ALTER SCHEMA sluice_shop OWNER TO app_rw`, `belongs to app_rw`},
		{`REVOKE SELECT ON app.orders FROM sluice_shop_owner`, `grant SELECT ON TABLE "app"."orders" to sluice_shop_owner`},
	} {
		f.Exec(t, f.db, strings.ReplaceAll(tt.does, "$DB", f.db))
		d := f.diff(t)
		if !regexp.MustCompile(tt.want).MatchString(strings.Join(texts(d), "\n")) {
			t.Errorf("%s: not noticed: %q", tt.does, texts(d))
		}
		if len(d) > 3 {
			t.Errorf("%s: noticed too much: %q", tt.does, texts(d))
		}
		f.apply(t)
	}
	// What no statement ends is told until somebody does something.
	for _, tt := range []struct{ does, want, undo string }{
		{`CREATE TABLE app.mine (a int); ALTER TABLE app.mine OWNER TO shop_agent`, `owns table app.mine`, `DROP TABLE app.mine`},
		{`CREATE TABLE sluice_shop.other (a int)`, `is in the schema`, `DROP TABLE sluice_shop.other`},
		{`ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO shop_agent`, `default privileges`, `ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE SELECT ON TABLES FROM shop_agent`},
		{`GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO shop_agent`, `foreign-data wrapper`, `REVOKE USAGE ON FOREIGN DATA WRAPPER dblink_fdw FROM shop_agent`},
	} {
		f.Exec(t, f.db, tt.does)
		p := f.plan(t)
		_, left, err := p.Apply(context.Background(), f.admin)
		if err != nil || !regexp.MustCompile(tt.want).MatchString(strings.Join(texts(left), "\n")) {
			t.Errorf("%s: %v, left %q", tt.does, err, texts(left))
		}
		f.Exec(t, f.db, tt.undo)
	}
	f.apply(t)
}

// snapshot is every role, right and relation that a database has.
func (f *fixture) snapshot(t testing.TB) []string {
	t.Helper()
	rows, err := f.Query(f.db, `SELECT 'role ' || rolname || rolsuper || rolcanlogin FROM pg_roles
UNION ALL SELECT 'relation ' || c.oid::regclass || e.* FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) e WHERE c.oid >= 16384 AND c.relkind <> 't'
UNION ALL SELECT 'column ' || a.attrelid::regclass || a.attname || e.* FROM pg_attribute a, aclexplode(a.attacl) e WHERE a.attrelid >= 16384
UNION ALL SELECT 'function ' || p.oid::regprocedure || e.* FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e WHERE p.oid >= 16384
UNION ALL SELECT 'schema ' || n.nspname || e.* FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) e WHERE n.nspname !~ '^pg_t'
UNION ALL SELECT 'database ' || d.datname || e.* FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) e WHERE datname = current_database()
UNION ALL SELECT 'member ' || m.roleid::regrole || m.member::regrole FROM pg_auth_members m
ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestDrop(t *testing.T) {
	f := start(t, demo, extra)
	before := f.snapshot(t)
	p := f.apply(t)
	if _, err := p.Remove(context.Background(), f.admin); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, f.snapshot(t)); d != "" {
		t.Errorf("drop leaves something: %s", d)
	}
	// A login that was there before stays, and can be hardened and let go again.
	f.Exec(t, f.db, `CREATE ROLE shop_agent LOGIN`)
	before = f.snapshot(t)
	p = f.apply(t)
	if _, err := p.Remove(context.Background(), f.admin); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, f.snapshot(t)); d != "" {
		t.Errorf("drop leaves something: %s", d)
	}
}

// TestOthers checks that hardening takes nothing from other roles.
func TestOthers(t *testing.T) {
	f := start(t, demo, extra)
	f.apply(t)
	for _, does := range []string{`CREATE TEMP TABLE t (a int)`, `SELECT app.audit()`, `SELECT 'a=>1'::hstore -> 'a'`, `SELECT akeys('a=>1')`} {
		q := connect(t, f.DSN("app_rw", f.db))
		if err := q.Query(context.Background(), does, func([][]byte) error { return nil }); err != nil {
			t.Errorf("%s: %v", does, err)
		}
	}
}

func TestScript(t *testing.T) {
	f := start(t, demo, extra)
	for i := range 2 {
		p := f.plan(t)
		l, err := p.Compare(context.Background(), f.admin)
		if err != nil {
			t.Fatal(err)
		}
		all := []string{"BEGIN", "SET LOCAL search_path = ''"}
		for _, c := range p.Script(l) {
			all = append(all, c.SQL...)
		}
		f.Exec(t, f.db, strings.Join(append(all, "COMMIT"), ";\n"))
		if d := f.diff(t); len(d) > 0 {
			t.Errorf("run %d: still %q", i, texts(d))
		}
	}
}

// TestPolicyChanges checks that views that are older than a policy are not used.
func TestPolicyChanges(t *testing.T) {
	f := start(t, demo)
	f.apply(t)
	ask := func(text, want string) {
		t.Helper()
		j := f.judged(t)
		defer j.conn.Close(context.Background())
		j.send(t, text, false, nil, true)
		if !regexp.MustCompile(want).MatchString(j.out.Text) {
			t.Errorf("%s: %s\nwant %s", text, j.out.Text, want)
		}
	}
	f.load(t, strings.Replace(demo, `columns: ["app.customers.ssn"],  mask: {keepLast: 4}`, `columns: ["app.customers.ssn"], mask: "null"`, 1))
	ask(`SELECT id, ssn FROM app.customers WHERE id = 1`, `no shadow view .*`)
	ask(`SELECT id FROM app.orders WHERE id = 1`, `DataRow\|1`)
	f.apply(t)
	ask(`SELECT id, ssn FROM app.customers WHERE id = 1`, `DataRow\|1\|\n`)
	// A column that is added is not seen until then, and nothing else stops.
	f.Exec(t, f.db, `ALTER TABLE app.orders ADD COLUMN note text DEFAULT 'n'`)
	ask(`SELECT id, total FROM app.orders WHERE id = 1`, `DataRow\|1\|10`)
	ask(`SELECT note FROM app.orders WHERE id = 1`, `column note of app.orders has no shadow view`)
	f.apply(t)
	ask(`SELECT note FROM app.orders WHERE id = 1`, `DataRow\|n`)
	// A label that comes to hold a column that a view has.
	f.Exec(t, f.db, `ALTER TABLE app.orders RENAME COLUMN note TO email`)
	ask(`SELECT id FROM app.orders WHERE id = 1`, `no shadow view`)
	f.apply(t)
	ask(`SELECT email FROM app.orders WHERE id = 1`, `\*\*\*`)
}

func TestMigration(t *testing.T) {
	f := start(t, writer, extra)
	f.apply(t)
	for _, ddl := range []string{`ALTER TABLE app.people DROP COLUMN at`, `ALTER TABLE app.people ALTER at TYPE date`, `DROP TABLE app.people`} {
		if err := f.TryExec(f.db, ddl); err == nil || !strings.Contains(err.Error(), "view") && !strings.Contains(err.Error(), "depend") {
			t.Errorf("%s: %v", ddl, err)
		}
	}
	for _, ddl := range []string{`ALTER TABLE app.people ADD COLUMN x int`, `ALTER TABLE app.people ALTER at SET DEFAULT NULL`, `CREATE INDEX ON app.people (at)`,
		`ALTER TABLE app.people ALTER at SET NOT NULL`, `ALTER TABLE app.people RENAME at TO since`, `TRUNCATE app.people`} {
		if err := f.TryExec(f.db, ddl); err != nil {
			t.Errorf("%s: %v", ddl, err)
		}
	}
	f.apply(t)
	p := f.plan(t)
	if _, err := p.Remove(context.Background(), f.admin); err != nil {
		t.Fatal(err)
	}
	f.Exec(t, f.db, `ALTER TABLE app.people ALTER since TYPE date, DROP COLUMN x`)
	f.apply(t)
}

// TestHash compares the tokens of the views with those of mode inline.
func TestHash(t *testing.T) {
	text := strings.Replace(demo, `columns: ["app.customers.ssn"],  mask: {keepLast: 4}`, `columns: ["app.customers.ssn"], mask: hash`, 1)
	f := start(t, text)
	p := f.apply(t)
	j := f.judged(t)
	j.send(t, `SELECT ssn FROM app.customers WHERE id = 1`, false, nil, false)
	want, err := f.Query(f.db, fmt.Sprintf("SELECT left(encode(sha256(%s || sha256(%s || convert_to('123-45-6789', 'UTF8'))), 'hex'), 32)", pad(0), pad(1)))
	if err != nil || !strings.Contains(j.out.Text, want[0]) {
		t.Errorf("token %s, want %s (%v)", j.out.Text, want, err)
	}
	j.out.Text = ""
	j.run(`SELECT pg_get_viewdef(oid) FROM pg_class WHERE relnamespace = 'sluice_shop'::regnamespace AND relkind = 'v'`, false, nil, false)
	if o, _ := secret("ssn").Pads(); strings.Contains(j.out.Text, fmt.Sprintf("%x", o[:8])) {
		t.Error("the key is in the definition of a view")
	}
	for _, c := range p.Script(&harden.Live{}) {
		if o, _ := secret("ssn").Pads(); strings.Contains(strings.Join(c.SQL, ""), fmt.Sprintf("%x", o[:8])) && !c.Secret {
			t.Errorf("%s is not marked as secret", c.Text)
		}
	}
	j.out = judged{}.out
	j.run(`SELECT * FROM sluice_shop.hash_keys`, false, nil, false)
	if len(j.out.Codes) != 1 || j.out.Codes[0] != "42501" {
		t.Errorf("keys: %s", j.out.Text)
	}
}

func pad(i int) string {
	o, in := secret("ssn").Pads()
	return fmt.Sprintf("'\\x%x'::bytea", [][64]byte{o, in}[i])
}

// TestReveal: subjects that see more read other views of the same schema.
func TestReveal(t *testing.T) {
	text := demo + "---\napiVersion: sluicegate.io/v1alpha1\nkind: Policy\nmetadata: {name: fraud}\nspec:\n  subjects: [{workload: exec}]\n  databases: [shop]\n  reveal: [ssn]\n"
	f := start(t, text)
	p := f.apply(t)
	if !strings.Contains(strings.Join(p.Notes, "\n"), "fraud reveals ssn") {
		t.Errorf("notes %q", p.Notes)
	}
	for name, want := range map[string]string{"": `\*\*\*6789`, "exec": `\|123-45-6789\|\*\*\*1111`} {
		j := f.judged(t)
		j.v, _ = f.set.View(&policy.Subject{Workload: policy.Workload{Name: name}}, "shop", now)
		j.send(t, `SELECT ssn, card FROM app.customers WHERE id = 1`, false, nil, false)
		if !regexp.MustCompile(want).MatchString(j.out.Text) {
			t.Errorf("%q: %s", name, j.out.Text)
		}
	}
}

// TestNames hardens tables whose names try to end what they are quoted by.
func TestNames(t *testing.T) {
	var make []string
	names := []string{`a$sluice$; ALTER ROLE app_rw SUPERUSER; --`, `a$sluice$$sluice0$; ALTER ROLE app_rw SUPERUSER; --`, "b\n\\! false\n", `c"; ALTER ROLE app_rw SUPERUSER; --`,
		`d'; ALTER ROLE app_rw SUPERUSER; --`, `é` + strings.Repeat("ü", 30), `SELECT`, `:x`}
	for _, n := range names {
		make = append(make, `CREATE TABLE app."`+strings.ReplaceAll(n, `"`, `""`)+`" (id serial, email text, "`+strings.ReplaceAll(n, `"`, `""`)+`" text)`)
	}
	f := start(t, writer, strings.Join(make, ";\n"))
	f.apply(t)
	l, err := f.plan(t).Compare(context.Background(), f.admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range f.plan(t).Script(l) {
		f.Exec(t, f.db, strings.Join(c.SQL, ";\n"))
	}
	if d := f.diff(t); len(d) > 0 {
		t.Errorf("still %q", texts(d))
	}
	for _, n := range names {
		j := f.judged(t)
		j.send(t, `INSERT INTO app."`+strings.ReplaceAll(n, `"`, `""`)+`" (email) VALUES ('someone@example.com') RETURNING id, *`, false, nil, true)
		if !strings.Contains(j.out.Text, "1|1|s***@example.com|") {
			t.Errorf("%q: %s", n, j.out.Text)
		}
	}
	if rows, err := f.Query(f.db, `SELECT rolname FROM pg_roles WHERE rolsuper AND rolname = 'app_rw'`); err != nil || len(rows) > 0 {
		t.Errorf("app_rw is %v, %v", rows, err)
	}
	if _, err := f.plan(t).Remove(context.Background(), f.admin); err != nil {
		t.Error(err)
	}
}
