package sql_test

import (
	"strings"
	"testing"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/policy/sql"
)

func TestCheck(t *testing.T) {
	c, err := shopCatalog()
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(`
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  credential: {username: u}
  clear: ["app.orders.total", "app.orders.sum"]
  sensitive:
    - {tag: ssn,   columns: ["app.customers.ssn", "app.customers.sn"], mask: {keepLast: 4}}
    - {tag: money, columns: ["*.*.balance"], mask: email}
    - {tag: email, columns: ["*.*.email"], mask: email}
    - {tag: phone, columns: ["*.*.phone"], mask: null}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: agent}
spec:
  subjects: [{any: true}]
  databases: [shop]
  rules:
    - {name: read, effect: allow, actions: [select], on: [app.customers, app.order, '"Odd Schema".*', "crm.*"]}
    - {name: set, effect: allow, actions: [update], on: [app.orders], columns: [status]}
    - {name: make, effect: allow, actions: [create], on: [app.later]}
    - {name: hear, effect: allow, actions: [listen], on: [news]}
  functions: [app.f_get_ssn, app.nope]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range sql.Check(c, set, "shop") {
		if !strings.HasPrefix(p.String(), "shop.yaml:") {
			t.Errorf("no place: %s", p)
		}
		got = append(got, p.Message)
	}
	want := []string{
		"sensitive ssn: no column matches app.customers.sn",
		"sensitive money: app.customers.balance reads as NULL: mask cannot apply",
		"sensitive money: app_m.customers.balance reads as NULL: mask cannot apply",
		"sensitive money: app.v_clean.balance reads as NULL: mask cannot apply",
		"sensitive phone: no column matches *.*.phone",
		"clear: no column matches app.orders.sum",
		"rule agent/read: nothing matches app.order",
		"rule agent/read: nothing matches crm.*",
		"rule agent/set: no column is called status",
		"policy agent: no function matches app.nope",
	}
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d: %q", len(got), len(want), got)
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || strings.HasPrefix(g, w)
		}
		if !found {
			t.Errorf("%q is missing from %q", w, got)
		}
	}
}
