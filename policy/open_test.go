package policy_test

import (
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
)

func TestOpen(t *testing.T) {
	const db = `apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec: {protocol: postgres, endpoints: ["db:5432"], credential: {username: app}MORE}
---
`
	const head = `apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  subjects: [{any: true}]
  databases: ["*"]
`
	const all = `  rules: [{name: all, effect: allow, actions: [any], on: ["*"]}]
`
	const masked = `, sensitive: [{tag: ssn, columns: ["app.customers.ssn"]}]`
	tests := []struct {
		name, database, policy string
		want                   bool
	}{
		{"everything", "", all, true},
		{"revealed", masked, all + "  reveal: [ssn]\n", true},
		{"sensitive", masked, all, false},
		{"unlabelled", ", unlabelled: mask", all, false},
		{"detectors", ", detect: [email]", all, false},
		{"observed", ", enforce: observe", all, false},
		{"limits", "", all + "  limits: {rows: 10}\n", false},
		{"every schema is not everything", "", strings.Replace(all, `"*"`, `"*.*"`, 1), false},
		{"words for actions are not any", "", strings.Replace(all, "[any]", "[select, insert, update, delete, ddl, call, set]", 1), false},
		{"except", "", strings.Replace(all, `["*"]`, `["*"], except: [app.secrets]`, 1), false},
		{"a deny beside it", "", strings.Replace(all, "]}]", `]}, {effect: deny, actions: [drop]}]`, 1), false},
		{"an approve beside it", "", strings.Replace(all, "]}]", `]}, {effect: approve, actions: [drop], on: ["*"]}]`, 1), false},
		{"a scope beside it", "", strings.Replace(all, "]}]", `]}, {effect: allow, actions: [select], on: [a.b], match: {scope: {column: c, equals: 1}}}]`, 1), false},
		{"conditional", "", strings.Replace(all, `["*"]`, `["*"], match: {filtered: true}`, 1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(db, "MORE", tt.database, 1) + head + tt.policy
			set, err := policy.Load([]policy.File{{Name: "f.yaml", Data: []byte(text)}})
			if err != nil {
				t.Fatal(err)
			}
			v, _ := set.View(&policy.Subject{}, "shop", time.Now())
			rule, got := v.Open()
			if got != tt.want || got && rule != "open/all" {
				t.Errorf("Open() = %q, %v, want %v", rule, got, tt.want)
			}
		})
	}
	if _, open := (*policy.View)(nil).Open(); open {
		t.Error("no view is open")
	}
	if _, open := new(policy.View).Open(); open {
		t.Error("the zero view is open")
	}
}
