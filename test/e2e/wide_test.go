package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestManyColumns sends short texts that make any number of columns of a few.
func TestManyColumns(t *testing.T) {
	f := setUp(t)
	doubled := func(n int, base string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "WITH a0 AS (%s)", base)
		for i := 1; i <= n; i++ {
			fmt.Fprintf(&b, ", a%d AS (SELECT a%d.*, a%d.* FROM a%d)", i, i-1, i-1, i-1)
		}
		return b.String()
	}
	many := func(n int, sep string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%sa10 x%d", sep, i)
		}
		return b.String()
	}
	for name, sql := range map[string]string{
		"stars": doubled(40, "SELECT 1 x") + " SELECT 1 FROM a40",
		"rows":  doubled(12, "SELECT 1 x") + " SELECT (SELECT ROW(a12.*, a12.*) FROM a12)",
		"from":  doubled(10, "SELECT 1 x") + " SELECT 1 FROM a10" + many(20000, ", "),
		"joins": doubled(10, "SELECT 1 x") + " SELECT 1 FROM a10" + many(900, " CROSS JOIN "),
		"set":   doubled(30, "SELECT 1 x") + " SELECT * FROM a30 UNION ALL SELECT * FROM a30",
	} {
		t.Run(name, func(t *testing.T) {
			w := session(t, f.sluice, f.server.Addr(), f.db)
			began := time.Now()
			a := w.query(sql)
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
			if a.code() != "54011" && a.code() != "54001" {
				t.Errorf("%.300s", a)
			}
			w.Close()
		})
	}
	if used := f.sluice.Memory(t); used > 512<<20 {
		t.Errorf("%d MiB are in use", used>>20)
	}
	goesOn(t, f.sluice, f.server.Addr(), f.db)
}
