package sql_test

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
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/test/corpus"
	"sluicegate.io/sluice/test/pgtest"
)

// demo is the policy that the corpora were written for.
const demo = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  credential: {username: u}
  %s
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

// view compiles a policy text and returns what everybody may do by it.
func view(t testing.TB, text string) *policy.View {
	t.Helper()
	set, err := policy.Load([]policy.File{{Name: "demo.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := set.View(&policy.Subject{}, "shop", time.Now())
	return v
}

func demoView(t testing.TB) *policy.View { return view(t, fmt.Sprintf(demo, "")) }

func cases(t testing.TB, file string) []corpus.Case {
	t.Helper()
	name := filepath.Join("../../test/corpus", file)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all, err := corpus.Parse(name, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// client is a session in front of which every text is judged.
type client struct {
	c    *sql.Catalog
	v    *policy.View
	conn *pgconn.PgConn
	out  corpus.Transcript
	text []string // what the server got
}

func (c *client) path(t testing.TB) []string {
	var path []string
	r := c.conn.ExecParams(context.Background(), "SELECT unnest(pg_catalog.current_schemas(true))", nil, nil, nil, nil).Read()
	if r.Err != nil {
		return nil
	}
	for _, row := range r.Rows {
		path = append(path, string(row[0]))
	}
	return path
}

func (c *client) refuse(r *protocol.Refusal) {
	c.out.Codes = append(c.out.Codes, r.Code)
	c.out.Errors = append(c.out.Errors, r.Message)
	c.out.Text += "ErrorResponse " + r.Message + "\n"
}

// send judges a text, and runs what became of it.
func (c *client) send(t testing.TB, text string, cs *corpus.Case) {
	ext := cs.Via != "simple" && !strings.HasPrefix(cs.Via, "opt:")
	j, _ := sql.Judge(c.c, c.v, &protocol.Query{Text: text, Path: c.path(t), Parse: ext}, sql.Options{})
	if j.Refusal != nil {
		c.refuse(j.Refusal)
		return
	}
	if j.Hold {
		c.refuse(&protocol.Refusal{Code: "42501", Message: "held for approval"})
		return
	}
	c.text = append(c.text, j.Text)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if len(j.Plans) == 1 && j.Plans[0].Effect.Kind == protocol.CopiesOut {
		var b strings.Builder
		if _, err := c.conn.CopyTo(ctx, &b, j.Text); err != nil {
			c.failed(err)
		}
		c.out.Text += "CopyData " + b.String()
		c.out.Rows += strings.Count(b.String(), "\n")
		return
	}
	var results []*pgconn.Result
	if ext {
		var params [][]byte
		if cs.Bind != nil {
			params = append(params, []byte(*cs.Bind))
		}
		results = append(results, c.conn.ExecParams(ctx, j.Text, params, nil, nil, nil).Read())
	} else {
		var err error
		results, err = c.conn.Exec(ctx, j.Text).ReadAll()
		if err != nil {
			c.failed(err)
		}
	}
	for i, r := range results {
		if r.Err != nil {
			c.failed(r.Err)
		}
		if i < len(j.Plans) && len(j.Plans[i].Columns) > 0 && r.FieldDescriptions != nil {
			c.shape(t, &j.Plans[i], r)
		}
		for _, row := range r.Rows {
			c.out.Rows++
			c.out.Text += "DataRow"
			for _, v := range row {
				c.out.Text += "|" + string(v)
			}
			c.out.Text += "\n"
		}
		c.out.Text += "CommandComplete " + r.CommandTag.String() + "\n"
	}
}

// shape compares what the server says of a result with the plan.
func (c *client) shape(t testing.TB, p *protocol.Plan, r *pgconn.Result) {
	if len(p.Columns) != len(r.FieldDescriptions) {
		t.Errorf("plan has %d columns, the server %d: %s", len(p.Columns), len(r.FieldDescriptions), c.text[len(c.text)-1])
		return
	}
	for i, f := range r.FieldDescriptions {
		want := p.Columns[i]
		if f.Name != want.Name {
			t.Errorf("column %d is called %q, planned %q: %s", i, f.Name, want.Name, c.text[len(c.text)-1])
		}
		if f.TableOID != 0 && f.TableAttributeNumber > 0 {
			rel := c.c.RelationByOID(f.TableOID)
			if rel == nil {
				continue
			}
			col := rel.ColumnByNumber(int16(f.TableAttributeNumber))
			if col == nil {
				continue // a system column
			}
			if want.Column != col.Name || want.Relation.Name != rel.Name {
				t.Errorf("column %d comes from %s.%s, planned %s.%s: %s", i, rel.Name, col.Name, want.Relation, want.Column, c.text[len(c.text)-1])
			}
		}
	}
}

func (c *client) failed(err error) {
	code := "XX000"
	if pe, ok := err.(*pgconn.PgError); ok {
		code = pe.Code
	}
	c.out.Codes = append(c.out.Codes, code)
	c.out.Errors = append(c.out.Errors, err.Error())
	c.out.Text += "ErrorResponse " + err.Error() + "\n"
}

// dial starts a session for a case.
func dial(t testing.TB, s *pgtest.Server, db string, c *sql.Catalog, v *policy.View, cs *corpus.Case) *client {
	if opt, ok := strings.CutPrefix(cs.Via, "opt:"); ok {
		if k, val, _ := strings.Cut(opt, "="); !sql.StartupParameter(k, val) {
			return nil
		}
	}
	conf, err := pgconn.ParseConfig(s.DSN(cs.As, db))
	if err != nil {
		t.Fatal(err)
	}
	if opt, ok := strings.CutPrefix(cs.Via, "opt:"); ok {
		k, val, _ := strings.Cut(opt, "=")
		conf.RuntimeParams[k] = val
	}
	cl := &client{c: c, v: v}
	conf.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { cl.out.Text += "NoticeResponse " + n.Message + "\n" }
	conn, err := pgconn.ConnectConfig(context.Background(), conf)
	if err != nil {
		t.Fatal(err)
	}
	cl.conn = conn
	return cl
}

func run(t testing.TB, s *pgtest.Server, db string, c *sql.Catalog, v *policy.View, cs corpus.Case) *client {
	cl := dial(t, s, db, c, v, &cs)
	if cl == nil {
		return nil
	}
	defer cl.conn.Close(context.Background())
	for _, m := range cs.Messages {
		m = strings.ReplaceAll(strings.ReplaceAll(m, "$DB", db), "$TMP", "/tmp")
		cl.send(t, m, &cs)
	}
	return cl
}

func TestBypassCorpus(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	c := load(t, connect(t, s.DSN("app_rw", db)))
	v := demoView(t)
	for _, cs := range cases(t, "bypass.sql") {
		// The codec refuses these before there is a text to judge.
		if strings.HasPrefix(cs.Via, "fcall:") || cs.As == "app_repl" {
			continue
		}
		t.Run(cs.ID, func(t *testing.T) {
			cl := run(t, s, db, c, v, cs)
			if cl == nil {
				if cs.Expect != corpus.Deny {
					t.Errorf("startup parameter refused")
				}
				return
			}
			if bad := cs.Check(&cl.out, ""); bad != "" {
				t.Errorf("%s\n%s\nserver got: %q\nanswer: %s", bad, cs.Messages, cl.text, cl.out.Text)
			}
			for _, e := range cl.out.Errors {
				if strings.Contains(e, "cannot be analysed") || strings.Contains(e, "cannot be rewritten") {
					t.Errorf("refused for the wrong reason: %s", e)
				}
			}
			if testing.Verbose() {
				t.Logf("%s -> %v %q", cs.Messages, cl.out.Errors, cl.text)
			}
		})
	}
}

func TestBenignCorpus(t *testing.T) {
	s := server(t)
	db := s.Database(t)
	c := load(t, connect(t, s.DSN("app_rw", db)))
	v := demoView(t)
	for _, cs := range cases(t, "benign.sql") {
		t.Run(cs.ID, func(t *testing.T) {
			cl := run(t, s, db, c, v, cs)
			if bad := cs.CheckBenign(&cl.out); bad != "" {
				t.Errorf("%s\n%s\nserver got: %q\nanswer: %s", bad, cs.Messages, cl.text, cl.out.Text)
			}
			if testing.Verbose() {
				t.Logf("%s -> %q", cs.Messages, cl.text)
			}
		})
	}
}
