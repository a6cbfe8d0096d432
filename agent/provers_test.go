package agent

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"sluicegate.io/sluice/agent/channel"
	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/policy"
)

const severalCredentials = `apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["10.0.0.1:5432"]
  tls: {mode: %s}
  credential: {username: app, passwordEnv: SLUICETEST_PASSWORD%s}
  credentials:
    - {name: reader, username: app_ro, passwordEnv: SLUICETEST_PASSWORD}
    - {name: admin, username: app_admin, passwordEnv: SLUICETEST_PASSWORD}
    - {name: support, username: app_support, passwordEnv: SLUICETEST_PASSWORD}
    - {name: unused, username: nobody, passwordEnv: SLUICETEST_PASSWORD}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: everybody}
spec: {subjects: [{process: {user: alice}}], databases: [shop], credential: reader}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: root}
spec: {subjects: [{process: {user: root}}], databases: ["*"], credential: admin}
---
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: support}
spec:
  subjects: [{oidc: {issuer: "https://idp.example.com", groups: [support]}, process: {user: alice}}]
  databases: [shop]
  credential: support
`

func rulesOf(t *testing.T, text string) *rules {
	t.Helper()
	n := &rules{set: load(t, text), provers: map[credentialKey]*credential.Prover{}}
	(&redirector{log: slog.New(slog.DiscardHandler)}).provide(n, nil)
	return n
}

// Whatever a proxy has become, it gets proofs of the credentials only that a policy
// names for who connects. What a token says, the redirector can't know.
func TestCredentialsOfAConnection(t *testing.T) {
	t.Setenv("SLUICETEST_PASSWORD", "held")
	n := rulesOf(t, fmt.Sprintf(severalCredentials, "verify-full", ""))
	for user, want := range map[string][]string{
		"alice": {"", "reader", "support"}, "root": {"", "admin"}, "bob": {""}, "": {""},
	} {
		a := &channel.Accepted{PID: 7, UID: 1000, User: user}
		var got []string
		for name := range n.due(n.set.Database("shop"), a) {
			got = append(got, name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%q may use %q, want %q", user, got, want)
		}
	}
}

// A pod is known by its labels and its account.
func TestCredentialsOfAPod(t *testing.T) {
	t.Setenv("SLUICETEST_PASSWORD", "held")
	text := strings.NewReplacer("{process: {user: alice}}", "{namespace: shop, labels: {app: bot}}",
		"{process: {user: root}}", "{serviceAccount: ops/admin}").Replace(fmt.Sprintf(severalCredentials, "verify-full", ""))
	n := rulesOf(t, text)
	labels := func(app string) string {
		text, ok := channel.Labels(map[string]string{"app": app})
		if !ok {
			t.Fatal("labels do not fit")
		}
		return text
	}
	for _, tt := range []struct {
		a    channel.Accepted
		want []string
	}{
		{channel.Accepted{Namespace: "shop", Pod: "bot-1", Account: "default", Labels: labels("bot")}, []string{"", "reader"}},
		{channel.Accepted{Namespace: "shop", Pod: "bot-2", Account: "default", Labels: labels("web")}, []string{""}},
		{channel.Accepted{Namespace: "ops", Pod: "console", Account: "admin"}, []string{"", "admin"}},
	} {
		var got []string
		for name := range n.due(n.set.Database("shop"), &tt.a) {
			got = append(got, name)
		}
		if slices.Sort(got); !slices.Equal(got, tt.want) {
			t.Errorf("pod %s may use %q, want %q", tt.a.Pod, got, tt.want)
		}
	}
}

func TestWeakestProof(t *testing.T) {
	t.Setenv("SLUICETEST_PASSWORD", "held")
	scram := func(n uint32) *channel.Prove { return &channel.Prove{Method: channel.SCRAM, Iterations: n} }
	md5, clear := &channel.Prove{Method: channel.MD5}, &channel.Prove{Method: channel.Cleartext}
	for _, tt := range []struct {
		tls, auth string
		unix      string
		yes, no   []*channel.Prove
	}{
		{"verify-full", "", "", []*channel.Prove{scram(1), scram(4096), md5}, []*channel.Prove{clear, {}}},
		{"verify-ca", ", auth: scram", "", []*channel.Prove{scram(1)}, []*channel.Prove{md5, clear}},
		{"verify-full", ", auth: password", "", []*channel.Prove{scram(1), md5, clear}, nil},
		{"verify-full", ", auth: password", "/run/s", []*channel.Prove{scram(4096), md5}, []*channel.Prove{scram(4095), clear}},
		{"verify-full", "", "/run/s", []*channel.Prove{scram(4096)}, []*channel.Prove{scram(4095), md5, clear}},
		{"require", "", "", []*channel.Prove{scram(4096)}, []*channel.Prove{scram(4095), md5, clear}},
		{"disable", "", "", []*channel.Prove{scram(4096)}, []*channel.Prove{scram(1), md5, clear}},
		{"disable", ", auth: md5", "", []*channel.Prove{scram(4096), md5}, []*channel.Prove{scram(1), clear}},
	} {
		n := rulesOf(t, fmt.Sprintf(severalCredentials, tt.tls, tt.auth))
		p, ok := n.due(n.set.Database("shop"), &channel.Accepted{Unix: tt.unix})[""]
		if !ok {
			t.Fatal("no credential of its own")
		}
		for _, m := range tt.yes {
			if !p.allows(m) {
				t.Errorf("%s%s%s: %+v is refused", tt.tls, tt.auth, tt.unix, m)
			}
		}
		for _, m := range tt.no {
			if p.allows(m) {
				t.Errorf("%s%s%s: %+v is allowed", tt.tls, tt.auth, tt.unix, m)
			}
		}
	}
}

// A credential that stays keeps what was derived of it, across configurations.
func TestProversAreKept(t *testing.T) {
	t.Setenv("SLUICETEST_PASSWORD", "held")
	old := rulesOf(t, fmt.Sprintf(severalCredentials, "verify-full", ""))
	next := &rules{set: load(t, fmt.Sprintf(severalCredentials, "verify-full", ", auth: password")), provers: map[credentialKey]*credential.Prover{}}
	(&redirector{log: slog.New(slog.DiscardHandler)}).provide(next, old)
	own, reader := credentialKey{"shop", ""}, credentialKey{"shop", "reader"}
	if next.provers[reader] == nil || next.provers[reader] != old.provers[reader] {
		t.Error("a credential that stayed is another")
	}
	if next.provers[own] == old.provers[own] {
		t.Error("a credential that changed is the same")
	}
	if w := next.set.Database("shop").Weakest(&next.set.Database("shop").Credential, false); w != policy.AuthPassword {
		t.Errorf("weakest = %v", w)
	}
}
