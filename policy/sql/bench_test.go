package sql_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
	"sluicegate.io/sluice/protocol"
)

// join is what an ORM sends.
const join = `SELECT "c"."id" AS "c0", "c"."email" AS "c1", "o"."total" AS "c2" FROM "app"."customers" AS "c" LEFT JOIN "app"."orders" AS "o" ON "o"."customer_id" = "c"."id" WHERE "c"."id" IN (1,2) ORDER BY "c"."id" ASC LIMIT 10 OFFSET 0`

func BenchmarkJudge(b *testing.B) {
	s := server(b)
	c := load(b, connect(b, s.DSN("app_rw", s.Database(b))))
	b.Run("small", func(b *testing.B) { benchmarkJudge(b, c, demoView(b)) })
	text, snapshot := grown(c)
	before := heap()
	v := view(b, text)
	rules := heap() - before
	large := sql.NewCatalog(snapshot)
	b.Run("large", func(b *testing.B) { benchmarkJudge(b, large, v) })
	b.Logf("10,000 rules take %d MiB, a catalog of 100,000 columns takes %d MiB", rules>>20, (heap()-before-rules)>>20)
	runtime.KeepAlive(large)
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// grown returns the demo policy with 10,000 rules more, and a catalog with 2,000
// tables of 50 columns more.
func grown(c *sql.Catalog) (string, sql.Snapshot) {
	var text strings.Builder
	fmt.Fprintf(&text, demo, "")
	snapshot := c.Snapshot
	snapshot.Relations = slices.Clone(snapshot.Relations)
	for i := range 2000 {
		r := sql.Relation{OID: uint32(1_000_000 + i), Schema: "big", Name: fmt.Sprintf("table_%d", i), Kind: sql.Table, Owner: "app_rw"}
		for n := range 50 {
			r.Columns = append(r.Columns, sql.Column{Number: int16(n + 1), Name: fmt.Sprintf("column_%d_of_%d", n, i), Type: 25, Typmod: -1, TypeName: strings.Clone("text")})
		}
		snapshot.Relations = append(snapshot.Relations, r)
		for n := range 5 {
			fmt.Fprintf(&text, "    - {name: r%d-%d, effect: allow, actions: [select, update], on: [big.table_%d], columns: [column_%d_of_%d]}\n", i, n, i, n, i)
		}
	}
	return text.String(), snapshot
}

func benchmarkJudge(b *testing.B, c *sql.Catalog, v *policy.View) {
	for _, bb := range []struct{ name, text string }{{"point", `SELECT total FROM app.orders WHERE id = $1`}, {"join", join}} {
		q := &protocol.Query{Text: bb.text, Path: []string{"pg_catalog", "public"}, Parse: true}
		b.Run("miss/"+bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if j, _ := sql.Judge(c, v, q, sql.Options{}); j.Refusal != nil {
					b.Fatal(j.Refusal)
				}
			}
		})
		b.Run("template/"+bb.name, func(b *testing.B) {
			cache := sql.NewCache(0, sql.Options{})
			first := *q
			first.Text = strings.NewReplacer("(1,2)", "(7,8)", "$1", "1").Replace(first.Text)
			cache.Judge(c, v, &first)
			first.Text = strings.NewReplacer("(7,8)", "(1,22)", "= 1", "= 55").Replace(first.Text)
			var s sql.Scratch
			b.ReportAllocs()
			for b.Loop() {
				if j, _ := cache.JudgeInto(c, v, &first, &s); j.Refusal != nil {
					b.Fatal(j.Refusal)
				}
			}
			if cache.Stats().Templates == 0 {
				b.Error("no hit")
			}
		})
		b.Run("hit/"+bb.name, func(b *testing.B) {
			cache := sql.NewCache(0, sql.Options{})
			cache.Judge(c, v, q)
			b.ReportAllocs()
			for b.Loop() {
				if j, _ := cache.Judge(c, v, q); j.Refusal != nil {
					b.Fatal(j.Refusal)
				}
			}
		})
	}
}

func TestCache(t *testing.T) {
	s := server(t)
	c := load(t, connect(t, s.DSN("app_rw", s.Database(t))))
	v := demoView(t)
	cache := sql.NewCache(1<<20, sql.Options{})
	q := &protocol.Query{Text: join, Path: []string{"pg_catalog", "public"}}
	first, _ := cache.Judge(c, v, q)
	if again, _ := cache.Judge(c, v, q); again != first {
		t.Error("the same question is judged twice")
	}
	if n := testing.AllocsPerRun(100, func() { cache.Judge(c, v, q) }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
	for _, other := range []protocol.Query{
		{Text: join + " ", Path: q.Path},
		{Text: join, Path: []string{"pg_catalog"}},
		{Text: join, Path: q.Path, Parse: true},
		{Text: join, Path: q.Path, ParamTypes: []uint32{23}},
	} {
		if j, _ := cache.Judge(c, v, &other); j == first {
			t.Errorf("another question has the same answer: %+v", other)
		}
	}
	if j, _ := cache.Judge(c, demoView(t), q); j == first {
		t.Error("another view has the same answer")
	}
	for i := range 5000 {
		cache.Judge(c, v, &protocol.Query{Text: fmt.Sprintf("SELECT %d", i)})
	}
	if st := cache.Stats(); st.Bytes > 1<<20 || st.Evicted == 0 {
		t.Errorf("not bounded: %+v", st)
	}
}

// TestLimits checks that hostile sizes and depths get an answer, and soon.
func TestLimits(t *testing.T) {
	s := server(t)
	c := load(t, connect(t, s.DSN("app_rw", s.Database(t))))
	v := demoView(t)
	n := 200000
	for name, text := range map[string]string{
		"64 MB":      "SELECT '" + strings.Repeat("x", 64<<20) + "'",
		"operators":  "SELECT 1" + strings.Repeat("+1", n),
		"parens":     "SELECT " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n),
		"selects":    strings.Repeat("(SELECT ", 5000) + "1" + strings.Repeat(")", 5000),
		"unions":     "SELECT 1,2" + strings.Repeat(" UNION ALL SELECT 1,2", 20000),
		"joins":      "SELECT 1 FROM app.orders" + strings.Repeat(" JOIN app.orders ON 1=1 AND 2=2", 20000),
		"not":        "SELECT " + strings.Repeat("NOT ", n) + "true",
		"casts":      "SELECT 1" + strings.Repeat("::int", 100000),
		"cases":      "SELECT " + strings.Repeat("CASE WHEN true THEN ", 20000) + "1" + strings.Repeat(" END", 20000),
		"subscripts": "SELECT a" + strings.Repeat("[1]", 100000),
		"arrays":     "SELECT " + strings.Repeat("ARRAY[", 50000) + "1" + strings.Repeat("]", 50000),
		"collate":    "SELECT 'a'" + strings.Repeat(` COLLATE "C"`, 50000),
		"is":         "SELECT 1" + strings.Repeat(" IS NULL", 50000),
		"minus":      "SELECT " + strings.Repeat("- ", n) + "1",
	} {
		start := time.Now()
		j, _ := sql.Judge(c, v, &protocol.Query{Text: text}, sql.Options{})
		if j.Refusal == nil || len(j.Refusal.Message) > 200 || time.Since(start) > 10*time.Second {
			t.Errorf("%s: %v after %v", name, j.Refusal, time.Since(start))
		}
	}
	many := strings.Repeat("SELECT 1;", 10000)
	if j, _ := sql.Judge(c, v, &protocol.Query{Text: many}, sql.Options{}); j.Refusal != nil || len(j.Plans) != 10000 {
		t.Errorf("10,000 statements: %v", j.Refusal)
	}
	values := "INSERT INTO app.orders VALUES (1,1,1)" + strings.Repeat(",(1,1,(1+2)*3)", 20000)
	if j, _ := sql.Judge(c, v, &protocol.Query{Text: values}, sql.Options{}); j.Refusal != nil {
		t.Errorf("many rows: %v", j.Refusal)
	}
	ors := "SELECT 1 FROM app.orders WHERE id=1" + strings.Repeat(" OR id=2 AND total > 3", 5000)
	if j, _ := sql.Judge(c, v, &protocol.Query{Text: ors}, sql.Options{}); j.Refusal != nil {
		t.Errorf("many conditions: %v", j.Refusal)
	}
}
