package session_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/session"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol/postgres"
)

// configure puts a Database with more lines of spec, and further documents, in force.
func (p *proxy) configure(lines, documents string, placeholders map[string]*postgres.Verifier) {
	p.t.Helper()
	text := strings.TrimSuffix(fmt.Sprintf(database, p.pg.Port), "---\n") + lines + "\n---\n" + documents
	set, err := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(text)}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.server.Swap(&session.Rules{Set: set, MaskKey: []byte("0123456789abcdef"), Placeholders: placeholders})
}

// document is one resource for subjects and databases of these tests.
func document(kind, name, rest string) string {
	return "apiVersion: sluicegate.io/v1alpha1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec:\n" +
		"  databases: [shop]\n  subjects: [{any: true}]\n" + rest + "---\n"
}

const readAll = "  rules: [{name: all, effect: allow, actions: [select], on: [\"app.*\"]}]\n"

// Each word of the configuration that bounds or opens something has its effect.
func TestConfiguredWords(t *testing.T) {
	p := start(t)
	now := time.Now().UTC()
	window := func(from, to time.Duration) string {
		return fmt.Sprintf(`  rules: [{name: w, effect: allow, actions: [select], on: [app.orders], match: {time: [{days: [mon-sun], from: "%s", to: "%s"}]}}]`+"\n",
			now.Add(from).Format("15:04"), now.Add(to).Format("15:04"))
	}
	grant := func(before, after time.Duration) string {
		return document("Grant", "g", readAll+fmt.Sprintf("  notBefore: %s\n  expires: %s\n",
			now.Add(before).Format(time.RFC3339), now.Add(after).Format(time.RFC3339)))
	}
	limit := func(words string) string {
		return document("Policy", "p", `  rules: [{name: all, effect: allow, actions: [select, update], on: ["app.*"]}]`+"\n  limits: {"+words+"}\n")
	}
	const ssn, two, three, slow, update = "SELECT ssn FROM app.customers WHERE id = 1", "SELECT id::text FROM app.orders LIMIT 2", "SELECT id::text FROM app.orders LIMIT 3",
		"SELECT pg_sleep(5)::text", "UPDATE app.orders SET total = total WHERE id < 3 RETURNING id::text"
	tests := []struct {
		name, lines, documents string
		sql, want, code        string // want: the first value; or the SQLSTATE
	}{
		{"masked", "", document("Policy", "p", readAll), ssn, "***6789", ""},
		{"reveal", "", document("Policy", "p", readAll+"  reveal: [ssn]\n"), ssn, "123-45-6789", ""},
		{"unlabelled allow", "", document("Policy", "p", readAll), "SELECT name FROM app.customers WHERE id = 1", "Alice", ""},
		{"unlabelled mask", "  unlabelled: mask\n", document("Policy", "p", readAll), "SELECT coalesce(max(name), 'none') FROM app.customers", "none", ""},
		{"unlabelled deny", "  unlabelled: deny\n", document("Policy", "p", readAll), "SELECT name FROM app.customers WHERE id = 1", "", "42501"},
		{"unlabelled deny and clear", "  unlabelled: deny\n  clear: [app.customers.name, app.customers.id]\n", document("Policy", "p", readAll), "SELECT name FROM app.customers WHERE id = 1", "Alice", ""},
		{"database name", "  databaseNames: [other]\n", document("Policy", "p", readAll), ssn, "", "42501"},
		{"in its window", "", document("Policy", "p", window(-time.Hour, time.Hour)), "SELECT count(*)::text FROM app.orders WHERE false", "0", ""},
		{"out of its window", "", document("Policy", "p", window(time.Hour, 2*time.Hour)), "SELECT count(*)::text FROM app.orders WHERE false", "", "42501"},
		{"grant", "", grant(-time.Hour, time.Hour), ssn, "***6789", ""},
		{"grant to come", "", grant(time.Hour, 2*time.Hour), ssn, "", "42501"},
		{"grant that ended", "", grant(-2*time.Hour, -time.Hour), ssn, "", "42501"},
		{"as many rows", "", limit("rows: 2"), two, "", ""},
		{"too many rows", "", limit("rows: 2"), three, "", "54000"},
		{"too many bytes", "", limit("bytes: 20"), three, "", "54000"},
		{"too long", "", strings.Replace(limit("time: 300ms"), "  limits", "  functions: [pg_catalog.pg_sleep]\n  limits", 1), slow, "", "57014"},
		{"as many affected", "", limit("affected: 2"), update, "", ""},
		{"too many affected", "", limit("affected: 1"), update, "", "54000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.configure(tt.lines, tt.documents, nil)
			c, err := p.connect()
			if err == nil {
				defer c.Close(context.Background())
				var got string
				got, err = all(c, tt.sql)
				if tt.want != "" && got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
			if code(err) != tt.code || err != nil && tt.code == "" {
				t.Errorf("got %v, want code %q", err, tt.code)
			}
		})
	}
}

// all reads every row and returns the first column of the first one.
func all(c *pgx.Conn, sql string) (first string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	rows, err := c.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		if v := rows.RawValues(); n == 0 && len(v) > 0 {
			first = string(v[0])
		}
	}
	return first, rows.Err()
}

func TestPlaceholder(t *testing.T) {
	p := start(t)
	v, err := credential.NewVerifier(credential.NewSecret([]byte("placeholder")), 0)
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]*postgres.Verifier{"shop": {Salt: v.Salt, Iterations: v.Iterations, StoredKey: v.StoredKey[:], ServerKey: v.ServerKey[:]}}
	lines := "  clientAuth: scram\n  clientPasswordFile: /etc/placeholder\n"
	p.configure(lines, document("Policy", "p", readAll), good)
	c := p.mustConnect()
	if _, err := one(c, "SELECT name FROM app.customers WHERE id = 1"); err != nil {
		t.Errorf("with the placeholder: %v", err)
	}
	other, err := credential.NewVerifier(credential.NewSecret([]byte("another")), 0)
	if err != nil {
		t.Fatal(err)
	}
	wrong := map[string]*postgres.Verifier{"shop": {Salt: other.Salt, Iterations: other.Iterations, StoredKey: other.StoredKey[:], ServerKey: other.ServerKey[:]}}
	p.configure(lines, document("Policy", "p", readAll), wrong)
	if _, err := p.connect(); code(err) != "28P01" {
		t.Errorf("with another password = %v, want 28P01", err)
	}
	c.Close(context.Background())
	p.ended(2)
	if n := p.traffic.Foreign.Load(); n != 1 {
		t.Errorf("%d foreign credentials counted, want 1", n)
	}
	if got := p.notices("foreign-credential"); !slices.Equal(got, []string{"app_rw by scram: the workload presented a password that is not the placeholder"}) {
		t.Errorf("recorded: %q", got)
	}
	p.configure(lines, document("Policy", "p", readAll), nil)
	if _, err := p.connect(); code(err) != "58000" {
		t.Errorf("without a verifier = %v, want 58000: nothing weaker", err)
	}
}

func TestDetectors(t *testing.T) {
	p := start(t)
	const text = "SELECT 'write to bob@example.com, card 4111 1111 1111 1111'::text"
	p.configure("  detect: [email, credit-card]\n", document("Policy", "p", readAll), nil)
	c := p.mustConnect()
	want := "write to [email], card [credit-card]"
	for mode, sql := range map[string]string{"extended": text, "simple": text} {
		var got string
		var err error
		if mode == "simple" {
			got, err = all(c, sql)
		} else {
			got, err = one(c, sql)
		}
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v", mode, got, err)
		}
	}
	if n := p.traffic.Masked.Snapshot()["email"]; n != 2 {
		t.Errorf("%d addresses counted, want 2", n)
	}
	var copied strings.Builder
	if _, err := c.PgConn().CopyTo(context.Background(), &copied, "COPY ("+text+") TO STDOUT"); err != nil || copied.String() != want+"\n" {
		t.Errorf("COPY: got %q, %v", &copied, err)
	}
	// What they don't look into does not leave.
	_, err := c.PgConn().CopyTo(context.Background(), new(strings.Builder), "COPY (SELECT name FROM app.customers) TO STDOUT (FORMAT binary)")
	if code(err) != "42501" {
		t.Errorf("COPY = %v, want 42501", err)
	}
	p.configure("  detect: [email, credit-card]\n", document("Policy", "p", readAll+"  reveal: [email]\n"), nil)
	if got, err := all(c, text); err != nil || got != "write to bob@example.com, card [credit-card]" {
		t.Errorf("revealed: got %q, %v", got, err)
	}
	p.configure("", document("Policy", "p", readAll), nil)
	if got, err := all(c, text); err != nil || !strings.Contains(got, "bob@example.com, card 4111") {
		t.Errorf("without detectors: got %q, %v", got, err)
	}
}

// Neither another format nor an error is a way around them.
func TestDetectorsSeeWhatIsNested(t *testing.T) {
	p := start(t)
	p.configure("  detect: [email]\n", document("Policy", "p", readAll), nil)
	c := p.mustConnect().PgConn()
	ctx := context.Background()
	for _, text := range []string{"'bob@example.com'::text", "ARRAY['bob@example.com']", "jsonb_build_object('a', 'bob@example.com')",
		"ROW('bob@example.com'::text)", "ARRAY[ROW(1, ARRAY['bob@example.com'])]", "ARRAY[to_jsonb('bob@example.com'::text)]",
		"ARRAY['bob@example.com'::varchar]", "json_build_array('bob@example.com')"} {
		for format := range int16(2) {
			r := c.ExecParams(ctx, "SELECT "+text, nil, nil, nil, []int16{format}).Read()
			if r.Err != nil || len(r.Rows) != 1 || strings.Contains(string(r.Rows[0][0]), "bob") || !strings.Contains(string(r.Rows[0][0]), "[email]") {
				t.Errorf("%s in format %d: %q, %v", text, format, r.Rows, r.Err)
			}
		}
	}
	p.pg.Exec(t, p.name, "INSERT INTO app.customers (id, name) VALUES (99, 'bob@example.com')")
	for _, sql := range []string{"SELECT name::int FROM app.customers WHERE id = 99", "SELECT lower(name)::date FROM app.customers WHERE id = 99"} {
		for _, err := range []error{c.Exec(ctx, sql).Close(), c.ExecParams(ctx, sql, nil, nil, nil, nil).Read().Err} {
			if err == nil || strings.Contains(err.Error(), "bob") {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
}

// A startup parameter takes the values that SET takes.
func TestStartupValues(t *testing.T) {
	p := start(t)
	p.use(mayRead, nil)
	for params, want := range map[string]string{
		"client_min_messages=debug5":                            "42501",
		"options=-c%20client_min_messages%3Ddebug1":             "42501",
		"options=-c%20Client_Min_Messages%3Dlog":                "42501",
		"client_min_messages=warning&extra_float_digits=2":      "",
		"DateStyle=ISO&TimeZone=UTC&IntervalStyle=iso_8601":     "",
		"options=-c%20geqo%3Doff%20--bytea-output%3Descape":     "",
		"search_path=app,public&application_name=some%20client": "",
	} {
		p.params = params
		c, err := p.connect()
		if code(err) != want || want == "" && err != nil {
			t.Errorf("%s: %v, want %q", params, err, want)
		}
		if err == nil {
			c.Close(context.Background())
		}
	}
}

func TestBudgetsSuspend(t *testing.T) {
	p := start(t)
	refused := func(c *pgx.Conn, sql string) string {
		_, err := all(c, sql)
		return code(err)
	}
	ok := "SELECT id::text FROM app.orders LIMIT 3"
	for _, tt := range []struct {
		budget, sql string
		runs        int
	}{
		{"statements: 2", ok, 2},
		{"rows: 5", ok, 2},
		{"denials: 1", "DELETE FROM app.orders", 2},
	} {
		p.conn.Process.User = strings.TrimSuffix(tt.budget[:4], " ") // another subject each
		p.configure("", document("Policy", "p", readAll+"  budgets: [{per: 1h, "+tt.budget+", then: suspend}]\n"), nil)
		c := p.mustConnect()
		for i := range tt.runs {
			if got := refused(c, tt.sql); got == "53400" {
				t.Errorf("%s: suspended after %d", tt.budget, i)
			}
		}
		if got := refused(c, ok); got != "53400" {
			t.Errorf("%s: then %q, want 53400", tt.budget, got)
		}
		// It is the subject that is suspended, in every session, and no other subject.
		if got := refused(p.mustConnect(), ok); got != "53400" {
			t.Errorf("%s: in another session %q, want 53400", tt.budget, got)
		}
		p.conn.Process.User = "somebody else"
		if got := refused(p.mustConnect(), "SELECT 'x'"); got != "" && tt.budget == "statements: 2" {
			t.Errorf("%s: another subject gets %q", tt.budget, got)
		}
	}
}

// A flood of subjects is refused; whom the ledger knows is counted on.
func TestBudgetsAndAFloodOfSubjects(t *testing.T) {
	p := start(t)
	p.server = session.NewServer(session.Options{Redirector: p.red, Store: p.store, Traffic: &p.traffic, Accounts: 1})
	p.configure("", document("Policy", "p", readAll+"  budgets: [{per: 1h, statements: 2, then: suspend}]\n"), nil)
	first := p.mustConnect()
	run := func(c *pgx.Conn) error {
		_, err := all(c, "SELECT id::text FROM app.orders LIMIT 1")
		return err
	}
	if err := run(first); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		p.conn.Process.User = fmt.Sprint("user", i)
		err := run(p.mustConnect())
		if e := (*pgconn.PgError)(nil); code(err) != "53400" {
			t.Errorf("new subject %d = %v %v, want 53400", i, err, e)
		}
	}
	if err := run(first); err != nil {
		t.Errorf("the second of two: %v", err)
	}
	if err := run(first); code(err) != "53400" {
		t.Errorf("the third of two = %v, want 53400", err)
	}
}

// One workload can't take the places of the others.
func TestWorkloadSessions(t *testing.T) {
	p := start(t)
	p.configure("", document("Policy", "p", readAll)+`apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: a}
spec: {sessions: 3, workloadSessions: 2}
`, nil)
	p.conn.CgroupID = 1
	first, _ := p.mustConnect(), p.mustConnect()
	if _, err := p.connect(); code(err) != "53300" {
		t.Errorf("a third one = %v, want 53300", err)
	}
	p.conn.CgroupID = 2
	p.mustConnect()
	if _, err := p.connect(); code(err) != "53300" {
		t.Errorf("a fourth in all = %v, want 53300", err)
	}
	first.Close(context.Background())
	p.conn.CgroupID = 1
	var err error
	for range 100 {
		var c *pgx.Conn
		if c, err = p.connect(); err == nil {
			c.Close(context.Background())
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}
