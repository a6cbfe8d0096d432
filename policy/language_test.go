package policy_test

import (
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/protocol"
)

// with is a Database with more lines, and one Policy for everybody.
func with(database, rules string) string {
	return head + database + policyHead + rules
}

func everybody(t *testing.T, text string) *policy.View {
	t.Helper()
	v, _ := load(t, text).View(&policy.Subject{}, "shop", now)
	return v
}

func check(t *testing.T, v *policy.View, st *protocol.Statement, verdict protocol.Verdict, rule string) {
	t.Helper()
	if d := v.Decide(st); d.Verdict != verdict || d.Rule != rule {
		t.Errorf("got %v by %q (%s), want %v by %q", d.Verdict, d.Rule, d.Reason, verdict, rule)
	}
}

func object(a protocol.Action, kind protocol.Kind, schema, name string) *protocol.Statement {
	return &protocol.Statement{Understood: true, Accesses: []protocol.Access{{Action: a, Object: protocol.Object{Kind: kind, Schema: schema, Name: name}}}}
}

func TestWildcards(t *testing.T) {
	v := everybody(t, with("", `
  rules:
    - {name: read, effect: allow, actions: [select], on: ["*.*"]}
    - {name: admin, effect: allow, actions: [any], on: [app.*]}
    - {name: set, effect: allow, actions: [set], on: [work_mem, '"TimeZone"']}
    - {name: listen, effect: allow, actions: [listen], on: [news]}
    - {name: no, effect: deny, actions: [any], on: [vault.*, "*.secrets", pg_catalog.pg_authid]}
    - {name: odd, effect: deny, actions: [select], on: ['app."Odd.Name"']}
`))
	check(t, v, touch(protocol.Select, "any", "thing", "a"), protocol.Allow, "p/read")
	check(t, v, touch(protocol.Select, "pg_catalog", "pg_class", "relname"), protocol.Deny, "")
	check(t, v, touch(protocol.Select, "information_schema", "tables"), protocol.Deny, "")
	check(t, v, touch(protocol.Select, "pg_catalog", "pg_authid"), protocol.Deny, "p/no")
	check(t, v, touch(protocol.Select, "app", "Odd.Name"), protocol.Deny, "p/odd")
	check(t, v, touch(protocol.Select, "x", "secrets"), protocol.Deny, "p/no")
	check(t, v, touch(protocol.Truncate, "app", "t"), protocol.Allow, "p/admin")
	check(t, v, object(protocol.Call, protocol.Function, "app", "f"), protocol.Allow, "p/admin")
	check(t, v, object(protocol.Set, protocol.Setting, "", "work_mem"), protocol.Allow, "p/set")
	check(t, v, object(protocol.Set, protocol.Setting, "", "timezone"), protocol.Allow, "p/set")
	check(t, v, object(protocol.Set, protocol.Setting, "", "role"), protocol.Deny, "")
	check(t, v, object(protocol.Listen, protocol.Channel, "", "news"), protocol.Allow, "p/listen")
	check(t, v, object(protocol.Listen, protocol.Channel, "", "News"), protocol.Deny, "")
	// What is in a schema is not the schema, where that would give a right; it is
	// where it takes one away.
	check(t, v, object(protocol.Drop, protocol.Schema, "", "app"), protocol.Deny, "")
	check(t, v, object(protocol.Drop, protocol.Schema, "", "vault"), protocol.Deny, "p/no")
	check(t, v, object(protocol.Create, protocol.DatabaseItself, "", "shop"), protocol.Deny, "")
}

func TestColumnsOfRules(t *testing.T) {
	v := everybody(t, with("", `
  rules:
    - {name: some, effect: allow, actions: [select, insert, update], on: [app.a, app.b.x, app.b.y], except: [app.a.hidden]}
    - {name: all, effect: allow, actions: [any], on: [app.c.x]}
    - {name: not-z, effect: deny, actions: [any], on: [app.c.z]}
    - {name: some-delete, effect: allow, actions: [delete], on: [app.a], except: [app.a.hidden]}
`))
	check(t, v, touch(protocol.Select, "app", "a", "x"), protocol.Allow, "p/some")
	check(t, v, touch(protocol.Select, "app", "a", "hidden", "x"), protocol.Deny, "")
	check(t, v, touch(protocol.Select, "app", "a"), protocol.Allow, "p/some")
	check(t, v, touch(protocol.Select, "app", "b", "x", "y"), protocol.Allow, "p/some")
	check(t, v, touch(protocol.Select, "app", "b", "z"), protocol.Deny, "")
	check(t, v, touch(protocol.Select, "app", "b"), protocol.Allow, "p/some")
	check(t, v, touch(protocol.Select, "app", "c", "x"), protocol.Allow, "p/all")
	check(t, v, touch(protocol.Select, "app", "c", "z"), protocol.Deny, "p/not-z")
	check(t, v, touch(protocol.Delete, "app", "c"), protocol.Deny, "p/not-z") // every column goes
	check(t, v, touch(protocol.Select, "app", "c"), protocol.Allow, "p/all")  // no column is read
	check(t, v, touch(protocol.Delete, "app", "a"), protocol.Deny, "")        // the excepted column would go too
}

func TestUnlabelled(t *testing.T) {
	rules := `
  rules: [{name: r, effect: allow, actions: [select, insert], on: ["*.*"]}]
`
	labels := `
  clear: ["app.t.id", "*.*.created"]
  sensitive: [{tag: s, columns: ["*.*.ssn"], mask: hash}]
`
	v := everybody(t, with("  unlabelled: mask"+labels, rules))
	check(t, v, touch(protocol.Select, "app", "t", "id", "created", "ctid"), protocol.Allow, "p/r")
	check(t, v, touch(protocol.Select, "app", "t", "note"), protocol.Mask, "p/r")
	check(t, v, touch(protocol.Insert, "app", "t", "note"), protocol.Allow, "p/r")
	if c := v.Column("app", "t", "note"); !c.Sensitive || c.Tag != "unlabelled" || c.Mask != (policy.Mask{}) {
		t.Errorf("%+v", c)
	}
	v = everybody(t, with("  unlabelled: mask"+labels, rules+"  reveal: [unlabelled]\n"))
	check(t, v, touch(protocol.Select, "app", "t", "note"), protocol.Allow, "p/r")
	v = everybody(t, with("  unlabelled: deny"+labels, rules))
	check(t, v, touch(protocol.Select, "app", "t", "id", "ssn"), protocol.Mask, "p/r")
	check(t, v, touch(protocol.Select, "app", "t", "id", "note"), protocol.Deny, "database:shop/unlabelled")
	check(t, v, touch(protocol.Insert, "app", "t", "note"), protocol.Deny, "database:shop/unlabelled")
	check(t, v, touch(protocol.Select, "app", "t"), protocol.Allow, "p/r")
}

func TestLabels(t *testing.T) {
	set := load(t, head+`
  sensitive:
    - {tag: any-email, columns: ["*.*.email"], mask: email}
    - {tag: pii, columns: ["hr.*.*"]}
    - {tag: exact, columns: ["hr.people.email"], mask: {keepLast: 1}}
    - {tag: col, columns: ["*.people.name"], mask: hash}
  clear: ["hr.people.id", "public.*.*"]
  detect: [email, iban]
`+policyHead+`
  rules: [{name: r, effect: allow, actions: [select], on: ["*.*"]},
    {name: half, effect: mask, actions: [select], on: [app.t], columns: [pin], mask: {keepFirst: 1}}]
  reveal: [exact, iban]
`)
	v := view(set, &policy.Subject{})
	tests := []struct {
		schema, table, column, tag string
	}{
		{"app", "t", "email", "any-email"},
		{"hr", "other", "x", "pii"},
		{"hr", "other", "email", "pii"},     // an exact schema counts more than an exact column
		{"hr", "people", "email", "pii"},    // revealed, but not all that it is
		{"hr", "people", "name", "col"},     // an exact table counts most
		{"hr", "people", "id", ""},          // clear
		{"public", "people", "name", "col"}, // clear is less exact
		{"public", "x", "email", ""},        // clear is more exact
		{"app", "t", "pin", "half"},
		{"app", "t", "other", ""},
	}
	for _, tt := range tests {
		c := v.Column(tt.schema, tt.table, tt.column)
		if c.Tag != tt.tag || c.Sensitive != (tt.tag != "") || c.Scan == c.Sensitive {
			t.Errorf("%s.%s.%s: %+v, want tag %q", tt.schema, tt.table, tt.column, c, tt.tag)
		}
	}
	if got := strings.Join(v.Detect(), " "); got != "email" {
		t.Errorf("detectors %s", got)
	}
	check(t, v, touch(protocol.Select, "app", "t", "pin"), protocol.Mask, "p/half")
}

func TestAffected(t *testing.T) {
	v := everybody(t, with("", `
  rules:
    - {name: write, effect: allow, actions: [update, delete, truncate], on: [app.*]}
    - {name: many, effect: approve, actions: [update, delete], on: [app.*], match: {affected: ">10"}}
    - {name: too-many, effect: deny, actions: [any], match: {affected: ">=1001"}}
    - {name: few, effect: allow, actions: [insert], on: [app.*], match: {affected: "<=5"}}
    - {name: read, effect: allow, actions: [select], on: [app.*]}
  limits: {affected: 5000}
`))
	d := v.Decide(touch(protocol.Update, "app", "t", "a"))
	want := []policy.Bound{
		{Affected: 10, Verdict: protocol.Approve, Rule: "p/many"},
		{Affected: 1000, Verdict: protocol.Deny, Rule: "p/too-many"},
		{Affected: 5000, Verdict: protocol.Deny, Rule: "p/limits"},
	}
	if d.Verdict != protocol.Allow || len(d.Bounds) != 3 || d.Bounds[0] != want[0] || d.Bounds[1] != want[1] || d.Bounds[2] != want[2] || d.Limits.Affected != 10 {
		t.Errorf("%+v", d)
	}
	d = v.Decide(touch(protocol.Insert, "app", "t", "a"))
	if d.Verdict != protocol.Allow || d.Limits.Affected != 5 {
		t.Errorf("%+v", d)
	}
	// Nobody counts what TRUNCATE removes.
	check(t, v, touch(protocol.Truncate, "app", "t"), protocol.Deny, "p/too-many")
	check(t, v, touch(protocol.Select, "app", "t", "a"), protocol.Allow, "p/read")
}

func TestWindows(t *testing.T) {
	set := load(t, with("", `
  rules:
    - {name: office, effect: allow, actions: [select], on: [app.*],
       match: {time: [{days: [mon-fri], from: "09:00", to: "17:00", zone: "+02:00"}]}}
    - {name: night, effect: allow, actions: [update], on: [app.*], match: {time: [{days: [fri], from: "22:00", to: "02:00"}]}}
`))
	at := func(s string) time.Time {
		m, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	tests := []struct {
		at           string
		read, update bool
		until        string
	}{
		{"2026-03-10T06:59:59Z", false, false, "2026-03-10T07:00:00Z"},
		{"2026-03-10T07:00:00Z", true, false, "2026-03-10T15:00:00Z"},
		{"2026-03-10T15:00:00Z", false, false, "2026-03-11T07:00:00Z"},
		{"2026-03-13T23:00:00Z", false, true, "2026-03-14T02:00:00Z"},
		{"2026-03-14T01:59:00Z", false, true, "2026-03-14T02:00:00Z"},
		{"2026-03-14T12:00:00Z", false, false, "2026-03-16T07:00:00Z"},
	}
	for _, tt := range tests {
		v, until := set.View(&policy.Subject{}, "shop", at(tt.at))
		read := v.Decide(touch(protocol.Select, "app", "t", "a")).Verdict == protocol.Allow
		update := v.Decide(touch(protocol.Update, "app", "t", "a")).Verdict == protocol.Allow
		if read != tt.read || update != tt.update || !until.Equal(at(tt.until)) {
			t.Errorf("%s: read %v, update %v, until %v", tt.at, read, update, until)
		}
	}
}

func TestGrants(t *testing.T) {
	set := load(t, with("", `
  rules:
    - {name: ask, effect: approve, actions: [update], on: [app.*], approvers: {groups: [dba], count: 2}, grantFor: 15m}
    - {name: never, effect: deny, actions: [update], on: [app.ledger]}
`)+`---
apiVersion: sluicegate.io/v1alpha1
kind: Grant
metadata: {name: g1}
spec:
  subjects: [{serviceAccount: agents/support-agent}]
  databases: [shop]
  notBefore: 2026-03-10T12:00:00Z
  expires: 2026-03-10T12:15:00Z
  approver: alice
  rules: [{name: yes, effect: allow, actions: [update], on: [app.*]}]
`)
	update, ledger := touch(protocol.Update, "app", "t", "a"), touch(protocol.Update, "app", "ledger", "a")
	v, until := set.View(support(), "shop", now)
	check(t, v, update, protocol.Allow, "g1/yes")
	check(t, v, ledger, protocol.Deny, "p/never")
	if !until.Equal(now.Add(15 * time.Minute)) {
		t.Errorf("until %v", until)
	}
	v, until = set.View(support(), "shop", until)
	check(t, v, update, protocol.Approve, "p/ask")
	if d := v.Decide(update); d.Approvers.Count != 2 || d.GrantFor != 15*time.Minute || !until.IsZero() {
		t.Errorf("%+v until %v", d, until)
	}
	v, _ = set.View(&policy.Subject{}, "shop", now)
	check(t, v, update, protocol.Approve, "p/ask")
	v, until = set.View(support(), "shop", now.Add(-time.Second))
	check(t, v, update, protocol.Approve, "p/ask")
	if !until.Equal(now) {
		t.Errorf("until %v", until)
	}
}

func TestObserve(t *testing.T) {
	rules := "  rules: [{name: r, effect: allow, actions: [select], on: [app.t]}]\n"
	labels := "  sensitive: [{tag: s, columns: [\"app.t.ssn\"]}]\n"
	for name, text := range map[string]string{
		"database": with(labels+"  enforce: observe\n", rules),
		"policy":   with(labels, rules+"  enforce: observe\n"),
	} {
		v := everybody(t, text)
		if !v.Observe() || v.Column("app", "t", "ssn").Sensitive {
			t.Errorf("%s: does not observe", name)
		}
		check(t, v, touch(protocol.Select, "app", "t", "ssn"), protocol.Mask, "p/r")
		check(t, v, touch(protocol.Select, "app", "u", "a"), protocol.Deny, "")
	}
	// A policy that observes beside one that enforces gives nothing and takes
	// nothing, and is told of.
	v := everybody(t, with(labels, rules)+strings.Replace(policyHead, "name: p", "name: q", 1)+
		"  enforce: observe\n  rules: [{name: more, effect: allow, actions: [select], on: [app.u]}, {name: no, effect: deny, actions: [select], on: [app.t.a]}]\n")
	if v.Observe() || !v.Column("app", "t", "ssn").Sensitive {
		t.Error("an observing policy switched enforcement off")
	}
	check(t, v, touch(protocol.Select, "app", "u", "a"), protocol.Deny, "")
	check(t, v, touch(protocol.Select, "app", "t", "a"), protocol.Allow, "p/r")
	if d := v.Decide(touch(protocol.Select, "app", "t", "a")); d.Observed != "q/no" {
		t.Errorf("Observed %q", d.Observed)
	}
}

func TestSubjects(t *testing.T) {
	token := &policy.Token{Issuer: "https://idp", Subject: "s", Groups: []string{"g1", "g2"}, Audience: []string{"a"}, Claims: map[string]any{"team": "x", "n": 1.0}}
	tests := []struct {
		name, selector string
		sub            policy.Subject
		want           bool
	}{
		{"any", "{any: true}", policy.Subject{}, true},
		{"account", "{serviceAccount: a/b}", policy.Subject{Workload: policy.Workload{Namespace: "a", ServiceAccount: "b"}}, true},
		{"other namespace", "{serviceAccount: a/b}", policy.Subject{Workload: policy.Workload{Namespace: "x", ServiceAccount: "b"}}, false},
		{"any account", "{serviceAccount: a/*}", policy.Subject{Workload: policy.Workload{Namespace: "a", ServiceAccount: "z"}}, true},
		{"no account", "{serviceAccount: a/*}", policy.Subject{Workload: policy.Workload{Namespace: "a"}}, false},
		{"label", "{labels: {app: x}}", policy.Subject{Workload: policy.Workload{Labels: map[string]string{"app": "x", "b": "c"}}}, true},
		{"no label", "{labels: {app: x}}", policy.Subject{}, false},
		{"group", "{oidc: {issuer: \"https://idp\", groups: [g2]}}", policy.Subject{Token: token}, true},
		{"no token", "{oidc: {issuer: \"https://idp\"}}", policy.Subject{}, false},
		{"other issuer", "{oidc: {issuer: \"https://other\"}}", policy.Subject{Token: token}, false},
		{"claim", "{oidc: {issuer: \"https://idp\", claims: {team: x}, audience: a, subject: s}}", policy.Subject{Token: token}, true},
		{"claim of another type", "{oidc: {issuer: \"https://idp\", claims: {n: \"1\"}}}", policy.Subject{Token: token}, false},
		{"exe", "{process: {exe: /bin/x}}", policy.Subject{Process: policy.Process{PID: 1, Exe: "/bin/x"}}, true},
		{"uid 0", "{process: {uid: 0}}", policy.Subject{Process: policy.Process{PID: 1}}, true},
		{"no process", "{process: {uid: 0}}", policy.Subject{}, false},
		{"both", "{serviceAccount: a/b, process: {user: u}}", policy.Subject{Workload: policy.Workload{Namespace: "a", ServiceAccount: "b"}, Process: policy.Process{PID: 1, User: "u"}}, true},
		{"one of both", "{serviceAccount: a/b, process: {user: u}}", policy.Subject{Process: policy.Process{PID: 1, User: "u"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set := load(t, head+strings.Replace(policyHead, "{any: true}", tt.selector, 1)+
				"  rules: [{effect: allow, actions: [select], on: [a.b]}]\n")
			v, _ := set.View(&tt.sub, "shop", now)
			if v.Empty() == tt.want {
				t.Errorf("matches: %v", !v.Empty())
			}
			example := set.Policies()[0].Subjects[0].Example()
			if v, _ := set.View(example, "shop", now); v.Empty() {
				t.Errorf("the example %+v does not match", example)
			}
		})
	}
}
