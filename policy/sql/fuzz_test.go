package sql_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// snapshot is a catalog of the corpus schema with all of shop, so that fuzzing
// needs no server. TestSnapshot (tag update) makes it anew.
const snapshot = "testdata/catalog.json.gz"

var shopCatalog = sync.OnceValues(func() (*sql.Catalog, error) {
	f, err := os.Open(snapshot)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	c := new(sql.Catalog)
	return c, json.NewDecoder(z).Decode(c)
})

// checkSplice checks what holds of every judgement that lets a text run: the text
// for the server parses into as many statements, and no relation with masks is
// named but where masks are, or as what a statement writes to.
func checkSplice(t testing.TB, c *sql.Catalog, v *policy.View, q *protocol.Query, j *protocol.Judgement) {
	t.Helper()
	if j.Refusal != nil {
		if strings.Contains(j.Refusal.Message, "cannot be analysed") || strings.Contains(j.Refusal.Message, "cannot be rewritten") {
			t.Errorf("%q: %s", q.Text, j.Refusal.Message)
		}
		return
	}
	before, err := pg.Parse(q.Text)
	if err != nil {
		t.Fatalf("%q was judged, and does not parse: %v", q.Text, err)
	}
	after, err := pg.Parse(j.Text)
	if err != nil {
		t.Fatalf("%q became %q: %v", q.Text, j.Text, err)
	}
	if len(before.Stmts) != len(after.Stmts) || len(before.Stmts) != len(j.Plans) {
		t.Fatalf("%q became %q: %d statements, %d plans", q.Text, j.Text, len(after.Stmts), len(j.Plans))
	}
	added := make([]bool, len(j.Text)+1)
	shift := 0
	for _, e := range j.Edits {
		for k := 0; k < e.Added; k++ {
			added[e.At+shift+k] = true
		}
		shift += e.Added - e.Length
	}
	ctes := map[string]bool{}
	var vars []*pg.RangeVar
	targets := map[int32]bool{}
	walk(after.ProtoReflect(), func(m protoreflect.Message) {
		switch x := m.Interface().(type) {
		case *pg.RangeVar:
			vars = append(vars, x)
		case *pg.CommonTableExpr:
			ctes[x.Ctename] = true
		case *pg.InsertStmt:
			targets[x.Relation.Location] = true
		case *pg.UpdateStmt:
			targets[x.Relation.Location] = true
		case *pg.DeleteStmt:
			targets[x.Relation.Location] = true
		case *pg.MergeStmt:
			targets[x.Relation.Location] = true
		case *pg.CopyStmt:
			if x.IsFrom {
				targets[x.Relation.Location] = true
			}
		case *pg.LockStmt:
			for _, r := range x.Relations {
				targets[r.GetRangeVar().Location] = true
			}
		case *pg.TruncateStmt:
			for _, r := range x.Relations {
				targets[r.GetRangeVar().Location] = true
			}
		case *pg.ConstraintsSetStmt:
			for _, r := range x.Constraints { // names of constraints
				targets[r.GetRangeVar().Location] = true
			}
		case *pg.LockingClause:
			for _, r := range x.LockedRels {
				targets[r.GetRangeVar().Location] = true
			}
		}
	})
	for _, rv := range vars {
		if targets[rv.Location] || rv.Schemaname == "" && ctes[rv.Relname] {
			continue
		}
		if rv.Schemaname == "" && !(rv.Location >= 0 && added[rv.Location]) {
			t.Errorf("%q became %q: %q is not pinned", q.Text, j.Text, rv.Relname)
			continue
		}
		rel := c.Relation(rv.Schemaname, rv.Relname)
		if rel == nil {
			continue
		}
		for _, col := range rel.Columns {
			if v.Column(rel.Schema, rel.Name, col.Name).Sensitive && !col.Dropped && !added[rv.Location] {
				t.Fatalf("%q became %q: %s is read unmasked", q.Text, j.Text, rel.Name)
			}
		}
	}
}

func walk(m protoreflect.Message, f func(protoreflect.Message)) {
	f(m)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), f)
			}
		case fd.Message() != nil && !fd.IsMap():
			walk(v.Message(), f)
		}
		return true
	})
}

func FuzzJudge(f *testing.F) {
	c, err := shopCatalog()
	if err != nil {
		f.Fatal(err)
	}
	v := view(f, fmt.Sprintf(shopPolicy, "conditions: mask"))
	for _, s := range statements {
		f.Add(s.text)
	}
	for _, file := range []string{"bypass.sql", "benign.sql"} {
		for _, cs := range cases(f, file) {
			for _, m := range cs.Messages {
				f.Add(m)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		q := &protocol.Query{Text: text, Path: []string{"pg_catalog", "app"}}
		j, _ := sql.Judge(c, v, q, sql.Options{})
		checkSplice(t, c, v, q, j)
	})
}
