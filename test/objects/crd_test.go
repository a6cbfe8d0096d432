//go:build kube

package objects

import (
	"os"
	"strings"
	"testing"

	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/test/apiserver"
)

// withKinds starts an API server that knows our kinds.
func withKinds(t *testing.T) *apiserver.Server {
	t.Helper()
	s := apiserver.Start(t)
	s.MustKubectl("", "apply", "--server-side", "-f", "../../agent/chart/crds")
	s.MustKubectl("", "wait", "--for=condition=Established", "--timeout=30s", "crd",
		"databases.sluicegate.io", "policies.sluicegate.io", "grants.sluicegate.io", "workloads.sluicegate.io", "nodereports.sluicegate.io")
	return s
}

func TestDefinitions(t *testing.T) {
	s := withKinds(t)
	out := s.MustKubectl("", "get", "crd", "-o", `jsonpath={range .items[*]}{.metadata.name}{" "}{.status.conditions}{"\n"}{end}`)
	for line := range strings.Lines(out) {
		if strings.Contains(line, "NonStructuralSchema") {
			t.Errorf("not structural: %s", line)
		}
	}
	// The design's example, but for the word that kubectl takes for true.
	shop, err := os.ReadFile("../../policy/testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.Kubectl(string(shop), "create", "-f", "-"); err == nil || !strings.Contains(out, `unknown field "spec.rules[0].true"`) {
		t.Errorf("a plain on: got %q; README.md says otherwise", out)
	}
	s.MustKubectl(strings.ReplaceAll(string(shop), " on: ", " objects: "), "apply", "-f", "-")
	for kind, want := range map[string]string{"databases": "shop-db.internal:5432", "policies": `["shop"]`} {
		if out := s.MustKubectl("", "get", kind+".sluicegate.io"); !strings.Contains(out, want) {
			t.Errorf("get %s: no %q in\n%s", kind, want, out)
		}
	}
	if out := s.MustKubectl("", "explain", "database.spec.credential.passwordSecret"); !strings.Contains(out, "Secret that holds the password") {
		t.Errorf("explain: %s", out)
	}
	// What the API server gives back, the decoder takes.
	for _, kind := range []string{"database/shop", "policy/support-agent"} {
		for _, format := range []string{"yaml", "json"} {
			out := s.MustKubectl("", "get", kind, "-o", format, "--show-managed-fields")
			if _, err := policy.Parse(kind, []byte(out)); err != nil {
				t.Errorf("%s as %s: %v", kind, format, err)
			}
		}
	}
}

// What the API server refuses, the decoder refuses too, and where it is said that the
// API server knows, it does.
func TestAdmission(t *testing.T) {
	s := withKinds(t)
	database := func(spec string) string {
		return `{"apiVersion":"sluicegate.io/v1alpha1","kind":"Database","metadata":{"name":"x"},"spec":{"protocol":"postgres","endpoints":["db:5432"],` + spec + `}}`
	}
	rule := func(kind, rule, more string) string {
		return `{"apiVersion":"sluicegate.io/v1alpha1","kind":"` + kind + `","metadata":{"name":"x"},"spec":{"subjects":[{"any":true}],"databases":["*"],"rules":[` + rule + `]` + more + `}}`
	}
	workload := func(spec string) string {
		return `{"apiVersion":"sluicegate.io/v1alpha1","kind":"Workload","metadata":{"name":"x"},"spec":` + spec + `}`
	}
	for _, tt := range []struct{ name, object, want string }{
		{"good", database(`"credential":{"username":"u","passwordSecret":{"namespace":"n","name":"s"}}`), ""},
		{"passthrough", database(`"credential":{"username":"u","passthrough":true}`), ""},
		{"passthrough alone", database(`"credential":{"passthrough":true}`), "credential needs a username"},
		{"passthrough with token", database(`"credential":{"username":"u","passthrough":true},"clientAuth":"token"`), "credential.passthrough cannot be combined"},
		{"credentials", database(`"credential":{"username":"u"},"credentials":[{"name":"r","username":"v","passwordSecret":{"namespace":"n","name":"s"}}]`), ""},
		{"credentials without a name", database(`"credential":{"username":"u"},"credentials":[{"username":"v"}]`), "a name and a username"},
		{"credentials by command", database(`"credential":{"username":"u"},"credentials":[{"name":"r","username":"v","passwordCommand":["/bin/sh"]}]`), "names a passwordSecret"},
		{"credentials and passthrough", database(`"credential":{"username":"u","passthrough":true},"credentials":[{"name":"r","username":"v"}]`), "credentials cannot be combined"},
		{"credential of a policy", rule("Policy", `{"effect":"allow","actions":["select"],"on":["a.b"]}`, `,"credential":"r"`), ""},
		{"credential of a grant", rule("Grant", `{"effect":"allow","actions":["select"],"on":["a.b"]}`, `,"expires":"2030-01-01T00:00:00Z","credential":"r"`), `unknown field "spec.credential"`},
		{"clear text to anybody", database(`"credential":{"username":"u","auth":"password"},"tls":{"mode":"require"}`), "credential.auth: password needs"},
		{"clear text", database(`"credential":{"username":"u","auth":"password"}`), ""},
		{"no username", database(`"credential":{"passwordFile":"/f"}`), "credential needs a username"},
		{"two sources", database(`"credential":{"username":"u","passwordFile":"/f","passwordEnv":"E"}`), "at most one of"},
		{"a command", database(`"credential":{"username":"u","passwordCommand":["/bin/sh"]}`), "names a passwordSecret"},
		{"unknown field", database(`"credential":{"username":"u"},"colour":"red"`), `unknown field "spec.colour"`},
		{"unknown word", database(`"credential":{"username":"u"},"unlabelled":"perhaps"`), "Unsupported value"},
		{"relative path", database(`"credential":{"username":"u","passwordFile":"f"}`), "should match"},
		{"odd secret", database(`"credential":{"username":"u","passwordSecret":{"namespace":"n","name":"a/../b"}}`), "should match"},
		{"half a certificate", database(`"credential":{"username":"u"},"tls":{"mode":"require","certFile":"/c"}`), "certFile and keyFile"},
		{"two authorities", database(`"credential":{"username":"u"},"tls":{"mode":"verify-full","caFile":"/c","caSecret":{"namespace":"n","name":"s"}}`), "caFile and caSecret"},
		{"scram without placeholder", database(`"credential":{"username":"u"},"clientAuth":"scram"`), "belong together"},
		{"role without mode", database(`"credential":{"username":"u"},"role":{"schema":"s"}`), "role belongs to"},
		{"masks", database(`"credential":{"username":"u"},"sensitive":[{"tag":"a","columns":["a.b.c"],"mask":null},{"tag":"b","columns":["a.b.d"],"mask":"email"},{"tag":"c","columns":["a.b.e"],"mask":{"keepLast":4}}]`), ""},
		{"good rule", rule("Policy", `{"effect":"allow","actions":["select"],"objects":["a.b"],"limits":{"bytes":"2MiB","rows":10}}`, ""), ""},
		{"size in digits", rule("Policy", `{"effect":"allow","actions":["select"],"on":["a.b"],"limits":{"bytes":4096}}`, ""), ""},
		{"bad size", rule("Policy", `{"effect":"allow","actions":["select"],"on":["a.b"],"limits":{"bytes":"2 parsec"}}`, ""), "should match"},
		{"no objects", rule("Policy", `{"effect":"allow","actions":["select"]}`, ""), `needs "objects"`},
		{"both words", rule("Policy", `{"effect":"allow","actions":["select"],"on":["a.b"],"objects":["a.b"]}`, ""), "the same"},
		{"approvers of an allow", rule("Policy", `{"effect":"allow","actions":["select"],"on":["a.b"],"approvers":{"groups":["g"]}}`, ""), "effect approve"},
		{"unknown action", rule("Policy", `{"effect":"allow","actions":["look"],"on":["a.b"]}`, ""), "Unsupported value"},
		{"no action", rule("Policy", `{"effect":"allow","actions":[],"on":["a.b"]}`, ""), "at least 1"},
		{"good grant", rule("Grant", `{"effect":"allow","actions":["select"],"on":["a.b"]}`, `,"expires":"2026-01-31T18:00:00Z"`), ""},
		{"endless grant", rule("Grant", `{"effect":"allow","actions":["select"],"on":["a.b"]}`, ""), "spec.expires"},
		{"backward grant", rule("Grant", `{"effect":"allow","actions":["select"],"on":["a.b"]}`, `,"expires":"2026-01-31T18:00:00Z","notBefore":"2027-01-31T18:00:00Z"`), "earlier than"},
		{"denying grant", rule("Grant", `{"effect":"deny","actions":["select"],"on":["a.b"]}`, `,"expires":"2026-01-31T18:00:00Z"`), "can only allow"},
		{"pods", workload(`{"pods":{"namespaces":["a"]}}`), ""},
		{"nothing enrolled", workload(`{"labels":{"a":"b"}}`), "exactly one of"},
		{"two ways", workload(`{"cgroup":"/a","systemdUnit":"b.service"}`), "exactly one of"},
		{"token of pods", workload(`{"pods":{"namespaces":["a"]},"tokenFile":"/t"}`), "pods have their own"},
		{"long name", strings.Replace(workload(`{"cgroup":"/a"}`), `"x"`, `"`+strings.Repeat("x", 64)+`"`, 1), "at most 63"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := s.Kubectl(tt.object, "create", "--dry-run=server", "-f", "-")
			_, perr := policy.ParseFile(policy.File{Name: "x", Data: []byte(tt.object), Object: true})
			if tt.want == "" {
				if err != nil || perr != nil {
					t.Errorf("refused: %s %v", out, perr)
				}
				return
			}
			if err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("the API server says %q, want %q", out, tt.want)
			}
			if perr == nil {
				t.Error("the decoder takes it")
			}
		})
	}
}
