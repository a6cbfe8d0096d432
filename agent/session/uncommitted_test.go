package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// What a transaction has made is refused until it is committed, and the error says so.
func TestTableOfTheOpenTransaction(t *testing.T) {
	p := start(t)
	p.pg.Exec(t, p.name, "GRANT CREATE ON SCHEMA app TO app_rw")
	p.configure("", document("Policy", "p", `  rules: [{name: all, effect: allow, actions: [select, insert, ddl], on: ["app.*"]}]`+"\n"), nil)
	c := p.mustConnect()
	run := func(sql string) error {
		_, err := all(c, sql)
		return err
	}
	for _, sql := range []string{"BEGIN", "CREATE TABLE app.fresh (x text)"} {
		if err := run(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var e *pgconn.PgError
	if err := run("SELECT x FROM app.fresh"); !errors.As(err, &e) || !strings.Contains(e.Hint, "COMMIT first") {
		t.Errorf("in the transaction: %v, hint %q", err, e.Hint)
	}
	run("ROLLBACK")
	for _, sql := range []string{"BEGIN", "CREATE TABLE app.fresh (x text)", "COMMIT", "INSERT INTO app.fresh VALUES ('a')"} {
		if err := run(sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if got, err := all(c, "SELECT x FROM app.fresh"); err != nil || got != "a" {
		t.Errorf("after COMMIT: %q, %v", got, err)
	}
	_, err := c.Exec(context.Background(), "SELECT x FROM app.nothing")
	if errors.As(err, &e); strings.Contains(e.Hint, "COMMIT first") {
		t.Errorf("without a change: hint %q", e.Hint)
	}
}
