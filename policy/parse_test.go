package policy_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/policy"
)

const head = `apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["db:5432"]
  credential: {username: u}
`

const policyHead = `---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: p}
spec:
  subjects: [{any: true}]
  databases: [shop]
`

func TestErrorsHavePlaces(t *testing.T) {
	tests := []struct {
		name, text string
		want       string
	}{
		{"unknown field", head + "  colour: red\n", `8:3: unknown field "colour" in Database.spec; known: `},
		{"near miss", head + "  unlabeled: deny\n", `8:3: unknown field "unlabeled" in Database.spec; did you mean "unlabelled"?`},
		{"wrong type", head + "  detect: email\n", `8:11: detect must be a list, not a string`},
		{"bad value", head + "  conditions: maybe\n", `8:15: unknown conditions "maybe"; known: deny, mask`},
		{"number for a string", head + "  sensitive: [{tag: 1, columns: []}]\n", `8:21: tag must be a string, not a number: put it in quotes`},
		{"alias", head + "  clear: [*.*.email]\n", `an alias (quote a text that starts with *)`},
		{"twice", head + "  detect: [email]\n  detect: [email]\n", `9:3: mapping key "detect" already defined at [8:3]`},
		{"unknown detector", head + "  detect: [e-mail]\n", `8:12: unknown detector "e-mail"; did you mean "email"?`},
		{"no kind", "apiVersion: sluicegate.io/v1alpha1\n", `1:1: a document needs "kind"`},
		{"unknown kind", "kind: Databse\n", `1:7: unknown kind "Databse"; did you mean "Database"?`},
		{"version", strings.Replace(head, "v1alpha1", "v2", 1), `1:13: unknown apiVersion "sluicegate.io/v2"`},
		{"missing", "apiVersion: sluicegate.io/v1alpha1\nkind: Agent\nmetadata: {}\nspec: {}\n", `3:11: metadata needs "name"`},
		{"scram without placeholder", strings.Replace(head, "  credential: {username: u}", "  credential: {username: u, passwordFile: /p}\n  clientAuth: scram", 1), `8:15: clientAuth: scram needs clientPasswordFile`},
		{"placeholder without scram", strings.Replace(head, "  credential: {username: u}", "  credential: {username: u, passwordFile: /p}\n  clientPasswordFile: /q", 1), `8:23: clientPasswordFile has no effect without clientAuth: scram`},
		{"placeholder is the password", strings.Replace(head, "  credential: {username: u}", "  credential: {username: u, passwordFile: /p}\n  clientAuth: scram\n  clientPasswordFile: /p", 1), `9:23: clientPasswordFile is the credential's passwordFile`},
		{"passthrough alone", strings.Replace(head, "{username: u}", "{passthrough: true}", 1), `7:15: credential needs a username beside passthrough: true, of the account that reads the catalog`},
		{"passthrough with token", strings.Replace(head, "{username: u}", "{passthrough: true, username: u}", 1) + "  clientAuth: token\n", `8:15: clientAuth cannot be combined with credential.passthrough`},
		{"passthrough with scram", strings.Replace(head, "{username: u}", "{passthrough: true, username: u}", 1) + "  clientAuth: scram\n  clientPasswordFile: /p\n", `8:15: clientAuth cannot be combined with credential.passthrough`},
		{"passthrough with a certificate", strings.Replace(head, "{username: u}", "{passthrough: true, username: u}", 1) + "  tls: {mode: require, certFile: /c, keyFile: /k}\n", `7:15: credential.passthrough cannot be combined with tls.certFile`},
		{"clear text without TLS", strings.Replace(head, "{username: u}", "{username: u, auth: password}", 1) + "  tls: {mode: disable}\n", `7:15: credential.auth: password needs tls.mode verify-full or verify-ca`},
		{"clear text to anybody", strings.Replace(head, "{username: u}", "{username: u, auth: password}", 1) + "  tls: {mode: require}\n", `7:15: credential.auth: password needs tls.mode verify-full or verify-ca`},
		{"credentials without a name", head + "  credentials: [{username: v}]\n", `8:17: an entry of credentials needs a name`},
		{"credentials of one name", head + "  credentials: [{name: a, username: v}, {name: a, username: w}]\n", `8:41: two credentials are called "a"`},
		{"credentials and passthrough", strings.Replace(head, "{username: u}", "{passthrough: true, username: u}", 1) + "  credentials: [{name: a, username: v}]\n", `8:17: credentials cannot be combined with credential.passthrough`},
		{"passthrough by name", head + "  credentials: [{name: a, username: v, passthrough: true}]\n", `8:17: passthrough is for credential`},
		{"clear text by name", head + "  tls: {mode: require}\n  credentials: [{name: a, username: v, auth: password}]\n", `9:17: credential.auth: password needs`},
		{"another login than the views'", head + "  mode: role\n  credentials: [{name: a, username: v}]\n", `9:17: under mode: role the username of credential "a" must be role.login, "u"`},
		{"unknown credential", head + "  credentials: [{name: reader, username: v}]\n" + policyHead + "  credential: raeder\n", `16:15: policy "p" uses the credential "raeder", which Database "shop" does not have`},
		{"pool of another's login", strings.Replace(head, "{username: u}", "{passthrough: true, username: u}", 1) + "  pool: {mode: session}\n", `8:9: pool cannot be combined with credential.passthrough`},
		{"pool mode", head + "  pool: {mode: transaction}\n", `8:16: unknown pool mode "transaction"; known: none, session`},
		{"pool without a mode", head + "  pool: {idle: 10s}\n", `8:9: pool needs "mode"`},
		{"pool is no word", head + "  pool: session\n", `8:9: pool must be a mapping`},
		{"pool for too long", head + "  pool: {mode: session, idle: 2h}\n", `pool: idle is at most 1h`},
		{"pool for a week", head + "  pool: {mode: session, age: 7d}\n", `pool: age is at most 24h`},
		{"pool of many alike", head + "  pool: {mode: session, max: 50, total: 10}\n", `is larger than total`},
		{"unknown auth", strings.Replace(head, "{username: u}", "{username: u, auth: trust}", 1), `7:35: unknown auth "trust"; known: md5, password, scram`},
		{"endpoint", strings.Replace(head, "db:5432", "db", 1), `6:15: endpoint "db": has no port`},
		{"socket folder", strings.Replace(head, "db:5432", "unix:run/x", 1), `6:15: endpoint "unix:run/x": write the path of the socket`},
		{"socket detour", strings.Replace(head, "db:5432", "unix:/run/../x", 1), `6:15: endpoint "unix:/run/../x": write the path without detours: /x`},
		{"socket without a name", strings.Replace(head, "db:5432", "unix:@", 1), `6:15: endpoint "unix:@": write the path of the socket`},
		{"socket too long", strings.Replace(head, "db:5432", "unix:/"+strings.Repeat("x", 107), 1), `the name of a unix socket has at most 107 bytes`},
		{"socket with a tab", strings.Replace(head, "db:5432", `unix:/a\tb`, 1), `has no control characters`},
		{"endpoint bits", strings.Replace(head, "db:5432", "10.0.0.1/8:5432", 1), `6:15: endpoint "10.0.0.1/8:5432": has bits beyond its length set: write 10.0.0.0/8:5432`},
		{"yaml", "a: [1\n", `1:4: `},
		{"not a mapping", "- a\n", `1:1: a document must be a mapping`},
		{"not utf-8", "a: \xff\n", `1:4: not UTF-8 text`},
		{"deep", strings.Repeat("[", 1000000), `nested too deeply`},
		{"deep block", strings.Repeat("- ", 100000) + "a", `nested too deeply`},
		{"anchor", head + "  detect: &a [email]\n", `8:11: detect must be a list, not an anchor`},
		{"octal", head + policyHead + "  limits: {rows: 010}\n", `15:18: rows must be a whole number`},
		{"size", head + policyHead + "  limits: {bytes: 2megs}\n", `15:19: bytes "2megs" is not a size`},
		{"time", head + policyHead + "  limits: {time: 30}\n", `15:18: time must be a time span such as 30s, 15m, 1h or 7d, not a number`},
		{"effect", head + policyHead + "  rules: [{effect: perhaps, actions: [select], on: [a.b]}]\n", `15:20: unknown effect "perhaps"; known: allow, approve, deny, mask`},
		{"action", head + policyHead + "  rules: [{effect: allow, actions: [selekt], on: [a.b]}]\n", `15:36: unknown action "selekt"; did you mean "select"?`},
		{"allow everything by omission", head + policyHead + "  rules: [{effect: allow, actions: [select]}]\n", `15:11: a rule that allows needs "on"; "*" is everything`},
		{"upper case", head + policyHead + "  rules: [{effect: deny, actions: [select], on: [app.Users]}]\n", `write users, or '"Users"' in double quotes`},
		{"glob", head + policyHead + "  rules: [{effect: deny, actions: [select], on: [app.user*]}]\n", `a part is a whole name or *`},
		{"bare", head + policyHead + "  rules: [{effect: deny, actions: [any], on: [users]}]\n", `15:47: "users" names no table: write "schema.users"`},
		{"bare except", head + policyHead + "  rules: [{effect: allow, actions: [select], on: [app.*], except: [users]}]\n", `"users" names no table`},
		{"setting with a schema", head + policyHead + "  rules: [{effect: deny, actions: [set], on: [\"*.*\"]}]\n", `"*.*" has a schema`},
		{"columns of delete", head + policyHead + "  rules: [{effect: deny, actions: [delete], on: [app.users.a]}]\n", `delete concerns whole objects`},
		{"match", head + policyHead + "  rules: [{effect: deny, actions: [select], match: {colour: x}}]\n", `unknown field "colour" in match; known: affected, filtered, scope, time`},
		{"scope", head + policyHead + "  rules: [{effect: allow, actions: [select], on: [a.b], match: {scope: x}}]\n", `scope must be a mapping`},
		{"scope without values", head + policyHead + "  rules: [{effect: allow, actions: [select], on: [a.b], match: {scope: {column: c}}}]\n", `scope needs exactly one of equals and in`},
		{"scope of two", head + policyHead + "  rules: [{effect: allow, actions: [select], on: [a.b], match: {scope: {column: c, equals: 1, in: [2]}}}]\n", `scope needs exactly one of equals and in`},
		{"scope of a table's column", head + policyHead + "  rules: [{effect: allow, actions: [select], on: [a.b], match: {scope: {column: b.c, equals: 1}}}]\n", `"b.c" in column: write the bare name of a column`},
		{"scope of nobody", head + policyHead + "  rules: [{effect: allow, actions: [select], on: [a.b], match: {scope: {column: c, equals: {claim: x, label: y}}}}]\n", `equals must be a text, a number, {claim: name} or {label: name}`},
		{"scope that denies", head + policyHead + "  rules: [{effect: deny, actions: [select], match: {scope: {column: c, equals: 1}}}]\n", `scope belongs to rules with effect allow or mask`},
		{"scope of any", head + policyHead + "  rules: [{effect: allow, actions: [any], on: [a.b], match: {scope: {column: c, equals: 1}}}]\n", `a rule with a scope names its actions`},
		{"scope of truncate", head + policyHead + "  rules: [{effect: allow, actions: [truncate], on: [a.b], match: {scope: {column: c, equals: 1}}}]\n", `truncate is not about single rows`},
		{"affected", head + policyHead + "  rules: [{effect: allow, actions: [update], on: [a.b], match: {affected: \">5\"}}]\n", `a rule that allows is bounded from above: write affected: "<=5"`},
		{"affected of select", head + policyHead + "  rules: [{effect: deny, actions: [select], match: {affected: \">5\"}}]\n", `select does not say how many rows it changes`},
		{"two rules of a name", head + policyHead + "  rules:\n  - {name: a, effect: deny, actions: [ddl]}\n  - {name: a, effect: deny, actions: [ddl]}\n", `17:5: two rules of "p" are called "a"`},
		{"dangling database", head + strings.Replace(policyHead, "[shop]", "[shop, shoq]", 1), `14:21: policy "p" names the Database "shoq", which is not defined; did you mean "shop"?`},
		{"dangling tag", head + policyHead + "  reveal: [ssn]\n", `15:12: policy "p" reveals the tag "ssn", which none of its databases has`},
		{"duplicate", head + "---\n" + head, `11:18: Database "shop" is also defined at f.yaml:3:18`},
		{"label twice", head + "  sensitive:\n  - {tag: a, columns: [\"a.b.c\"]}\n  - {tag: b, columns: [\"a.b.c\"]}\n", `10:24: "a.b.c" is labelled twice`},
		{"endpoint of two", head + "---\n" + strings.Replace(head, "name: shop", "name: other", 1), `6:15: endpoint db:5432 already belongs to Database`},
		{"workload", head + strings.Replace(policyHead, "{any: true}", "{workload: bot}", 1), `13:14: no Workload is called "bot"`},
		{"empty subjects", head + strings.Replace(policyHead, "[{any: true}]", "[]", 1), `subjects must name at least one`},
		{"grant denies", head + strings.Replace(policyHead, "Policy", "Grant", 1) + "  expires: 2026-05-01T00:00:00Z\n  rules: [{effect: deny, actions: [ddl]}]\n", `a Grant can only allow`},
		{"second document", head + "...\n" + "kind: Nothing\n", `9:7: unknown kind "Nothing"`},
		{"after an empty document", "---\n---\n" + "kind: Nothing\n", `3:7: unknown kind "Nothing"`},
		{"null value", head + "  detect:\n", `8:3: detect has no value`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := policy.Load([]policy.File{{Name: "f.yaml", Data: []byte(tt.text)}})
			var syntax *policy.SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(syntax.All(), tt.want) {
				t.Errorf("got  %s\nwant %s", syntax.All(), tt.want)
			}
			if syntax.File != "f.yaml" || syntax.Line < 1 || syntax.Column < 1 {
				t.Errorf("no place: %+v", syntax)
			}
		})
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	text := head + "  colour: red\n  conditions: maybe\n" + policyHead + "  rules: [{effect: no, actions: [x], on: [a.y]}]\n"
	_, err := policy.Load([]policy.File{{Name: "b.yaml", Data: []byte(text)}, {Name: "a.yaml", Data: []byte("kind: x")}})
	var syntax *policy.SyntaxError
	if !errors.As(err, &syntax) {
		t.Fatal(err)
	}
	var places []string
	for line := range strings.SplitSeq(syntax.All(), "\n") {
		places = append(places, strings.Join(strings.SplitN(line, ":", 3)[:2], ":"))
	}
	if got := strings.Join(places, " "); got != "a.yaml:1 b.yaml:8 b.yaml:9 b.yaml:17 b.yaml:17" {
		t.Errorf("%s\n%s", got, syntax.All())
	}
	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, "---\nkind: x%d\n", i)
	}
	_, err = policy.Load([]policy.File{{Name: "c.yaml", Data: []byte(many.String())}})
	if errors.As(err, &syntax); len(syntax.Others) != 99 || syntax.More != 400 {
		t.Errorf("%d others, %d more", len(syntax.Others), syntax.More)
	}
}

func TestJSONIsYAML(t *testing.T) {
	set := load(t, `{"apiVersion": "sluicegate.io/v1alpha1", "kind": "Database", "metadata": {"name": "shop"},
		"spec": {"protocol": "postgres", "endpoints": ["db:5432"], "credential": {"username": "u"}}}`)
	if set.Database("shop") == nil {
		t.Error("not there")
	}
}

func TestDatabaseFields(t *testing.T) {
	db := shop(t).Database("shop")
	var got []string
	for _, e := range db.Endpoints {
		got = append(got, e.String())
	}
	if strings.Join(got, " ") != "shop-db.internal:5432 10.20.0.0/16:5432 *:5432" {
		t.Errorf("endpoints %v", got)
	}
	if db.TLS.Mode != policy.TLSVerifyFull || db.TLS.CAFile != "/etc/sluice/shop-ca.pem" || db.Credential.Username != "shop_agent" {
		t.Errorf("%+v", db)
	}
	if !db.AllowsName("anything") || db.Conditions != policy.ConditionsDeny || db.Enforce != policy.Enforce {
		t.Errorf("defaults: %+v", db)
	}
}

func TestAgentDefaults(t *testing.T) {
	a := load(t, "").Agent()
	if a.Admin.Socket != "/run/sluice/admin.sock" || a.Record.Sync != policy.SyncInterval || a.Record.Interval != 100*time.Millisecond || a.Record.Directory != "/var/lib/sluice/sessions" || a.PassUnmatched {
		t.Errorf("%+v", a)
	}
	a = load(t, `
apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: here}
spec:
  stateDir: /data
  metrics: {listen: "127.0.0.1:9469"}
  record: {sync: interval, interval: 500ms, retain: 30d}
  oidc: [{issuer: "https://idp.example.com", audience: sluice, caFile: /etc/ca.pem}]
  unmatched: pass
`).Agent()
	if a.Record.Directory != "/data/sessions" || a.Record.Sync != policy.SyncInterval || a.Record.Retain != 30*24*time.Hour ||
		!a.PassUnmatched || len(a.Issuers) != 1 || a.Metrics != "127.0.0.1:9469" {
		t.Errorf("%+v", a)
	}
}

func TestKubernetesBlock(t *testing.T) {
	const agent = "apiVersion: sluicegate.io/v1alpha1\nkind: Agent\nmetadata: {name: here}\nspec:\n"
	if a := load(t, agent+"  unmatched: pass\n").Agent(); a.Kubernetes != nil {
		t.Errorf("without a block: %+v", a.Kubernetes)
	}
	want := &policy.Kubernetes{NRI: policy.NRI{Socket: "/run/nri/nri.sock", Index: "10"}, Drain: 20 * time.Second,
		Token: policy.PodToken{Path: policy.PodTokenPath}}
	if got := load(t, agent+"  kubernetes: {}\n").Agent().Kubernetes; !reflect.DeepEqual(got, want) {
		t.Errorf("an empty block: %+v, want %+v", got, want)
	}
	want = &policy.Kubernetes{Node: "n1", Kubeconfig: "/etc/kubeconfig", NoResources: true, NoPods: true, Cgroup: "/kubepods.slice",
		NRI: policy.NRI{Disabled: true, Socket: "/run/nri.sock", Index: "05"}, PassUndecided: true, EnrollUnenforced: true,
		Token: policy.PodToken{Path: "/var/run/token", Audience: "sluice", Issuer: "https://issuer", Required: true}, Trust: true, Drain: time.Minute}
	got := load(t, agent+`  kubernetes:
    node: n1
    kubeconfig: /etc/kubeconfig
    resources: files
    pods: none
    cgroup: /kubepods.slice
    nri: {mode: off, socket: /run/nri.sock, index: "05"}
    undecided: pass
    unenforced: enroll
    token: {path: /var/run/token, audience: sluice, issuer: "https://issuer", mode: require}
    trust: annotated
    drain: 1m
`).Agent().Kubernetes
	if !reflect.DeepEqual(got, want) {
		t.Errorf("a full block: %+v, want %+v", got, want)
	}
	for _, bad := range []string{"node: A_B", "cgroup: /../x", `nri: {index: "7"}`, "token: {mode: perhaps}", "resources: true", "undecided: maybe", "nodes: 1"} {
		if _, err := policy.Load([]policy.File{{Name: "f.yaml", Data: []byte(agent + "  kubernetes: {" + bad + "}\n")}}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	shop, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shop)
	f.Add([]byte(head + policyHead + "  rules:\n  - {effect: mask, actions: [select], on: [\"*\"], mask: {round: 10}, match: {time: [{days: [mon-fri], from: \"09:00\", to: \"17:00\", zone: \"+02:00\"}]}}\n"))
	f.Add([]byte("---\n...\n--- {kind: Agent}\n"))
	f.Add([]byte("a: |\n  b\n? c\n: d\n<<: *e\n&f g: !!str h\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := policy.Parse("f.yaml", data)
		var syntax *policy.SyntaxError
		if err != nil && (!errors.As(err, &syntax) || syntax.Line < 1 || syntax.Column < 1) {
			t.Fatalf("no place: %#v", err)
		}
		if err == nil {
			policy.New(docs) // must not panic
		}
	})
}

// How a document is written must not change what it says.
func TestSpellings(t *testing.T) {
	data, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	plain := string(data)
	want := load(t, plain).Rights()
	for name, text := range map[string]string{
		"CRLF":           strings.ReplaceAll(plain, "\n", "\r\n"),
		"mark":           "\ufeff" + plain,
		"start marker":   "---\n" + plain,
		"end marker":     plain + "...\n",
		"comments":       "# a: b\n---\n# c\n" + strings.ReplaceAll(plain, "spec:\n", "spec: # here: it begins\n  # and: goes on\n"),
		"empty between":  strings.ReplaceAll(plain, "\n---\n", "\n---\n# nothing\n---\n\n---\n"),
		"header on line": strings.ReplaceAll(plain, "---\napiVersion", "--- # policy\napiVersion"),
		"no newline":     strings.TrimRight(plain, "\n"),
	} {
		set, err := policy.Load([]policy.File{{Name: "f.yaml", Data: []byte(text)}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := set.Rights(); len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
			t.Errorf("%s: %d rights, want %d", name, len(got), len(want))
		}
	}
	multi := load(t, head+policyHead+`
  rules:
  - name: long
    effect: deny
    actions:
      - ddl
    reason: >-
      schema changes: they go
      through migrations
  tests:
  - sql: |
      select a  -- not: a key
      from "b"
    expect: deny
`).Policies()[0]
	if multi.Rules[0].Reason != "schema changes: they go through migrations" || multi.Tests[0].SQL != "select a  -- not: a key\nfrom \"b\"\n" {
		t.Errorf("%q %q", multi.Rules[0].Reason, multi.Tests[0].SQL)
	}
}
