package sql_test

import (
	"context"
	"encoding/json"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/test/pgtest"
)

// querier is a Querier over a stock driver: simple protocol, text format.
type querier struct{ conn *pgconn.PgConn }

func (q querier) Query(ctx context.Context, text string, row func([][]byte) error) error {
	results := q.conn.Exec(ctx, text)
	var failed error
	for results.NextResult() {
		r := results.ResultReader()
		for r.NextRow() {
			if failed == nil {
				failed = row(r.Values())
			}
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	return failed
}

// connect logs in until t ends.
func connect(t testing.TB, dsn string) querier {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return querier{conn}
}

// one server serves all tests of this package that need one.
func server(t testing.TB) *pgtest.Server {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to start PostgreSQL as another user")
	}
	return pgtest.Start(t, pgtest.Options{})
}

func load(t testing.TB, q querier) *sql.Catalog {
	t.Helper()
	c, err := sql.LoadCatalog(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// extra holds one of everything that the corpus schema lacks.
const extra = `
CREATE TYPE app.mood AS ENUM ('sad', 'ok');
CREATE TYPE app.pair AS (a int, b text);
CREATE FUNCTION app.short(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT length($1) < 10';
CREATE DOMAIN app.code AS varchar(10) NOT NULL CHECK (app.short(VALUE));
CREATE DOMAIN app.code2 AS app.code;
CREATE TABLE app.parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int, mood app.mood DEFAULT 'ok', code app.code2,
  name varchar(20) COLLATE "C", twice int GENERATED ALWAYS AS (id * 2) STORED, n serial, CHECK (n > 0), UNIQUE (name));
ALTER TABLE app.parent DROP COLUMN gone;
CREATE TABLE app.child (more app.pair) INHERITS (app.parent);
CREATE TABLE app.events (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE app.events_1 PARTITION OF app.events DEFAULT;
CREATE TABLE app.line (order_id int REFERENCES app.orders ON DELETE CASCADE ON UPDATE SET NULL);
CREATE VIEW app.v_nested WITH (security_barrier) AS SELECT label, o.total FROM app.v_contact v JOIN app.orders o ON o.customer_id = v.id WHERE app.short(label);
CREATE MATERIALIZED VIEW app.mat AS SELECT id, ssn AS s FROM app.customers;
CREATE RULE quiet AS ON INSERT TO app.line DO ALSO DELETE FROM app.orders WHERE id = NEW.order_id;
CREATE FUNCTION app.trig() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER trig BEFORE UPDATE OF what ON app.events FOR EACH ROW EXECUTE FUNCTION app.trig();
ALTER TABLE app.line ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON app.line FOR SELECT USING (order_id > 0);
CREATE INDEX ON app.line ((app.short(order_id::text)));
CREATE FUNCTION app.lower(app.mood) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT ''x''';
CREATE FUNCTION app.same(text, text) RETURNS bool LANGUAGE sql AS 'SELECT $1 = $2';
CREATE OPERATOR app.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = app.same);
CREATE FUNCTION app.to_int(app.pair) RETURNS int LANGUAGE sql AS 'SELECT ($1).a';
CREATE CAST (app.pair AS int) WITH FUNCTION app.to_int(app.pair);
CREATE TEMP TABLE app_temp (x int);
`

func TestLoadCatalog(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	s.Exec(t, db, extra)
	// A login that may do nothing, and that prepares a trap for unqualified names.
	s.Exec(t, db, `CREATE ROLE nobody LOGIN; CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO nobody;
CREATE VIEW trap.pg_class AS SELECT 1 AS oid; GRANT SELECT ON trap.pg_class TO nobody;
CREATE FUNCTION trap.never(oid, int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END';
CREATE OPERATOR trap.>= (LEFTARG = oid, RIGHTARG = int, FUNCTION = trap.never);
CREATE DOMAIN trap.text AS int;
ALTER ROLE nobody SET search_path = trap, pg_catalog`)
	q := connect(t, s.DSN("nobody", db))
	c := load(t, q)

	if c.User != "nobody" || c.Superuser || c.ServerVersion < 120000 || c.Database != db || c.Epoch == "" {
		t.Errorf("identity: %q %v %d %q %q", c.User, c.Superuser, c.ServerVersion, c.Database, c.Epoch)
	}
	if e, err := sql.Epoch(context.Background(), q); err != nil || e != c.Epoch {
		t.Errorf("epoch %q, %v; loaded %q", e, err, c.Epoch)
	}

	customers := c.Relation("app", "customers")
	if customers == nil {
		t.Fatal("no app.customers")
	}
	var names []string
	for _, col := range customers.Columns {
		names = append(names, col.Name+" "+col.TypeName)
	}
	if want := []string{"id integer", "name text", "email text", "ssn text", "card text", "balance numeric"}; !reflect.DeepEqual(names, want) {
		t.Errorf("columns %q", names)
	}
	if !reflect.DeepEqual(customers.PrimaryKey(), []int16{1}) {
		t.Errorf("primary key %v", customers.PrimaryKey())
	}
	if customers.Owner != "app_rw" || customers.Kind != sql.Table || c.RelationByOID(customers.OID) != customers || c.TypeByOID(customers.Type).Relation != customers.OID {
		t.Errorf("customers %+v", customers)
	}

	parent := c.Relation("app", "parent")
	child := c.Relation("app", "child")
	if !reflect.DeepEqual(parent.Children, []uint32{child.OID}) || !reflect.DeepEqual(child.Parents, []uint32{parent.OID}) {
		t.Errorf("inheritance %v %v", parent.Children, child.Parents)
	}
	if gone := parent.ColumnByNumber(2); !gone.Dropped || parent.Column("gone") != nil || parent.Column("mood").Number != 3 {
		t.Errorf("dropped %+v", gone)
	}
	if m := parent.Column("mood"); m.Default != "'ok'::app.mood" || m.TypeName != "app.mood" {
		t.Errorf("mood %+v", m)
	}
	if n := parent.Column("name"); n.TypeName != "character varying(20)" || n.Collation != `pg_catalog."C"` || n.Typmod != 24 {
		t.Errorf("name %+v", n)
	}
	if n := parent.Column("twice"); n.Generated != "s" || !reflect.DeepEqual(n.From, []int16{1}) {
		t.Errorf("twice %+v", n)
	}
	if n := parent.Column("id"); n.Identity != "a" || !n.NotNull {
		t.Errorf("id %+v", n)
	}
	if len(parent.Checks) != 1 || parent.Checks[0] != "(n > 0)" {
		t.Errorf("checks %q", parent.Checks)
	}
	if q := c.Relation("app", "parent_n_seq"); q == nil || q.Table != parent.OID {
		t.Errorf("sequence %+v", q)
	}
	if b := c.BaseType(c.Type("app", "code2").OID); b.Name != "varchar" {
		t.Errorf("base type %+v", b)
	}
	short := c.FunctionsIn("app", "short")[0]
	if k := c.Type("app", "code").Calls; !reflect.DeepEqual(k, []uint32{short.OID}) {
		t.Errorf("domain calls %v", k)
	}
	if a := c.Type("app", "_mood"); a.Element != c.Type("app", "mood").OID || a.Category != "A" {
		t.Errorf("array %+v", a)
	}

	v := c.Relation("app", "v_contact")
	if want := "SELECT customers.id, customers.name AS label, customers.ssn AS tax_ref FROM app.customers;"; strings.Join(strings.Fields(v.Definition), " ") != want {
		t.Errorf("definition %q", v.Definition)
	}
	if want := []sql.Dependency{{customers.OID, 1}, {customers.OID, 2}, {customers.OID, 4}}; !reflect.DeepEqual(v.Depends, want) {
		t.Errorf("depends %v", v.Depends)
	}
	if n := c.Relation("app", "v_nested"); !n.SecurityBarrier || !reflect.DeepEqual(n.Calls, []uint32{short.OID}) {
		t.Errorf("nested view %+v", n)
	}
	if m := c.Relation("app", "mat"); m.Kind != sql.MaterializedView || len(m.Depends) != 2 {
		t.Errorf("materialized view %+v", m)
	}

	line, orders := c.Relation("app", "line"), c.Relation("app", "orders")
	if refs := c.ReferencedBy(orders.OID); len(refs) != 1 || refs[0].From != line || refs[0].Key.OnDelete != "c" || refs[0].Key.OnUpdate != "n" {
		t.Errorf("references %+v", refs)
	}
	if len(line.Rules) != 1 || line.Rules[0].Event != "insert" || line.Rules[0].Instead || !strings.Contains(line.Rules[0].Definition, "DELETE FROM app.orders") {
		t.Errorf("rules %+v", line.Rules)
	}
	if !line.RowSecurity || len(line.Policies) != 1 || line.Policies[0].Command != "r" || !reflect.DeepEqual(line.Calls, []uint32{short.OID}) {
		t.Errorf("line %+v", line)
	}
	events := c.Relation("app", "events")
	if events.Kind != sql.PartitionedTable || len(events.Children) != 1 || !c.RelationByOID(events.Children[0]).Partition {
		t.Errorf("events %+v", events)
	}
	want := []sql.Trigger{{Name: "trig", Function: c.FunctionsIn("app", "trig")[0].OID, Enabled: "O", Update: true, Columns: []int16{2}}}
	if d := cmp.Diff(want, events.Triggers); d != "" {
		t.Errorf("triggers: %s", d)
	}
	// An overload of a built-in name is seen wherever the path reaches it.
	if f := c.ResolveFunction([]string{"pg_catalog", "app"}, "lower"); len(f) != 4 || f[3].System() || !f[3].SecurityDefiner {
		t.Errorf("lower: %+v", f)
	}
	if f := c.ResolveFunction([]string{"pg_catalog"}, "lower"); len(f) != 3 || !f[0].System() {
		t.Errorf("lower: %+v", f)
	}
	if o := c.ResolveOperator([]string{"pg_catalog", "app"}, "==="); len(o) != 1 || c.FunctionByOID(o[0].Function).Name != "same" {
		t.Errorf("operator %+v", o)
	}
	if k := c.Cast(c.Type("app", "pair").OID, 23); k == nil || k.System() || k.Context != "e" {
		t.Errorf("cast %+v", k)
	}
	if c.Relation("pg_catalog", "pg_class").Column("relname") == nil || !c.Relation("information_schema", "columns").System() {
		t.Error("system relations are missing")
	}
	if c.ResolveRelation([]string{"pg_catalog"}, "app_temp") != nil || c.ResolveRelation([]string{"x", "app", "pg_catalog"}, "orders") != orders {
		t.Error("resolution along a path")
	}
	if i := c.Relation("app", "customers_pkey"); i.Kind != sql.Index || i.Table != customers.OID || i.Columns != nil {
		t.Errorf("index %+v", i)
	}

	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	back := new(sql.Catalog)
	if err := json.Unmarshal(b, back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Snapshot, back.Snapshot, cmp.Comparer(func(a, b sql.Relation) bool {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return string(x) == string(y)
	})); d != "" {
		t.Errorf("after JSON: %s", d)
	}
	if back.Relation("app", "customers").Column("ssn").Number != 4 {
		t.Error("no index after JSON")
	}
	t.Logf("snapshot of %d relations in %d KiB of JSON", len(c.Relations), len(b)/1024)
}

// TestEpoch changes each kind of thing that a catalog holds.
func TestEpoch(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	s.Exec(t, db, extra)
	q := connect(t, s.DSN("agent_col", db))
	epoch := func() string {
		t.Helper()
		e, err := sql.Epoch(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, ddl := range []string{
		`CREATE TABLE app.t (a int)`, `ALTER TABLE app.t ADD b text DEFAULT 'x'`, `ALTER TABLE app.t RENAME b TO c`,
		`ALTER TABLE app.t ALTER c TYPE varchar(9)`, `ALTER TABLE app.t ALTER c SET DEFAULT 'y'`, `ALTER TABLE app.t ALTER c DROP DEFAULT`,
		`ALTER TABLE app.t ALTER a SET NOT NULL`, `ALTER TABLE app.t DROP c`, `ALTER TABLE app.t RENAME TO u`,
		`ALTER TABLE app.u SET SCHEMA public`, `ALTER TABLE public.u INHERIT app.parentless`, `ALTER TABLE public.u NO INHERIT app.parentless`,
		`ALTER TABLE public.u ADD PRIMARY KEY (a)`, `ALTER TABLE public.u ADD CHECK (a > 0)`, `ALTER TABLE public.u OWNER TO app_rw`,
		`ALTER TABLE public.u ENABLE ROW LEVEL SECURITY`, `CREATE POLICY p ON public.u USING (true)`, `ALTER POLICY p ON public.u USING (false)`,
		`CREATE TRIGGER g BEFORE INSERT ON public.u FOR EACH ROW EXECUTE FUNCTION app.trig()`, `ALTER TABLE public.u DISABLE TRIGGER g`,
		`CREATE RULE r AS ON DELETE TO public.u DO INSTEAD NOTHING`, `DROP TABLE public.u`,
		`CREATE OR REPLACE VIEW app.v_contact AS SELECT id, email AS label, ssn AS tax_ref FROM app.customers`,
		`ALTER VIEW app.v_contact SET (security_barrier)`, `ALTER VIEW app.v_contact RENAME label TO lbl`,
		`CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`, `CREATE OR REPLACE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 2'`,
		`ALTER FUNCTION app.f() SECURITY DEFINER`, `DROP FUNCTION app.f()`, `CREATE SCHEMA s`, `ALTER SCHEMA s RENAME TO s2`, `DROP SCHEMA s2`,
		`CREATE TYPE app.e AS ENUM ()`, `CREATE DOMAIN app.d AS int`, `ALTER DOMAIN app.d ADD CHECK (VALUE > 1)`, `ALTER DOMAIN app.d SET NOT NULL`,
		`CREATE OPERATOR app.!! (RIGHTARG = text, FUNCTION = app.short)`, `DROP CAST (app.pair AS int)`, `CREATE EXTENSION citext`, `CREATE SEQUENCE app.q`,
		`ALTER TABLE app.line DROP CONSTRAINT line_order_id_fkey`, `DROP INDEX app.line_short_idx`, `ALTER ROLE agent_col BYPASSRLS`,
	} {
		before := epoch()
		if strings.Contains(ddl, "parentless") && !strings.Contains(ddl, "NO INHERIT") {
			s.Exec(t, db, `CREATE TABLE app.parentless (a int NOT NULL)`)
			before = epoch()
		}
		s.Exec(t, db, ddl)
		if epoch() == before {
			t.Errorf("unchanged by %s", ddl)
		}
	}
	// What changes nothing that a catalog holds must not cause a load.
	before := epoch()
	for _, quiet := range []string{`VACUUM ANALYZE`, `TRUNCATE app.line`, `INSERT INTO app.orders SELECT g, 1 FROM generate_series(100, 999) g`,
		`CREATE TEMP TABLE tmp (a int DEFAULT 1 CHECK (a > 0), UNIQUE (a)); CREATE TEMP VIEW tv AS SELECT * FROM tmp; CREATE TEMP TABLE tc () INHERITS (tmp)`, `SELECT nextval('app.q')`, `REINDEX TABLE app.orders`, `GRANT SELECT ON app.orders TO PUBLIC`} {
		s.Exec(t, db, quiet)
		if e := epoch(); e != before {
			t.Errorf("changed by %s", quiet)
			before = e
		}
	}
}

// TestLoadLarge loads 100,000 columns, and fails only where that takes unreasonably long.
func TestLoadLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 2,000 tables")
	}
	s := server(t)
	db := s.Database(t)
	s.Exec(t, db, `DO $$ DECLARE cols text := (SELECT string_agg(format('column_%s %s', g, (ARRAY['int','text','numeric(10,2)','timestamptz','varchar(40)'])[g%5+1]), ', ')
FROM generate_series(1, 50) g); BEGIN FOR i IN 1..2000 LOOP EXECUTE format('CREATE TABLE public.table_%s (%s)', i, cols); IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$`)
	q := connect(t, s.DSN("agent_col", db))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	c := load(t, q)
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	start = time.Now()
	if _, err := sql.Epoch(context.Background(), q); err != nil {
		t.Fatal(err)
	}
	t.Logf("loaded %d relations in %v, %d MiB; epoch in %v", len(c.Relations), took.Round(time.Millisecond), (after.HeapAlloc-before.HeapAlloc)>>20, time.Since(start).Round(time.Millisecond))
	if took > 20*time.Second {
		t.Errorf("loading took %v", took)
	}
	if r := c.Relation("public", "table_2000"); r == nil || r.Column("column_50").Number != 50 {
		t.Error("the last column is missing")
	}
}

func BenchmarkLookup(b *testing.B) {
	var s sql.Snapshot
	for i := range uint32(2000) {
		r := sql.Relation{OID: 20000 + i, Schema: "public", Name: "table_" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)), Kind: sql.Table}
		for n := range int16(50) {
			r.Columns = append(r.Columns, sql.Column{Number: n + 1, Name: "column_" + string(rune('0'+n)), Type: 25})
		}
		s.Relations = append(s.Relations, r)
	}
	c := sql.NewCatalog(s)
	path := []string{"pg_catalog", "app", "public"}
	b.ReportAllocs()
	for b.Loop() {
		if c.ResolveRelation(path, "table_abc").Column("column_7") == nil {
			b.Fatal("not found")
		}
	}
}
