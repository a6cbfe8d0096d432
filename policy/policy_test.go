package policy_test

import (
	"os"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

func load(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, err := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err.(*policy.SyntaxError).All())
	}
	return set
}

func shop(t testing.TB) *policy.Set {
	t.Helper()
	data, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return load(t, string(data))
}

// now is a Tuesday.
var now = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func view(set *policy.Set, sub *policy.Subject) *policy.View {
	v, _ := set.View(sub, "shop", now)
	return v
}

func support() *policy.Subject {
	return &policy.Subject{Workload: policy.Workload{Namespace: "agents", ServiceAccount: "support-agent"}}
}

// touch is a statement with one access.
func touch(a protocol.Action, schema, name string, columns ...string) *protocol.Statement {
	return &protocol.Statement{Understood: true, Accesses: []protocol.Access{{
		Action:  a,
		Object:  protocol.Object{Kind: protocol.Relation, Schema: schema, Name: name},
		Columns: columns,
	}}}
}

func filtered(st *protocol.Statement) *protocol.Statement { st.Filtered = true; return st }

func both(a, b *protocol.Statement) *protocol.Statement {
	return &protocol.Statement{Understood: true, Accesses: append(a.Accesses, b.Accesses...)}
}

func TestDecide(t *testing.T) {
	v := view(shop(t), support())
	tests := []struct {
		name    string
		st      *protocol.Statement
		verdict protocol.Verdict
		rule    string
	}{
		{"allowed", touch(protocol.Select, "app", "customers", "id", "name"), protocol.Allow, "support-agent/read"},
		{"count(*)", touch(protocol.Select, "app", "customers"), protocol.Allow, "support-agent/read"},
		{"sensitive", touch(protocol.Select, "app", "customers", "id", "ssn"), protocol.Mask, "support-agent/read"},
		{"wildcard label", touch(protocol.Select, "app", "customers", "email"), protocol.Mask, "support-agent/read"},
		{"no rule", touch(protocol.Select, "app", "secrets", "v"), protocol.Deny, ""},
		{"one of two is enough to deny", both(touch(protocol.Select, "app", "orders", "id"), touch(protocol.Select, "app", "secrets", "v")), protocol.Deny, ""},
		{"column, filtered", filtered(touch(protocol.Update, "app", "orders", "status")), protocol.Allow, "support-agent/set-status"},
		{"column, not filtered", touch(protocol.Update, "app", "orders", "status"), protocol.Deny, ""},
		{"other column", filtered(touch(protocol.Update, "app", "orders", "total")), protocol.Approve, "support-agent/risky"},
		{"one column of two needs approval", filtered(touch(protocol.Update, "app", "orders", "status", "total")), protocol.Approve, "support-agent/risky"},
		{"delete touches the excepted column too", touch(protocol.Delete, "app", "orders"), protocol.Approve, "support-agent/risky"},
		{"deny wins", touch(protocol.Drop, "app", "orders"), protocol.Deny, "support-agent/no-ddl"},
		{"deny without on is everywhere", &protocol.Statement{Understood: true, Accesses: []protocol.Access{{Action: protocol.Create, Object: protocol.Object{Kind: protocol.DatabaseItself, Name: "shop"}}}}, protocol.Deny, "support-agent/no-ddl"},
		{"nothing touched", &protocol.Statement{Understood: true}, protocol.Allow, "built-in:no-object"},
		{"not understood", &protocol.Statement{Tag: "SELECT"}, protocol.Deny, ""},
		{"unknown action", touch(protocol.ActionUnknown, "app", "orders"), protocol.Deny, ""},
		{"a wildcard is not the system's schemas", touch(protocol.Update, "pg_catalog", "pg_authid", "rolpassword"), protocol.Deny, ""},
		{"listed function", &protocol.Statement{Understood: true, Accesses: []protocol.Access{{Action: protocol.Call, Object: protocol.Object{Kind: protocol.Function, Schema: "app", Name: "lookup_order"}}}}, protocol.Allow, "support-agent/functions"},
		{"functions names no relation", touch(protocol.Call, "app", "lookup_order"), protocol.Deny, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // the second comes from memory
				got := v.Decide(tt.st)
				if got.Verdict != tt.verdict || got.Rule != tt.rule {
					t.Errorf("Decide = %v by %q (%s), want %v by %q", got.Verdict, got.Rule, got.Reason, tt.verdict, tt.rule)
				}
			}
		})
	}
}

func TestZeroDenies(t *testing.T) {
	var v policy.View
	st := touch(protocol.Select, "app", "customers", "id")
	if d := v.Decide(st); d.Verdict != protocol.Deny {
		t.Errorf("zero View decides %v", d.Verdict)
	}
	if !v.Column("app", "customers", "id").Sensitive || v.Function("app", "f") || v.Observe() {
		t.Error("zero View is not closed")
	}
	set := shop(t)
	for name, v := range map[string]*policy.View{
		"nobody":           view(set, &policy.Subject{}),
		"unknown database": func() *policy.View { v, _ := set.View(support(), "other", now); return v }(),
		"nil subject":      func() *policy.View { v, _ := set.View(nil, "shop", now); return v }(),
	} {
		if d := v.Decide(st); d.Verdict != protocol.Deny || d.Reason == "" {
			t.Errorf("%s: %v", name, d)
		}
		if d := v.Decide(&protocol.Statement{Understood: true}); d.Verdict != protocol.Deny {
			t.Errorf("%s: a statement without objects is %v", name, d.Verdict)
		}
	}
}

func TestReasons(t *testing.T) {
	v := view(shop(t), support())
	tests := []struct {
		st              *protocol.Statement
		reason, allowed string
	}{
		{
			touch(protocol.Select, "app", "secrets", "v"),
			"no rule allows select on app.secrets",
			"with approval update, delete on app.secrets",
		},
		{
			touch(protocol.Drop, "app", "orders"),
			"rule support-agent/no-ddl denies drop on app.orders: schema changes go through migrations",
			"select on app.orders; update of status on app.orders with a WHERE clause of at most 1 rows; with approval update, delete on app.orders except status",
		},
		{
			touch(protocol.Select, "hr", "people", "name"),
			"no rule allows select on hr.people",
			"select on app.customers, app.orders; update of status on app.orders with a WHERE clause of at most 1 rows; with approval update, delete on app.*; call on app.lookup_order",
		},
		{
			&protocol.Statement{Understood: true, Accesses: []protocol.Access{{
				Action: protocol.Select, Object: protocol.Object{Kind: protocol.Relation, Schema: "hr", Name: "people"}, Implied: "view app.staff",
			}}},
			"no rule allows select on hr.people, which view app.staff brings about",
			"select on app.customers, app.orders; update of status on app.orders with a WHERE clause of at most 1 rows; with approval update, delete on app.*; call on app.lookup_order",
		},
	}
	for _, tt := range tests {
		d := v.Decide(tt.st)
		if d.Reason != tt.reason {
			t.Errorf("reason\n got %s\nwant %s", d.Reason, tt.reason)
		}
		if d.Allowed != tt.allowed {
			t.Errorf("allowed\n got %s\nwant %s", d.Allowed, tt.allowed)
		}
	}
}

func TestInterned(t *testing.T) {
	set := shop(t)
	a, b := support(), support()
	b.Workload.Pod = "another"
	b.Workload.Labels = map[string]string{"x": "y"}
	if view(set, a) != view(set, b) {
		t.Error("equal rights, different Views")
	}
	if view(set, a) == view(set, &policy.Subject{}) {
		t.Error("different rights, same View")
	}
	if view(set, a) == view(shop(t), a) {
		t.Error("another Set gave the same View")
	}
}

func TestColumn(t *testing.T) {
	v := view(shop(t), support())
	last4 := policy.Mask{Kind: policy.MaskKeepLast, N: 4}
	tests := []struct {
		schema, table, column string
		want                  policy.ColumnRule
	}{
		{"app", "customers", "ssn", policy.ColumnRule{Sensitive: true, Tag: "ssn", Mask: last4}},
		{"app", "customers", "email", policy.ColumnRule{Sensitive: true, Tag: "email", Mask: policy.Mask{Kind: policy.MaskEmail}}},
		{"app", "orders", "email", policy.ColumnRule{Sensitive: true, Tag: "email", Mask: policy.Mask{Kind: policy.MaskEmail}}},
		{"app", "customers", "name", policy.ColumnRule{Scan: true}},
		{"pg_catalog", "pg_class", "email", policy.ColumnRule{}},
	}
	for _, tt := range tests {
		if got := v.Column(tt.schema, tt.table, tt.column); got != tt.want {
			t.Errorf("Column(%s.%s.%s) = %+v, want %+v", tt.schema, tt.table, tt.column, got, tt.want)
		}
	}
	if !v.Function("app", "lookup_order") || v.Function("app", "other") {
		t.Error("Function does not follow functions:")
	}
}

func TestLimits(t *testing.T) {
	v := view(shop(t), support())
	d := v.Decide(filtered(touch(protocol.Update, "app", "orders", "status")))
	want := protocol.Limits{Rows: 1000, Bytes: 2 << 20, Affected: 1, Millis: 30_000}
	if d.Limits != want {
		t.Errorf("Limits = %+v, want %+v", d.Limits, want)
	}
	if len(d.Bounds) != 1 || d.Bounds[0] != (policy.Bound{Affected: 1, Verdict: protocol.Deny, Rule: "support-agent/set-status"}) {
		t.Errorf("Bounds = %+v", d.Bounds)
	}
	if len(v.Budgets()) != 1 || v.Budgets()[0].Policy != "support-agent" {
		t.Errorf("Budgets = %+v", v.Budgets())
	}
}

func TestAccount(t *testing.T) {
	token := func(issuer string) *policy.Token { return &policy.Token{Issuer: issuer, Subject: "alice"} }
	all := []policy.Subject{
		{Process: policy.Process{User: "alice", PID: 1}, Workload: policy.Workload{Name: "w"}},
		{Workload: policy.Workload{Name: "alice"}},
		{Workload: policy.Workload{Namespace: "a", Pod: "alice"}},
		{Workload: policy.Workload{Namespace: "b", Pod: "alice"}},
		{Workload: policy.Workload{Namespace: "a", Pod: "p", ServiceAccount: "alice"}},
		{Token: token("https://a.test")},
		{Token: token("https://b.test")},
	}
	seen := map[string]int{}
	for i := range all {
		if j, ok := seen[all[i].Account()]; ok {
			t.Errorf("%d and %d spend the same budgets", i, j)
		}
		seen[all[i].Account()] = i
	}
	again := all[0]
	again.Process.PID, again.Process.Exe = 2, "/tmp/copy"
	if again.Account() != all[0].Account() {
		t.Error("another process of a user has budgets of its own")
	}
}
