package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// shadowed has a function that hides a built-in one under another search path, and
// gives away what nobody may see; path sets that path, as functions that choose a tenant do.
const shadowed = `
CREATE FUNCTION app.lower(varchar) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT string_agg(ssn, '','') FROM app.customers';
CREATE FUNCTION app.path(text) RETURNS text LANGUAGE sql AS 'SELECT set_config(''search_path'', $1, false)';
CREATE FUNCTION app.tell(text) RETURNS bool LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RAISE EXCEPTION ''%'', (SELECT string_agg(ssn, '','') FROM app.customers); END';
CREATE DOMAIN app.date AS text CHECK (app.tell(VALUE));
CREATE TABLE app.words (id int PRIMARY KEY, body varchar);
INSERT INTO app.words VALUES (1, 'X');
CREATE TABLE app.rows (id int PRIMARY KEY, n int);
INSERT INTO app.rows SELECT g, g FROM generate_series(1, 10) g;
GRANT ALL ON app.words, app.rows TO app_rw;`

// equal hides = under that path, which clauses stand for that do not show it.
const equal = `
CREATE FUNCTION app.same(int, numeric) RETURNS bool LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RAISE EXCEPTION ''%'', (SELECT string_agg(ssn, '','') FROM app.customers); END';
CREATE OPERATOR app.= (LEFTARG = int, RIGHTARG = numeric, FUNCTION = app.same);`

const shadowedRules = `  subjects: [{any: true}]
  functions: [app.path]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers, app.orders, app.words, app.rows, app.made]}
    - {name: write, effect: allow, actions: [insert, update], on: [app.words, app.rows, app.made]}
    - {name: few, effect: allow, actions: [delete], on: [app.rows], match: {affected: "<=2"}}
    - {name: make, effect: allow, actions: [create, drop], on: [app.made]}
`

// lower finds pg_catalog.lower, or app.lower under another path.
const lower = "SELECT lower(body) FROM app.words"

const moves = "SELECT set_config('search_path', 'app, pg_catalog', false)"

// What a name was judged to mean is what it means when it is read, whatever moves
// the search path in between. A message that begins with "parse NAME:" prepares what follows by
// Parse, and "bind NAME" runs it by Bind and Execute.
func TestNamesAfterTheirPathHasMoved(t *testing.T) {
	p := start(t)
	p.pg.Exec(t, p.name, shadowed+equal)
	p.use(shadowedRules, nil)
	for name, messages := range map[string][]string{
		"set":                        {lower, "SET search_path = app, pg_catalog", lower},
		"set_config":                 {lower, moves, lower},
		"execute":                    {"PREPARE p AS " + moves, lower, "EXECUTE p", lower},
		"execute in one text":        {"PREPARE p AS " + moves, lower, "EXECUTE p; " + lower},
		"execute by message":         {"PREPARE p AS " + moves, lower, "parse x:EXECUTE p", "bind x", lower},
		"fetch":                      {"BEGIN; DECLARE c CURSOR FOR " + moves, lower, "FETCH c", lower, "COMMIT"},
		"move":                       {"BEGIN; DECLARE c CURSOR FOR " + moves, lower, "MOVE c", lower, "COMMIT"},
		"hold":                       {"BEGIN; DECLARE c CURSOR WITH HOLD FOR " + moves, lower, "COMMIT", lower},
		"hold in one text":           {lower, "BEGIN; DECLARE c CURSOR WITH HOLD FOR " + moves + "; COMMIT; " + lower},
		"copy":                       {lower, "COPY (" + moves + ") TO STDOUT", lower},
		"explain":                    {lower, "EXPLAIN ANALYZE " + moves, lower},
		"argument of execute":        {"PREPARE p(text) AS SELECT $1", lower, "EXECUTE p(set_config('search_path', 'app, pg_catalog', false))", lower},
		"message, then text":         {"parse x:" + moves, lower, "EXECUTE x", lower},
		"set by name":                {"parse x:SET search_path = app, pg_catalog", lower, "EXECUTE x", lower},
		"set before execute":         {"PREPARE q AS " + lower, "SET search_path = app, pg_catalog; EXECUTE q"},
		"set between":                {"PREPARE q AS " + lower + "; SET search_path = app, pg_catalog; EXECUTE q"},
		"set before what was parsed": {"parse x:" + lower, "SET search_path = app, pg_catalog; EXECUTE x"},
		"prepared under another":     {"SET search_path = app, pg_catalog", "SET search_path = public; PREPARE q AS " + lower + "; SET search_path = app, pg_catalog", "EXECUTE q"},
		"end of a local one":         {"SET search_path = app, pg_catalog", "BEGIN; SET LOCAL search_path = public", "PREPARE q AS " + lower, "COMMIT; EXECUTE q"},
		"listed function":            {lower, "SELECT app.path('app, pg_catalog')", lower},
		"listed function, one text":  {lower, "SELECT app.path('app, pg_catalog'); " + lower},
		"listed function, by name":   {"PREPARE p AS SELECT app.path('app, pg_catalog')", lower, "EXECUTE p", lower},
		"listed function, held":      {"BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT app.path('app, pg_catalog')", lower, "COMMIT", lower},
		"field":                      {"SET search_path = app, pg_catalog", "SELECT (1).f_get_ssn", "SELECT (o.id).f_get_ssn FROM app.orders o WHERE id = 1"},
		"field of nothing known":     {"SET search_path = app, pg_catalog", "SELECT (x).f_get_ssn FROM (SELECT 1 AS x) y", "PREPARE f(int) AS SELECT ($1).f_get_ssn", "EXECUTE f(1)"},
		"operator of CASE":           {"SET search_path = app, pg_catalog", "SELECT CASE o.customer_id WHEN 7::numeric THEN 1 ELSE 2 END FROM app.orders o"},
		"operator of USING":          {"SET search_path = app, pg_catalog", "SELECT 1 FROM app.orders o JOIN (SELECT 7::numeric AS id) x USING (id)", "SELECT 1 FROM app.orders o NATURAL JOIN (SELECT 7::numeric AS id) x"},
		"column":                     {"SET search_path = app, pg_catalog", "SELECT o.id.f_get_ssn FROM app.orders o WHERE id = 1", "SELECT o.whole FROM app.orders o"},
		"type":                       {"SELECT '2020-01-01'::date", "SET search_path = app, pg_catalog", "SELECT '2020-01-01'::date"},
		"type, prepared":             {"PREPARE t AS SELECT '2020-01-01'::date", "SET search_path = app, pg_catalog", "EXECUTE t"},
		"type, by message":           {"parse t:SELECT '2020-01-01'::date", "SET search_path = app, pg_catalog", "bind t"},
		"view":                       {"CREATE VIEW app.made AS " + moves, lower, "SELECT * FROM app.made", lower, "DROP VIEW app.made"},
		"default":                    {"CREATE TABLE app.made (id int, t text DEFAULT set_config('search_path', 'app, pg_catalog', false))", lower, "INSERT INTO app.made (id) VALUES (1)", lower, "DROP TABLE app.made"},
	} {
		t.Run(name, func(t *testing.T) {
			c := p.mustConnect().PgConn()
			for _, m := range messages {
				told, err := send(c, m)
				if strings.Contains(told, "123-45-6789") || err != nil && strings.Contains(err.Error(), "123-45-6789") {
					t.Errorf("%s: gave away %q", m, told)
				}
				if err != nil {
					t.Logf("%s: %v", m, err)
				}
			}
		})
	}
}

// A path that a listed function has set is the one that the next statement is judged by.
func TestPathOfAFunctionIsFollowed(t *testing.T) {
	p := start(t)
	p.pg.Exec(t, p.name, shadowed)
	p.use(shadowedRules, nil)
	c := p.mustConnect().PgConn()
	for _, m := range []string{lower, "SELECT app.path('app')", "SELECT n FROM rows WHERE id = 1",
		"PREPARE p AS SELECT app.path('public')", "EXECUTE p"} {
		if _, err := send(c, m); err != nil {
			t.Fatalf("%s: %v", m, err)
		}
	}
	if _, err := send(c, "SELECT n FROM rows WHERE id = 1"); err == nil {
		t.Error("the path was not followed")
	}
	if _, err := send(c, "SELECT app.path('app'); SELECT n FROM app.rows"); err != nil {
		t.Errorf("a qualified name behind a listed function: %v", err)
	}
}

// EXECUTE of what Parse has prepared runs queries: something that executes, commits or
// prepares would do so behind the session's back.
func TestExecuteRunsQueriesOnly(t *testing.T) {
	p := start(t)
	p.pg.Exec(t, p.name, shadowed)
	p.use(shadowedRules, nil)
	for name, messages := range map[string][]string{
		"execute":    {"PREPARE q AS DELETE FROM app.rows", "parse x:EXECUTE q", "EXECUTE x"},
		"twice":      {"PREPARE q AS DELETE FROM app.rows", "parse x:EXECUTE q", "parse y:EXECUTE x", "bind y"},
		"exchange":   {"PREPARE q AS SELECT 1", "parse d:DEALLOCATE q", "parse e:PREPARE q AS DELETE FROM app.rows", "EXECUTE d", "EXECUTE e", "EXECUTE q"},
		"by message": {"PREPARE q AS DELETE FROM app.rows", "bind q"},
		"by text":    {"parse q:DELETE FROM app.rows", "EXECUTE q"},
		"portal":     {"BEGIN", "parse q:DELETE FROM app.rows RETURNING id", "EXECUTE q", "COMMIT"},
	} {
		t.Run(name, func(t *testing.T) {
			c := p.mustConnect().PgConn()
			for _, m := range messages {
				if _, err := send(c, m); err != nil {
					t.Logf("%s: %v", m, err)
				}
			}
			if rows, err := p.pg.Query(p.name, "SELECT count(*) FROM app.rows"); err != nil || rows[0] != "10" {
				t.Errorf("rows left: %v, %v", rows, err)
				p.pg.Exec(t, p.name, "INSERT INTO app.rows SELECT g, g FROM generate_series(1, 10) g ON CONFLICT DO NOTHING")
			}
		})
	}
	c := p.mustConnect().PgConn()
	for _, m := range []string{"parse x:SELECT n FROM app.rows WHERE id = 1", "EXECUTE x", "parse y:EXPLAIN SELECT 1", "EXECUTE y"} {
		if _, err := send(c, m); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
}

// send sends one message, and returns the values that come back.
func send(c *pgconn.PgConn, message string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var told strings.Builder
	row := func(values [][]byte) {
		for _, v := range values {
			told.WriteString(string(v) + "\n")
		}
	}
	if rest, ok := strings.CutPrefix(message, "parse "); ok {
		name, text, _ := strings.Cut(rest, ":")
		_, err := c.Prepare(ctx, name, text, nil)
		return "", err
	}
	if name, ok := strings.CutPrefix(message, "bind "); ok {
		r := c.ExecPrepared(ctx, name, nil, nil, nil)
		for r.NextRow() {
			row(r.Values())
		}
		_, err := r.Close()
		return told.String(), err
	}
	if strings.HasPrefix(message, "COPY") {
		_, err := c.CopyTo(ctx, &told, message)
		return told.String(), err
	}
	results := c.Exec(ctx, message)
	for results.NextResult() {
		for results.ResultReader().NextRow() {
			row(results.ResultReader().Values())
		}
	}
	return told.String(), results.Close()
}
