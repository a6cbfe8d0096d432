package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluicegate.io/sluice/policy"
)

func TestDiff(t *testing.T) {
	old := load(t, with("  sensitive: [{tag: ssn, columns: [\"app.c.ssn\"], mask: {keepLast: 4}}]\n", `
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.c], columns: [id]}
    - {name: gone, effect: allow, actions: [delete], on: [app.d]}
    - {name: no, effect: deny, actions: [ddl]}
  limits: {rows: 100}
`))
	changed := load(t, with("  sensitive: [{tag: ssn, columns: [\"app.c.ssn\"], mask: hash}]\n", `
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.c], columns: [id, name, city]}
    - {name: no, effect: deny, actions: [create, alter, drop]}
    - {name: ask, effect: approve, actions: [update], on: [app.c], match: {filtered: true}, approvers: {groups: [dba]}}
  limits: {rows: 1000}
  reveal: [ssn]
`))
	var got []string
	for _, c := range policy.Diff(old, changed) {
		sign := "?"
		if c.Widens {
			sign = "+"
		} else if c.Narrows {
			sign = "-"
		}
		got = append(got, sign+" "+c.Text)
	}
	want := []string{
		"+ database shop: app.c.ssn is no longer ssn, masked {keepLast: 4}",
		"+ p (every workload) is no longer kept from grant * in shop",
		"+ p (every workload) is no longer limited to at most 100 rows returned in shop",
		"+ p (every workload) may now select 2 columns (city, name) of app.c in shop",
		"+ p (every workload) now sees in clear what is tagged ssn in shop",
		"- database shop: app.c.ssn is now ssn, masked hash",
		"- p (every workload) is now limited to at most 1000 rows returned in shop",
		"- p (every workload) may no longer delete app.d in shop",
		"- p (every workload) now needs approval to update app.c in shop, with a WHERE clause, by 1 of dba",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if same := policy.Diff(old, old); len(same) != 0 {
		t.Errorf("no change is told as %v", same)
	}
	if rights := shop(t).Rights(); len(rights) == 0 || strings.TrimSpace(rights[0].Database) == "" {
		t.Errorf("%v", rights)
	}
}

func TestDiffTables(t *testing.T) {
	tables := map[string][]policy.Table{"shop": {
		{Schema: "app", Name: "c", Columns: []string{"id", "name", "ssn"}},
		{Schema: "app", Name: "d", Columns: []string{"id"}},
	}}
	labels := "  sensitive: [{tag: ssn, columns: [\"app.c.ssn\"], mask: {keepLast: 4}}]\n"
	old := load(t, with(labels, `
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.c], columns: [id]}
    - {name: gone, effect: allow, actions: [delete], on: [app.d]}
    - {name: write, effect: allow, actions: [update], on: [app.c], columns: [name]}
`))
	next := load(t, with(labels, `
  rules:
    - {name: read, effect: allow, actions: [select], on: ["app.*"]}
    - {name: write, effect: approve, actions: [update], on: [app.c], columns: [name]}
`))
	var got []string
	for _, c := range policy.DiffTables(old, next, tables) {
		got = append(got, c.Text)
	}
	want := []string{
		"p (every workload) may now read 1 more column, masked {keepLast: 4}: app.c.ssn in shop",
		"p (every workload) may now read 2 more columns: app.c.name, app.d.id in shop",
		"p (every workload) may no longer delete from 1 table: app.d in shop",
		"p (every workload) now needs approval to change 1 column: app.c.name in shop",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	same := load(t, with(labels, `
  rules:
    - {name: read-all, effect: allow, actions: [select], on: [app.c, app.d]}
    - {name: write, effect: approve, actions: [update], on: ["app.c.name"]}
`))
	if got := policy.DiffTables(next, same, tables); len(got) != 0 {
		t.Errorf("the same rights in other words are told as %v", got)
	}
}
