//go:build oracle

package sql_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
	"sluicegate.io/sluice/test/pgtest"
)

// The oracle is PostgreSQL itself, over the queries of its own regression suite
// (scripts/regress-source.sh fetches it; SLUICE_REGRESS names the directory).
//
// First question: which columns does a query read? The server notes that in
// pg_depend for a view of the query, and what the analysis says must contain it.
//
// Second question: does the spliced text still read what is masked? All columns
// but the first of each relation are masked to NULL, and the spliced text is
// planned by a role that may read the first column of each relation only, and
// write all. The server refuses it if there is any other reference left.
const oraclePolicy = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: regress}
spec:
  protocol: postgres
  endpoints: ["127.0.0.1:5432"]
  credential: {username: u}
  conditions: mask
  unlabelled: UNLABELLED
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: all}
spec:
  subjects: [{any: true}]
  databases: [regress]
  rules: [{name: read, effect: allow, actions: [any], on: ["*.*"]}]
`

type oracle struct {
	t     *testing.T
	q     querier
	admin querier // not in the role that a script happens to be in
	c     *sql.Catalog
	open  *policy.View // nothing is masked
	tight *policy.View // all but first columns are
	dirty bool

	queries, accepted, compared, unsound, shape, spliced, leaks, broken, inlined int

	refused map[string]int
	example map[string]string
	report  *os.File
}

func TestOracle(t *testing.T) {
	dir := os.Getenv("SLUICE_REGRESS")
	if dir == "" {
		t.Skip("SLUICE_REGRESS is not set: scripts/regress-source.sh fetches the suite")
	}
	if sub := filepath.Join(dir, "regress"); exists(filepath.Join(sub, "sql")) {
		dir = sub
	}
	s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"statement_timeout": "10s", "fsync": "off"}})
	s.Exec(t, "postgres", "CREATE ROLE oracle_low")
	o := &oracle{t: t, refused: make(map[string]int), example: make(map[string]string)}
	if f := os.Getenv("SLUICE_ORACLE_REPORT"); f != "" {
		var err error
		if o.report, err = os.Create(f); err != nil {
			t.Fatal(err)
		}
		defer o.report.Close()
	}
	s.Exec(t, "postgres", "CREATE DATABASE base TEMPLATE template0")
	base := connect(t, s.SocketDSN("base"))
	for _, f := range []string{"test_setup", "create_function_c", "create_misc", "create_operator", "create_procedure", "create_table", "create_type", "create_aggregate", "create_cast", "int4", "int8", "float4", "float8", "text", "varchar", "char", "point", "box", "path", "polygon", "circle", "lseg", "interval", "timestamp", "timestamptz", "date", "time", "timetz", "inet", "create_index", "create_view"} {
		o.prepare(base, dir, f)
	}
	base.conn.Close(context.Background())
	for i, f := range oracleFiles(t, dir) {
		db := fmt.Sprintf("regress_%d", i)
		s.Exec(t, "postgres", "CREATE DATABASE "+db+" TEMPLATE base")
		o.q = connect(t, s.SocketDSN(db))
		o.admin = connect(t, s.SocketDSN(db))
		o.exec("SET client_min_messages = error")
		o.dirty = true
		before := *o
		for _, text := range script(t, f) {
			o.one(text)
		}
		o.q.conn.Close(context.Background())
		o.admin.conn.Close(context.Background())
		s.Exec(t, "postgres", "DROP DATABASE "+db+" WITH (FORCE)")
		o.note("file", fmt.Sprintf("%s: %d queries, %d accepted, %d spliced", filepath.Base(f), o.queries-before.queries, o.accepted-before.accepted, o.spliced-before.spliced), "")
	}
	o.summary()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// prepare runs a script for its tables, with the data that test_setup copies.
func (o *oracle) prepare(q querier, dir, file string) {
	for _, text := range script(o.t, filepath.Join(dir, "sql", file+".sql")) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		q.conn.Exec(ctx, text).Close()
		cancel()
	}
	if q.conn.TxStatus() != 'I' {
		q.conn.Exec(context.Background(), "ROLLBACK").Close()
	}
}

var queryStart = regexp.MustCompile(`(?i)^\(*\s*(select|with|values|table|insert|update|delete|merge)\b`)

// one runs a statement of a script, and asks first if it is a query.
func (o *oracle) one(text string) {
	if queryStart.MatchString(text) && o.q.conn.TxStatus() == 'I' && len(text) < 20_000 {
		o.ask(text)
	} else {
		o.dirty = true
	}
	o.exec(text)
	if o.q.conn.TxStatus() != 'I' {
		o.dirty = true
	}
}

func (o *oracle) exec(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	_, err := o.q.conn.Exec(ctx, text).ReadAll()
	if o.q.conn.IsClosed() {
		o.t.Fatalf("the server closed the connection")
	}
	return err
}

func (o *oracle) rows(text string) (rows [][]string, err error) {
	err = o.q.Query(context.Background(), text, func(v [][]byte) error {
		var r []string
		for _, b := range v {
			r = append(r, string(b))
		}
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// ask puts one query to both.
func (o *oracle) ask(text string) {
	if !o.refresh() {
		return
	}
	fields, err := o.describe(text)
	if err != nil {
		return // the server refuses it too
	}
	o.queries++
	path, err := o.rows("SELECT pg_catalog.unnest(pg_catalog.current_schemas(true))")
	if err != nil {
		return
	}
	q := &protocol.Query{Text: text}
	for _, r := range path {
		q.Path = append(q.Path, r[0])
	}
	j, _ := sql.Judge(o.c, o.open, q, sql.Options{})
	if j.Refusal != nil {
		o.refuse(j.Refusal, text)
		return
	}
	o.accepted++
	o.compareShape(text, j, fields)
	o.compareColumns(text, j)
	o.compareSplice(text, q)
}

func (o *oracle) refuse(r *protocol.Refusal, text string) {
	key := quoted.ReplaceAllString(r.Message, "…")
	if strings.HasPrefix(r.Message, "function ") {
		key = r.Message
	}
	o.refused[key]++
	if o.example[key] == "" {
		o.example[key] = text
	}
}

var quoted = regexp.MustCompile(`"[^"]*"|\b\w+\.\w+(\.\w+)?\b|\d+`)

// refresh loads the catalog again if something may have changed.
func (o *oracle) refresh() bool {
	if !o.dirty {
		return true
	}
	e, err := sql.Epoch(context.Background(), o.q)
	if err != nil {
		o.t.Fatal(err)
	}
	if o.c == nil || o.c.Epoch != e {
		c, err := sql.LoadCatalog(context.Background(), o.q)
		if err != nil {
			o.note("load", err.Error(), "")
			o.exec("ROLLBACK")
			return false
		}
		o.c = c
		o.views()
	}
	o.dirty = false
	return true
}

// views makes both policies for the catalog, and the rights of the low role.
func (o *oracle) views() {
	var clear []policy.Pattern
	var grants strings.Builder
	for i := range o.c.Relations {
		r := &o.c.Relations[i]
		if r.System() || !r.Readable() || r.Kind == sql.Toast || r.Kind == sql.Sequence {
			continue
		}
		if len(r.Columns) == 0 {
			fmt.Fprintf(&grants, "GRANT SELECT, INSERT, UPDATE, DELETE ON %s.%s TO oracle_low;", quote(r.Schema), quote(r.Name))
		}
		for _, col := range r.Columns {
			if !col.Dropped {
				clear = append(clear, policy.Pattern{Schema: r.Schema, Name: r.Name, Column: col.Name})
				columns := quote(col.Name)
				if r.Kind != sql.View {
					columns += ", tableoid, ctid, xmin, xmax, cmin, cmax"
				}
				fmt.Fprintf(&grants, "GRANT SELECT (%s), INSERT, UPDATE, DELETE ON %s.%s TO oracle_low;", columns, quote(r.Schema), quote(r.Name))
				break
			}
		}
	}
	for _, n := range o.c.Schemas {
		if !n.System() {
			fmt.Fprintf(&grants, "GRANT USAGE ON SCHEMA %s TO oracle_low;", quote(n.Name))
		}
	}
	if _, err := o.admin.conn.Exec(context.Background(), grants.String()).ReadAll(); err != nil {
		o.note("grant", err.Error(), "")
	}
	var functions []policy.Pattern
	seen := make(map[string]bool)
	for i := range o.c.Functions {
		f := &o.c.Functions[i]
		if key := f.Schema + "." + f.Name; !f.System() && !seen[key] {
			seen[key] = true
			functions = append(functions, policy.Pattern{Schema: f.Schema, Name: f.Name})
		}
	}
	o.open = o.view("allow", nil, functions)
	o.tight = o.view("mask", clear, functions)
}

func (o *oracle) view(unlabelled string, clear, functions []policy.Pattern) *policy.View {
	docs, err := policy.Parse("oracle.yaml", []byte(strings.Replace(oraclePolicy, "UNLABELLED", unlabelled, 1)))
	if err != nil {
		o.t.Fatal(err)
	}
	for i := range docs {
		if docs[i].Database != nil {
			docs[i].Database.Clear = clear
		}
		if docs[i].Policy != nil {
			docs[i].Policy.Functions = functions
		}
	}
	set, err := policy.New(docs)
	if err != nil {
		o.t.Fatal(err)
	}
	v, _ := set.View(&policy.Subject{}, "regress", time.Now())
	return v
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// describe asks the server for the columns of a result.
func (o *oracle) describe(text string) ([]pgconn.FieldDescription, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d, err := o.q.conn.Prepare(ctx, "", text, nil)
	if err != nil {
		return nil, err
	}
	return d.Fields, nil
}

// compareShape checks the plan's columns, which the wire is checked against.
func (o *oracle) compareShape(text string, j *protocol.Judgement, fields []pgconn.FieldDescription) {
	if len(j.Plans) != 1 {
		o.note("SHAPE", fmt.Sprintf("%d plans", len(j.Plans)), text)
		o.shape++
		return
	}
	p := &j.Plans[0]
	var got, want []string
	for _, c := range p.Columns {
		got = append(got, c.Name)
	}
	for _, f := range fields {
		want = append(want, string(f.Name))
	}
	if strings.Join(got, "|") != strings.Join(want, "|") && (p.Columns != nil || len(want) > 0) {
		o.shape++
		o.note("SHAPE", fmt.Sprintf("columns %q, server %q", got, want), text)
		return
	}
	for i, c := range p.Columns {
		f := fields[i]
		if f.TableOID == 0 || c.Column == "" {
			continue
		}
		r := o.c.RelationByOID(f.TableOID)
		if r == nil || f.TableAttributeNumber == 0 {
			continue
		}
		if col := r.ColumnByNumber(int16(f.TableAttributeNumber)); col != nil && (col.Name != c.Column || r.Name != c.Relation.Name) {
			o.shape++
			o.note("ORIGIN", fmt.Sprintf("column %d is from %s.%s, server says %s.%s", i+1, c.Relation, c.Column, r.Name, col.Name), text)
			return
		}
	}
}

// compareColumns checks that the analysis knows every column that the server says is read.
func (o *oracle) compareColumns(text string, j *protocol.Judgement) {
	o.exec("BEGIN")
	defer o.exec("ROLLBACK")
	if o.exec("CREATE TEMP VIEW sluice_oracle AS SELECT 1 FROM (\n"+strings.TrimRight(text, "; \n")+"\n) AS sluice_oracle_query") != nil {
		return
	}
	rows, err := o.rows(`SELECT d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
AND r.ev_class = 'pg_temp.sluice_oracle'::pg_catalog.regclass AND d.refobjid <> r.ev_class`)
	if err != nil {
		return
	}
	o.compared++
	known := make(map[string]bool)
	for _, a := range j.Plans[0].Statement.Accesses {
		known[a.Object.String()] = true
		for _, c := range a.Columns {
			known[a.Object.String()+"."+c] = true
		}
	}
	for _, row := range rows {
		var oid uint32
		var n int16
		fmt.Sscan(row[0], &oid)
		fmt.Sscan(row[1], &n)
		r := o.c.RelationByOID(oid)
		if r == nil || r.System() || r.Kind == sql.CompositeType {
			continue
		}
		if n == 0 && (!r.Readable() || r.Kind == sql.Sequence || strings.Contains(text, "::reg")) {
			continue // named by a constant
		}
		name := r.Schema + "." + r.Name
		if n > 0 {
			name += "." + r.ColumnByNumber(n).Name
		}
		if !known[name] && !o.returned(r, text) {
			o.unsound++
			o.note("UNSOUND", "reads "+name+", which the analysis does not know", text)
			return
		}
	}
}

// returned reports whether text only has values of the row type of r, such as a
// function returns: the server notes their fields as if they were read.
func (o *oracle) returned(r *sql.Relation, text string) bool {
	for i := range o.c.Functions {
		if f := &o.c.Functions[i]; f.Result == r.Type && strings.Contains(strings.ToLower(text), f.Name) {
			return true
		}
	}
	// A field of a value of the row's type, in whatever column it is.
	return !regexp.MustCompile(`(?i)(from|join|,|table|only|using)\s*\(*\s*("?\w+"?\.)?"?` + regexp.QuoteMeta(r.Name)).MatchString(text)
}

// compareSplice has the server check that no masked column is left.
func (o *oracle) compareSplice(text string, q *protocol.Query) {
	j, _ := sql.Judge(o.c, o.tight, q, sql.Options{})
	if j.Refusal != nil {
		o.refused["MASKED: "+quoted.ReplaceAllString(j.Refusal.Message, "…")]++
		if key := "MASKED: " + quoted.ReplaceAllString(j.Refusal.Message, "…"); o.example[key] == "" {
			o.example[key] = text
		}
		return
	}
	if j.Text == text {
		return
	}
	o.spliced++
	// Masked values have other statistics and may fail another way when planned, so parse only first.
	if _, err := o.describe(j.Text); err != nil {
		var e *pgconn.PgError
		if errors.As(err, &e) {
			o.broken++
			o.note("BROKEN", e.Code+" "+e.Message, text+"\n    ==> "+j.Text)
		}
		return
	}
	err := o.planned("", j.Text)
	var e *pgconn.PgError
	if denied(err, &e) {
		// A function that the policy grants reads what it likes. The server checks that
		// here only where it inlines one, which a setting of its own prevents.
		if o.planned(notInlined, j.Text) == nil {
			o.inlined++
			return
		}
		if otherRight.MatchString(text) {
			return // the columns of EXCLUDED and of the arbiter ask for the same right, and IS NULL may be asked
		}
		o.leaks++
		o.note("READS", e.Message, text+"\n    ==> "+j.Text)
	}
}

// planned plans a text as the low role, after some preparation.
func (o *oracle) planned(before, text string) error {
	o.exec("BEGIN;" + before + "SET LOCAL ROLE oracle_low")
	defer o.exec("ROLLBACK")
	return o.exec("EXPLAIN (COSTS OFF) " + text)
}

func denied(err error, e **pgconn.PgError) bool {
	return errors.As(err, e) && (*e).Code == "42501" && (strings.Contains((*e).Message, "for table") ||
		strings.Contains((*e).Message, "for view") || strings.Contains((*e).Message, "for materialized"))
}

const notInlined = `DO $$ DECLARE f regprocedure; BEGIN
FOR f IN SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname = 'sql' AND p.oid >= 16384 AND p.prokind = 'f'
LOOP EXECUTE format('ALTER FUNCTION %s SET work_mem = ''4MB''', f); END LOOP; END $$;`

var otherRight = regexp.MustCompile(`(?i)\bon\s+conflict\b|\bis\s+(not\s+)?null\b|\b(is|not)null\b`)

func (o *oracle) note(kind, what, text string) {
	if kind == "UNSOUND" || kind == "READS" {
		o.t.Errorf("%s: %s\n    %s", kind, what, text)
	}
	if o.report != nil {
		fmt.Fprintf(o.report, "%s: %s\n", kind, what)
		if text != "" {
			fmt.Fprintf(o.report, "    %s\n", strings.ReplaceAll(text, "\n", "\n    "))
		}
	}
}

func (o *oracle) summary() {
	total := fmt.Sprintf("%d queries that the server accepts, %d accepted (%.1f %%); %d compared with pg_depend, %d unsound; %d of another shape; %d spliced, of which %d read what is masked, %d by a granted function only, and %d no longer parse",
		o.queries, o.accepted, 100*float64(o.accepted)/float64(max(o.queries, 1)), o.compared, o.unsound, o.shape, o.spliced, o.leaks, o.inlined, o.broken)
	o.t.Log(total)
	o.note("SUMMARY", total, "")
	var keys []string
	for k := range o.refused {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return o.refused[keys[i]] > o.refused[keys[j]] })
	for i, k := range keys {
		if i < 15 {
			o.t.Logf("%5d  %s", o.refused[k], k)
		}
		o.note("REFUSED", fmt.Sprintf("%d times: %s", o.refused[k], k), o.example[k])
	}
}
