package session_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// mayDoAll is everything, since the one sensitive column is revealed.
const mayDoAll = `  subjects: [{any: true}]
  rules: [{name: all, effect: allow, actions: [any], on: ["*"]}]
  reveal: [ssn]
`

// What the analysis does not follow passes where nothing is protected, and the
// session goes on as the server has it.
func TestEverythingAllowed(t *testing.T) {
	p := start(t)
	p.use(mayDoAll, nil)
	c := p.mustConnect()
	ctx := context.Background()
	run := func(sql string) string {
		t.Helper()
		results, err := c.PgConn().Exec(ctx, sql).ReadAll()
		var out []string
		for _, r := range results {
			out = append(out, r.CommandTag.String())
			for _, row := range r.Rows {
				out = append(out, string(row[0]))
			}
		}
		if err != nil {
			out = append(out, code(err))
		}
		return strings.Join(out, " ")
	}
	for _, tt := range []struct{ sql, want string }{
		{"CREATE TEMP TABLE x (a int); INSERT INTO x VALUES (1), (2)", "CREATE TABLE INSERT 0 2"},
		{"DO $$ BEGIN PERFORM 1; END $$", "DO"},
		{"BEGIN; DECLARE f CURSOR FOR SELECT a FROM x ORDER BY a", "BEGIN DECLARE CURSOR"},
		{"FETCH f", "FETCH 1 1"},
		{"FETCH f; COMMIT", "FETCH 1 2 COMMIT"},
		{"PREPARE q AS SELECT max(a) FROM x", "PREPARE"},
		{"EXECUTE q", "SELECT 1 2"},
		{"DISCARD PLANS", "DISCARD PLANS"},
		{"EXECUTE q", "SELECT 1 2"},
		{"EXECUTE other", "26000"},
		{"SELECT 1; /*" + strings.Repeat(" ", 2<<20) + "*/ SELECT 2; SELECT a FROM x", "SELECT 1 1 SELECT 1 2 SELECT 2 1 2"},
		{"SET standard_conforming_strings = off", "SET"},
		{`SELECT 'a\'; DROP TABLE x; --'`, "SELECT 1 a'; DROP TABLE x; --"},
		{"SET standard_conforming_strings = on", "SET"},
		{`SELECT count(*) FROM x WHERE '\' <> ''`, "SELECT 1 2"},
	} {
		if got := run(tt.sql); got != tt.want {
			t.Errorf("%.80q = %q, want %q", tt.sql, got, tt.want)
		}
	}
	if tag, err := c.PgConn().CopyFrom(ctx, strings.NewReader("3\n4\n"), "COPY x FROM STDIN"); err != nil || tag.RowsAffected() != 2 {
		t.Errorf("COPY FROM STDIN = %v, %v", tag, err)
	}
	if v, err := one(c, "SELECT a::text FROM x WHERE a = $1", 4); err != nil || v != "4" {
		t.Errorf("by a prepared statement = %q, %v", v, err)
	}
}

// A session whose texts are read by other rules than the analysis ends when they
// have to be judged again.
func TestMisreadTextsEndWithTheFreedom(t *testing.T) {
	p := start(t)
	p.use(mayDoAll, nil)
	c := p.mustConnect()
	ctx := context.Background()
	if _, err := c.Exec(ctx, "SET standard_conforming_strings = off", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	p.use(mayRead, nil)
	_, err := c.Exec(ctx, "SELECT 1", pgx.QueryExecModeSimpleProtocol)
	if code(err) != "42501" || !c.IsClosed() {
		t.Errorf("after the rules changed: %v, closed %v", err, c.IsClosed())
	}
}

// Sluice's own connection to a database does not keep it from being dropped.
func TestDropDatabase(t *testing.T) {
	p := start(t)
	p.use(mayDoAll, nil)
	p.pg.Exec(t, p.name, "ALTER ROLE app_rw CREATEDB")
	ctx := context.Background()
	admin := p.mustConnect()
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	exec("CREATE DATABASE passing")
	p.name = "passing"
	c, err := p.connect()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := one(c, "SELECT current_database()"); err != nil || v != "passing" {
		t.Fatalf("current_database() = %q, %v", v, err)
	}
	c.Close(ctx)
	exec("DROP DATABASE passing")
}
