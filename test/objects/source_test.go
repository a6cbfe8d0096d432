//go:build kube

package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/credential"
	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/agent/enroll/cluster"
	"sluicegate.io/sluice/policy"
	"sluicegate.io/sluice/test/apiserver"
)

// installed starts an API server with our kinds, an agent's rights, and a node and a
// pod for each name.
func installed(t *testing.T, nodes ...string) *apiserver.Server {
	t.Helper()
	s := withKinds(t)
	s.MustKubectl("", "create", "namespace", "sluice-system")
	s.MustKubectl("", "create", "namespace", "shop")
	s.MustKubectl("", "apply", "-f", "testdata/rbac.yaml")
	for _, n := range nodes {
		s.MustKubectl(fmt.Sprintf(`{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"v1","kind":"Node","metadata":{"name":%q}},
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"agent-%s","namespace":"sluice-system"},
 "spec":{"nodeName":%q,"serviceAccountName":"sluice","containers":[{"name":"a","image":"a.test/a"}]}}]}`, n, n, n), "create", "-f", "-")
	}
	return s
}

// token returns the token of the agent's pod on a node.
func token(s *apiserver.Server, node string) string {
	return strings.TrimSpace(s.MustKubectl("", "create", "token", "sluice", "-n", "sluice-system",
		"--bound-object-kind", "Pod", "--bound-object-name", "agent-"+node))
}

// agent is what package agent does with a Source.
type agent struct {
	*cluster.Source
	set chan *policy.Set
}

func start(t *testing.T, s *apiserver.Server, node, dir string, pods ...enroll.Pod) *agent {
	t.Helper()
	src, err := cluster.New(cluster.Options{Client: s.As(token(s, node)), Node: node, Namespace: "sluice-system", Dir: dir,
		Version: "v1.2.3", Pods: func() []enroll.Pod { return append([]enroll.Pod(nil), pods...) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	a := &agent{src, make(chan *policy.Set, 1)}
	go func() {
		defer close(done)
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-src.Changed():
					if c, err := src.Candidate(nil); err == nil {
						src.InForce(c)
					}
				}
			}
		}()
		if err := src.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	if err := src.Await(ctx, time.Minute); err != nil {
		t.Fatal(err)
	}
	return a
}

// eventually waits until kubectl prints what is wanted.
func eventually(t *testing.T, s *apiserver.Server, want string, args ...string) {
	t.Helper()
	var out string
	for range 300 {
		if out, _ = s.Kubectl("", args...); strings.Contains(out, want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("kubectl %v: no %q in\n%s", args, want, out)
}

const shopDatabase = `
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["shop-db.internal:5432"]
  credential: {username: agent, passwordSecret: {namespace: shop, name: shop-db}}
`

const botPolicy = `
apiVersion: sluicegate.io/v1alpha1
kind: Policy
metadata: {name: bots}
spec:
  subjects: [{serviceAccount: agents/bot}]
  databases: [shop]
  rules:
  - {name: read, effect: allow, actions: [select], objects: [app.orders]}
`

func TestStatus(t *testing.T) {
	s := installed(t, "n1", "n2")
	bot := enroll.Pod{Workload: policy.Workload{Namespace: "agents", Pod: "bot-1", ServiceAccount: "bot", Name: "bots"}, Decision: enroll.Enrolled}
	raw := bot
	raw.Pod, raw.Unenforced = "bot-2", "it has NET_RAW"
	start(t, s, "n1", t.TempDir(), bot)
	start(t, s, "n2", t.TempDir(), bot, raw)
	// In the wrong order, as a directory may have them.
	s.MustKubectl(botPolicy, "apply", "-f", "-")
	eventually(t, s, `policy "bots" names the Database "shop", which is not defined`, "get", "policy.sluicegate.io", "bots", "-o", "wide")
	s.MustKubectl(shopDatabase, "apply", "-f", "-")
	s.MustKubectl(`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Workload","metadata":{"name":"bots"},"spec":{"pods":{"serviceAccounts":["agents/bot"]}}}`, "apply", "-f", "-")
	jsonpath := `{.status.conditions[?(@.type=="Accepted")].status}/{.status.conditions[?(@.type=="Enforced")].reason} {.status.pods} {.status.podsNotEnforced} {.status.nodes}`
	for _, what := range []string{"policy.sluicegate.io/bots", "database.sluicegate.io/shop", "workload.sluicegate.io/bots"} {
		eventually(t, s, "True/PodsNotEnforced 3 1 2/2", "get", what, "-o", "jsonpath="+jsonpath)
	}
	eventually(t, s, "it has NET_RAW", "get", "workload.sluicegate.io", "bots", "-o", "jsonpath={.status.notEnforced}")
	t.Logf("\n%s", s.MustKubectl("", "get", "sluice"))

	// What the API server admits and the decoder does not: the last good version stays.
	s.MustKubectl(strings.Replace(botPolicy, "app.orders", "App.Orders", 1), "apply", "-f", "-")
	eventually(t, s, "False/LastGood 3 1 0/2", "get", "policy.sluicegate.io/bots", "-o", "jsonpath="+jsonpath)
	eventually(t, s, "spec.rules[0].objects[0]: ", "get", "policy.sluicegate.io/bots", "-o", "wide")
	eventually(t, s, "spec.rules[0].objects[0]: ", "get", "events", "-o", "wide")
	s.MustKubectl(botPolicy, "apply", "-f", "-")
	eventually(t, s, "True/PodsNotEnforced 3 1 2/2", "get", "policy.sluicegate.io/bots", "-o", "jsonpath="+jsonpath)

	// Grants tell when they end.
	grant := func(expires time.Time) string {
		return fmt.Sprintf(`{"apiVersion":"sluicegate.io/v1alpha1","kind":"Grant","metadata":{"name":"g"},"spec":{"subjects":[{"any":true}],"databases":["shop"],
"rules":[{"effect":"allow","actions":["select"],"objects":["app.cards"]}],"expires":%q}}`, expires.UTC().Format(time.RFC3339))
	}
	s.MustKubectl(grant(time.Now().Add(12*time.Second)), "apply", "-f", "-")
	eventually(t, s, "True/PodsNotEnforced", "get", "grant.sluicegate.io/g", "-o", "jsonpath="+jsonpath)
	eventually(t, s, "True/Expired", "get", "grant.sluicegate.io/g", "-o", "jsonpath="+jsonpath)
}

// What an agent may do with its token, and what not.
func TestRights(t *testing.T) {
	s := installed(t, "n1", "n2")
	as := func(node string, args ...string) (string, error) {
		return s.KubectlAs(token(s, node), "", args...)
	}
	for _, tt := range []struct {
		verb, what string
		more       []string
		want       string
	}{
		{"list", "databases.sluicegate.io", nil, "yes"},
		{"update", "databases.sluicegate.io", nil, "no"},
		{"create", "policies.sluicegate.io", nil, "no"},
		{"delete", "grants.sluicegate.io", nil, "no"},
		{"patch", "policies.sluicegate.io", []string{"--subresource", "status"}, "yes"},
		{"get", "secrets/shop-db", []string{"-n", "shop"}, "yes"},
		{"get", "secrets/other", []string{"-n", "shop"}, "no"},
		{"get", "secrets/shop-db", []string{"-n", "default"}, "no"},
		{"list", "secrets", []string{"-n", "shop"}, "no"},
		{"watch", "secrets", []string{"-n", "shop"}, "no"},
		{"create", "serviceaccounts", []string{"--subresource", "token", "-n", "shop"}, "no"},
		{"impersonate", "users", nil, "no"},
		{"update", "leases.coordination.k8s.io/other", []string{"-n", "sluice-system"}, "no"},
	} {
		out, _ := as("n1", append([]string{"auth", "can-i", tt.verb, tt.what}, tt.more...)...)
		if lines := strings.Fields(out); len(lines) == 0 || lines[len(lines)-1] != tt.want {
			t.Errorf("%s %s %v: %s, want %s", tt.verb, tt.what, tt.more, out, tt.want)
		}
	}
	report := func(node string) string {
		return `{"apiVersion":"sluicegate.io/v1alpha1","kind":"NodeReport","metadata":{"name":"` + node + `"},"report":{"pods":1}}`
	}
	for _, tt := range []struct {
		by, of string
		ok     bool
	}{{"n1", "n1", true}, {"n1", "n2", false}, {"n2", "n2", true}, {"n2", "n1", false}} {
		out, err := s.KubectlAs(token(s, tt.by), report(tt.of), "apply", "--server-side", "-f", "-")
		if (err == nil) != tt.ok || !tt.ok && !strings.Contains(out, "its own node alone") {
			t.Errorf("%s reports of %s: %v %s", tt.by, tt.of, err, out)
		}
	}
	// A token of the service account that is no pod's reports of nobody.
	loose := strings.TrimSpace(s.MustKubectl("", "create", "token", "sluice", "-n", "sluice-system"))
	if out, err := s.KubectlAs(loose, report("n1"), "apply", "--server-side", "-f", "-"); err == nil {
		t.Errorf("a token without a pod: %s", out)
	}
}

func TestSecretsAndOutage(t *testing.T) {
	s := installed(t, "n1")
	dir := t.TempDir()
	s.MustKubectl("", "create", "secret", "generic", "shop-db", "-n", "shop", "--from-literal=password=first", "--from-literal=ca.crt=pem")
	s.MustKubectl("", "create", "secret", "generic", "other", "-n", "shop", "--from-literal=password=other")
	a := start(t, s, "n1", dir)
	s.MustKubectl(shopDatabase+"---"+botPolicy, "apply", "-f", "-")
	eventually(t, s, "True", "get", "policy.sluicegate.io/bots", "-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].status}`)

	password := func(src *credential.Remote, want string) {
		t.Helper()
		got, _, err := src.Password(t.Context())
		if want == "" && !errors.Is(err, credential.ErrNone) || want != "" && (err != nil || string(got.Reveal()) != want) {
			t.Errorf("password %q: %v", want, err)
		}
	}
	shop := a.Secrets().Source(policy.SecretKey{Namespace: "shop", Name: "shop-db", Key: "password"})
	password(shop, "first")
	s.MustKubectl(`{"data":{"password":"c2Vjb25k"}}`, "patch", "secret", "shop-db", "-n", "shop", "--patch-file", "/dev/stdin")
	shop.Stale()
	password(shop, "second")
	password(a.Secrets().Source(policy.SecretKey{Namespace: "shop", Name: "shop-db", Key: "no"}), "")
	password(a.Secrets().Source(policy.SecretKey{Namespace: "shop", Name: "other", Key: "password"}), "")
	ca := policy.SecretKey{Namespace: "shop", Name: "shop-db", Key: "ca.crt"}
	if data, err := a.Secrets().File(t.Context(), ca); err != nil || string(data) != "pem" {
		t.Errorf("authorities: %q, %v", data, err)
	}

	// A new agent on this node, which has to do without the API server.
	late := s.As(token(s, "n1"))
	s.Down()
	shop.Stale()
	password(shop, "second")
	if data, err := a.Secrets().File(t.Context(), ca); err != nil || string(data) != "pem" {
		t.Errorf("authorities without API server: %q, %v", data, err)
	}
	fresh, err := cluster.New(cluster.Options{Client: late, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.Await(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	c, err := fresh.Candidate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Set.Database("shop") == nil || len(c.Set.Policies()) != 1 {
		t.Error("what was in force is not kept")
	}
	password(fresh.Secrets().Source(policy.SecretKey{Namespace: "shop", Name: "shop-db", Key: "password"}), "")
	empty, err := cluster.New(cluster.Options{Client: late, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := empty.Await(ctx, time.Millisecond); err == nil {
		t.Error("an agent that knows nothing goes on")
	}

	// What was deleted meanwhile is gone when the API server is back.
	s.Up()
	s.MustKubectl("", "delete", "policy.sluicegate.io", "bots")
	eventually(t, s, "1", "get", "nodereport.sluicegate.io/n1", "-o", "jsonpath={.report.inForce}")
	again := start(t, s, "n1", dir)
	c, err = again.Candidate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Set.Policies()) != 0 || c.Set.Database("shop") == nil {
		t.Errorf("in force: %d policies", len(c.Set.Policies()))
	}
}
