package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy"
)

func TestScope(t *testing.T) {
	set := load(t, head+policyHead+`  rules:
  - {effect: allow, actions: [select, delete], on: ["app.*"], except: [app.free]}
  - {effect: allow, actions: [select], on: [app.deals, app.free], match: {scope: {column: region, in: [EU, CH, EU]}}}
  - {effect: allow, actions: [delete], on: ["app.*"], except: [app.free], match: {scope: {column: tenant, equals: {claim: tenant}}}}
  - {effect: allow, actions: [select], on: [app.own], match: {scope: {column: team, equals: {label: team}}}}
`)
	of := func(sub *policy.Subject, table string) string {
		v, _ := set.View(sub, "shop", now)
		var all []string
		for _, s := range v.Scope("app", table) {
			all = append(all, s.Column+"="+strings.Join(s.Values, ","))
		}
		return strings.Join(all, " ")
	}
	claim := func(x any) *policy.Subject {
		return &policy.Subject{Token: &policy.Token{Claims: map[string]any{"tenant": x}}}
	}
	label := &policy.Subject{Workload: policy.Workload{Labels: map[string]string{"team": "a"}}}
	for _, tt := range []struct {
		sub         *policy.Subject
		table, want string
	}{
		{claim("x"), "deals", "region=CH,EU tenant=x"},
		{claim(42.0), "orders", "tenant=42"},
		{claim(1.5), "orders", "tenant="},
		{claim([]any{"x"}), "orders", "tenant="},
		{&policy.Subject{}, "orders", "tenant="},
		{label, "own", "tenant= team=a"},
		{&policy.Subject{}, "own", "tenant= team="},
		{claim("x"), "free", "region=CH,EU"},
	} {
		if got := of(tt.sub, tt.table); got != tt.want {
			t.Errorf("%+v, %s: %q, want %q", tt.sub, tt.table, got, tt.want)
		}
	}
	one, _ := set.View(claim("x"), "shop", now)
	same, _ := set.View(claim("x"), "shop", now)
	other, _ := set.View(claim("y"), "shop", now)
	if one != same || one == other || one.ID() == other.ID() {
		t.Error("views are not told apart by what they scope to")
	}
	if (&policy.View{}).Scoped() || !one.Scoped() {
		t.Error("Scoped is wrong")
	}
	told := ""
	for _, r := range set.Rights() {
		told += fmt.Sprintln(r.Action, r.Object, r.Terms)
	}
	for _, want := range []string{"where region is one of CH EU", "where tenant is the token's tenant", "where team is the workload's label team"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told in %s", want, told)
		}
	}
}
