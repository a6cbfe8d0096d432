package harden_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/harden"
	"sluicegate.io/sluice/policy/mask"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/pgtest"
)

// demo is the policy that the corpora were written for, in mode role.
const demo = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  credential: {username: shop_agent}
  mode: role
  sensitive:
    - {tag: ssn,   columns: ["app.customers.ssn"],  mask: {keepLast: 4}}
    - {tag: card,  columns: ["app.customers.card"], mask: {keepLast: 4}}
    - {tag: email, columns: ["*.*.email"],          mask: email}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: agent}
spec:
  subjects: [{any: true}]
  databases: [shop]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers, app.orders]}
    - {name: risky, effect: approve, actions: [insert, update, delete, merge, truncate, lock], on: ["app.customers", "app.orders"]}
    - {name: listen, effect: allow, actions: [listen], on: ["*"]}
    - {name: no-ddl, effect: deny, actions: [ddl], reason: "schema changes go through migrations"}
`

const login = "shop_agent"

var now = time.Now()

// querier runs simple queries on a pgconn.
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

func connect(t testing.TB, dsn string) querier {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return querier{conn}
}

// fixture is a database, its policy and an administrator.
type fixture struct {
	*pgtest.Server
	db    string
	set   *policy.Set
	admin querier
	seen  *sql.Catalog
}

func start(t testing.TB, text string, setup ...string) *fixture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to start PostgreSQL as another user")
	}
	f := &fixture{Server: pgtest.Start(t, pgtest.Options{})}
	f.db = f.Database(t)
	for _, s := range setup {
		f.Exec(t, f.db, s)
	}
	f.load(t, text)
	f.admin = connect(t, f.SocketDSN(f.db))
	return f
}

func (f *fixture) load(t testing.TB, text string) {
	t.Helper()
	set, err := policy.Load([]policy.File{{Name: "demo.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	f.set = set
}

func secret(tag string) mask.Key { return mask.NewKey([]byte("0123456789abcdef"), tag) }

func (f *fixture) plan(t testing.TB) *harden.Plan {
	t.Helper()
	c, err := sql.LoadCatalog(context.Background(), f.admin)
	if err != nil {
		t.Fatal(err)
	}
	p, err := harden.New(c, f.set, "shop", harden.Options{Key: secret})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// apply hardens the database, and checks that nothing is left to do.
func (f *fixture) apply(t testing.TB) *harden.Plan {
	t.Helper()
	p := f.plan(t)
	if _, left, err := p.Apply(context.Background(), f.admin); err != nil || len(left) > 0 {
		t.Fatalf("apply: %v, left %v", err, texts(left))
	}
	if d := f.diff(t); len(d) > 0 {
		t.Fatalf("after apply there is still: %v", texts(d))
	}
	return p
}

func (f *fixture) diff(t testing.TB) []harden.Change {
	t.Helper()
	p := f.plan(t)
	l, err := p.Compare(context.Background(), f.admin)
	if err != nil {
		t.Fatal(err)
	}
	return p.Diff(l)
}

func texts(all []harden.Change) []string {
	var out []string
	for _, c := range all {
		out = append(out, c.Text)
	}
	return out
}

// judged is a session of the scoped login behind a judge.
type judged struct {
	c    *sql.Catalog
	v    *policy.View
	conn *pgconn.PgConn
	out  corpus.Transcript
	text []string
}

func (f *fixture) judged(t testing.TB, opts ...string) *judged {
	t.Helper()
	// The catalog that the login itself sees, loaded again when it has changed.
	q := connect(t, f.DSN(login, f.db))
	defer q.conn.Close(context.Background())
	epoch, err := sql.Epoch(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if f.seen == nil || f.seen.Epoch != epoch {
		if f.seen, err = sql.LoadCatalog(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	c := f.seen
	v, _ := f.set.View(&policy.Subject{}, "shop", time.Now())
	j := &judged{c: c, v: v}
	j.dial(t, f, opts...)
	return j
}

func (j *judged) dial(t testing.TB, f *fixture, opts ...string) {
	conf, err := pgconn.ParseConfig(f.DSN(login, f.db))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range opts {
		k, v, _ := strings.Cut(o, "=")
		conf.RuntimeParams[k] = v
	}
	conf.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		j.out.Text += "NoticeResponse " + n.Message + n.Detail + "\n"
	}
	conf.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		j.out.Text += "NotificationResponse " + n.Payload + "\n"
	}
	if j.conn, err = pgconn.ConnectConfig(context.Background(), conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.conn.Close(context.Background()) })
}

func (j *judged) refuse(code, message string) {
	j.out.Codes = append(j.out.Codes, code)
	j.out.Errors = append(j.out.Errors, message)
	j.out.Text += "ErrorResponse " + message + "\n"
}

// send judges a text and runs what became of it, even if it is held.
func (j *judged) send(t testing.TB, text string, ext bool, bind *string, held bool) {
	var path []string
	if r := j.conn.ExecParams(context.Background(), "SELECT unnest(pg_catalog.current_schemas(true))", nil, nil, nil, nil).Read(); r.Err == nil {
		for _, row := range r.Rows {
			path = append(path, string(row[0]))
		}
	}
	got, _ := sql.Judge(j.c, j.v, &protocol.Query{Text: text, Path: path, Parse: ext}, sql.Options{})
	switch {
	case got.Refusal != nil:
		j.refuse(got.Refusal.Code, got.Refusal.Message)
		return
	case got.Hold && !held:
		j.refuse("42501", "held for approval")
		return
	}
	j.text = append(j.text, got.Text)
	j.run(got.Text, ext, bind, len(got.Plans) == 1 && got.Plans[0].Effect.Kind == protocol.CopiesOut)
}

func (j *judged) run(text string, ext bool, bind *string, copies bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if copies {
		var b strings.Builder
		if _, err := j.conn.CopyTo(ctx, &b, text); err != nil {
			j.failed(err)
		}
		j.out.Text += "CopyData " + b.String()
		j.out.Rows += strings.Count(b.String(), "\n")
		return
	}
	var results []*pgconn.Result
	if ext {
		var params [][]byte
		if bind != nil && strings.Contains(text, "$1") {
			params = append(params, []byte(*bind))
		}
		results = append(results, j.conn.ExecParams(ctx, text, params, nil, nil, nil).Read())
		if err := results[0].Err; err != nil {
			j.failed(err)
		}
	} else {
		var err error
		if results, err = j.conn.Exec(ctx, text).ReadAll(); err != nil {
			j.failed(err)
		}
	}
	for _, r := range results {
		for _, row := range r.Rows {
			j.out.Rows++
			j.out.Text += "DataRow"
			for _, v := range row {
				j.out.Text += "|" + string(v)
			}
			j.out.Text += "\n"
		}
		j.out.Text += "CommandComplete " + r.CommandTag.String() + "\n"
	}
}

func (j *judged) failed(err error) {
	if pe, ok := err.(*pgconn.PgError); ok {
		j.refuse(pe.Code, pe.Message+" "+pe.Detail+" "+pe.Hint+" "+pe.Where)
		return
	}
	j.refuse("XX000", err.Error())
}

// cases reads the files of the corpus that match a pattern.
func cases(t testing.TB, pattern string) []corpus.Case {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("../../test/corpus", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	var all []corpus.Case
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		some, err := corpus.Parse(name, string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

func one(format string, args ...any) string { return fmt.Sprintf(format, args...) }
