//go:build kube

package kube_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKubernetes installs the chart as a user would, on two nodes, and holds it to what the
// README promises of a label. Its parts build on one another, in this order.
func TestKubernetes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	w := start(t)
	t.Run("install", w.install)
	if t.Failed() {
		t.FailNow()
	}
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"masks, service accounts and records", w.sessions},
		{"a bad object", w.badObject},
		{"the first instruction", w.first},
		{"init containers, jobs, containers made again", w.kinds},
		{"labels of running pods", w.labels},
		{"the token of another pod", w.stolen},
		{"privileges", w.privileges},
		{"packets past all sockets", w.packets},
		{"ephemeral containers", w.ephemeral},
		{"certificates", w.trust},
		{"kubelet and container runtime start again", w.restarts},
		{"an agent that is killed", w.killed},
		{"no agent", w.absent},
		{"a rolling update under load", w.rolling},
		{"an update that can't serve", w.unfit},
		{"without NRI", w.withoutNRI},
		{"uninstall", w.uninstall},
	} {
		if !t.Run(part.name, part.run) {
			w.why(t)
		}
	}
}

// why logs what may tell why a part failed.
func (w *world) why(t *testing.T) {
	pods, _ := w.try("get", "pods", "-A", "-o", "wide")
	t.Log("\n" + pods)
	events, _ := w.try("-n", "sluice-system", "get", "events", "--sort-by=.lastTimestamp", "--field-selector=type!=Normal")
	t.Log("\n" + events)
	logs, _ := w.try("-n", "db", "logs", "pg", "--tail=20")
	t.Log("\n" + logs)
	agents, _ := w.try("-n", "sluice-system", "get", "pods", "-l", "app.kubernetes.io/name=sluice", "-o", "jsonpath={.items[*].metadata.name}")
	for _, name := range strings.Fields(agents) {
		for _, flag := range []string{"--previous=true", "--previous=false"} {
			logs, _ := w.try("-n", "sluice-system", "logs", name, "--tail=40", flag)
			t.Log(name + " " + flag + "\n" + logs)
		}
		metrics, _ := w.try("get", "--raw", "/api/v1/namespaces/sluice-system/pods/"+name+":9467/proxy/metrics")
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "sluice_connects_refused_total{") && !strings.HasSuffix(line, " 0\n") {
				t.Log(name, line)
			}
		}
	}
}

// start makes the cluster, with images in it, and takes it down at the end.
func start(t *testing.T) *world {
	t.Helper()
	tree, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, kit: filepath.Join(tree, "test/kube/kit"), tree: tree, slow: 1}
	if n, err := strconv.Atoi(os.Getenv("KUBE_SLOW")); err == nil && n > 0 {
		w.slow = n
	}
	dir := os.Getenv("KUBE_DIR")
	if dir == "" {
		t.Fatal("KUBE_DIR is not set: run make test-kube")
	}
	w.helm, w.counter = filepath.Join(dir, "helm"), filepath.Join(dir, "programs")
	for _, path := range []string{w.helm, w.counter} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v: run make test-kube", err)
		}
	}
	t.Cleanup(func() {
		if os.Getenv("KUBE_KEEP") == "" {
			w.must(t, "", filepath.Join(w.kit, "down.sh"))
			if os.Getenv("KUBE_KERNEL") != "" {
				return // the kernel is gone, too
			}
			if after := w.programs(t); after > w.before {
				t.Errorf("%d programs of Sluice are left in the kernel", after-w.before)
			}
		}
	})
	t.Log(w.must(t, "", "env", "KUBE_NODES=2", filepath.Join(w.kit, "up.sh")), "on Linux ", w.machine(t, "uname", "-r"))
	w.before = w.programs(t)
	w.must(t, "", filepath.Join(w.kit, "load.sh"), filepath.Join(tree, "out/sluice-image.tar"))
	w.apply(t, database)
	w.db = "10.96.77.7:5432"
	w.kubectl(t, "-n", "db", "wait", "--for=condition=Ready", "pod/pg", "--timeout="+w.seconds(90))
	w.must(t, schema, filepath.Join(w.kit, "kubectl.sh"), "-n", "db", "exec", "-i", "pg", "--", "psql", "-qU", "postgres", "-h", "/tmp", "-v", "ON_ERROR_STOP=1")
	return w
}

func (w *world) install(t *testing.T) {
	plain, err := os.ReadFile(filepath.Join(w.tree, "agent/chart/manifests/sluice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.must(t, "", filepath.Join(w.tree, "scripts/manifests.sh"), w.helm); got != string(plain) {
		t.Error("agent/chart/manifests is not what the chart makes: run make manifests")
	}
	w.chart(t, "nri: {mode: \"on\"}")
	w.rollout(t)
	w.apply(t, objects)
	for _, object := range []string{"database/shop", "policy.sluicegate.io/bots"} {
		w.kubectl(t, "wait", "--for=condition=Accepted", object, "--timeout="+w.seconds(30))
		w.kubectl(t, "wait", "--for=condition=Enforced", object, "--timeout="+w.seconds(30))
	}
	t.Log("\n" + w.kubectl(t, "get", "sluice"))
}

// chart installs the chart, or changes what is installed: with this in the block kubernetes
// of kind Agent, and with other values.
func (w *world) chart(t *testing.T, kubernetes string, others ...string) {
	t.Helper()
	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, fmt.Appendf(nil, `
image: {repository: sluice.test/sluice, tag: test, pullPolicy: Never}
secrets: [{namespace: db, name: pg-login}]
agent: {log: {level: info, format: text}, kubernetes: {trust: annotated, drain: %ds, %s}}
%s
`, 10+5*w.slow, kubernetes, strings.Join(others, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"upgrade", "--install", "sluice", filepath.Join(w.tree, "agent/chart"), "-n", "sluice-system", "--create-namespace", "-f", values}
	if out, err := w.control(append([]string{w.helm}, args...)...); err != nil {
		t.Fatalf("helm upgrade: %v\n%s", err, out)
	}
}

// rollout waits until both agents are ready.
func (w *world) rollout(t *testing.T) {
	t.Helper()
	if out, err := w.try("-n", "sluice-system", "rollout", "status", "ds/sluice", "--timeout="+w.seconds(90)); err != nil {
		logs, _ := w.try("-n", "sluice-system", "logs", "ds/sluice", "--tail=30")
		t.Fatalf("%v\n%s\n%s", err, out, logs)
	}
}

// agent runs a command in the agent of a node.
func (w *world) agent(t *testing.T, node string, args ...string) string {
	t.Helper()
	out, err := w.tryAgent(node, args...)
	if err != nil {
		t.Fatalf("sluice %s on %s: %v\n%s", strings.Join(args, " "), node, err, out)
	}
	return out
}

func (w *world) tryAgent(node string, args ...string) (string, error) {
	name, err := w.try("-n", "sluice-system", "get", "pods", "-l", "app.kubernetes.io/name=sluice",
		"--field-selector=status.phase=Running,spec.nodeName="+node, "-o", "jsonpath={.items[0].metadata.name}")
	if err != nil {
		return name, err
	}
	return w.try(append([]string{"-n", "sluice-system", "exec", strings.TrimSpace(name), "--", "/usr/bin/sluice"}, args...)...)
}

func (w *world) sessions(t *testing.T) {
	for _, node := range []string{"n1", "n2"} {
		p := w.psql("bot-"+node, "", `psql URL -tAc "select ssn from customers order by id"; sleep 1000`)
		p.node = node
		w.apply(t, p.yaml())
	}
	w.apply(t, w.psql("stranger", "default", `psql URL -tAc "select ssn from customers"; echo end; sleep 1000`).yaml())
	for _, node := range []string{"n1", "n2"} {
		got := w.logs(t, "bot-"+node, "4321")
		if got != "***6789\n***4321\n" {
			t.Errorf("on %s: %s", node, got)
		}
	}
	got := w.logs(t, "stranger", "end")
	if !strings.Contains(got, "No policy names this subject in database shop") || strings.Contains(got, "6789") {
		t.Errorf("another service account: %s", got)
	}
	records := w.until(t, "record", 10*time.Second, func() (string, bool) {
		out := w.agent(t, "n2", "sessions", "--output", "json")
		return out, strings.Contains(out, `"pod": "bot-n2"`) && strings.Contains(out, "terminate")
	})
	for _, want := range []string{`"tokenSubject": "system:serviceaccount:agents:bot"`, `"container": "c"`, `"serviceAccount": "bot"`} {
		if !strings.Contains(records, want) {
			t.Errorf("the record has no %s:\n%s", want, records)
		}
	}
	if strings.Contains(records, "123-45") || strings.Contains(records, "the-real-password") {
		t.Error("the record has what it must not")
	}
	w.apply(t, w.psql("seen", "", `psql URL -tAc "select ssn from customers where id = 1" -c "\! sleep 1000"`).yaml())
	w.logs(t, "seen", "***6789")
	own := w.kubectl(t, "-n", "agents", "get", "pod", "seen", "-o", "jsonpath={.status.podIP}")
	if got := strings.Fields(w.kubectl(t, "-n", "db", "exec", "pg", "--", "psql", "-U", "postgres", "-h", "/tmp", "-tAc",
		"select client_addr from pg_stat_activity where usename = 'shop'")); !slices.Contains(got, own) {
		t.Errorf("the database sees %s, and the pod is %s", got, own)
	}
	w.kubectl(t, "-n", "agents", "delete", "pod", "seen", "--wait=false")
	w.until(t, "status has refusals by pod", 20*time.Second, func() (string, bool) {
		node := w.kubectl(t, "-n", "agents", "get", "pod", "stranger", "-o", "jsonpath={.spec.nodeName}")
		_, of, found := strings.Cut(w.agent(t, node, "status", "--output", "json"), `"name": "stranger"`)
		of, _, _ = strings.Cut(of, "}")
		return of, found && strings.Contains(of, `"refused": 1`)
	})
	t.Log("\n" + w.agent(t, "n2", "sessions") + w.agent(t, "n2", "status"))
}

func (w *world) badObject(t *testing.T) {
	w.apply(t, bad)
	why := w.until(t, "refused", 30*time.Second, func() (string, bool) {
		out, _ := w.try("get", "policy.sluicegate.io", "bots", "-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].status} {.status.conditions[?(@.type=="Accepted")].message}`)
		return out, strings.HasPrefix(out, "False")
	})
	t.Log(why)
	w.apply(t, w.psql("after-bad", "", `psql URL -tAc "select ssn from customers where id = 1"; sleep 1000`).yaml())
	w.logs(t, "after-bad", "***6789") // the last good one is in force
	w.apply(t, objects)
	w.kubectl(t, "wait", "--for=condition=Accepted", "policy.sluicegate.io/bots", "--timeout="+w.seconds(30))
}

func (w *world) first(t *testing.T) {
	all := 100 / w.slow
	w.apply(t, w.probe("plain", "first", "").yaml())
	w.apply(t, fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata: {name: hundred, namespace: agents}
spec:
  completions: %d
  parallelism: %d
  template:
    metadata: {labels: {%s}}
    spec:
      serviceAccountName: bot
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "%s", imagePullPolicy: Never, args: [once, "%s"]}]
`, all, max(12/w.slow, 2), enrolled, probeImage, w.db))
	w.kubectl(t, "-n", "agents", "wait", "--for=condition=Complete", "job/hundred", "--timeout="+w.seconds(300))
	got := strings.Fields(w.kubectl(t, "-n", "agents", "logs", "-l", "job-name=hundred", "--tail=-1", "--max-log-requests=100", "--prefix=false"))
	counts := map[string]int{}
	for _, where := range got {
		counts[where]++
	}
	t.Logf("first connections of %d pods: %v", all, counts)
	if len(got) != all || counts["database"] > 0 {
		t.Errorf("of %d pods, %v", all, counts)
	}
	if counts["refused"] > 0 {
		t.Errorf("%d were guarded, but not served", counts["refused"])
	}
	if got := w.logs(t, "plain", "\n"); got != "database\n" {
		t.Errorf("a pod without label: %s", got)
	}
	w.kubectl(t, "-n", "agents", "delete", "job", "hundred", "--wait=false")
}

func (w *world) kinds(t *testing.T) {
	p := w.probe("init", "once", enrolled)
	p.init = p.command
	w.apply(t, p.yaml())
	side := w.probe("side", "first", enrolled)
	side.extra = fmt.Sprintf("  initContainers: [{name: s, image: %q, imagePullPolicy: Never, restartPolicy: Always, args: [first, %q]}]\n", probeImage, w.db)
	w.apply(t, side.yaml())
	again := w.probe("again", "once", enrolled)
	again.restart = "Always"
	w.apply(t, again.yaml())
	for _, c := range []string{"i", "c"} {
		w.until(t, "container "+c, 30*time.Second, func() (string, bool) {
			out, _ := w.try("-n", "agents", "logs", "init", "-c", c)
			return out, out == "sluice\n"
		})
	}
	for _, c := range []string{"s", "c"} {
		w.until(t, "a sidecar and its pod: "+c, 30*time.Second, func() (string, bool) {
			out, _ := w.try("-n", "agents", "logs", "side", "-c", c)
			return out, out == "sluice\n"
		})
	}
	w.until(t, "a container made again", 40*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "get", "pod", "again", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
		return out, out >= "1"
	})
	if got := w.logs(t, "again", "\n"); got != "sluice\n" {
		t.Errorf("a container made again: %s", got)
	}
	w.kubectl(t, "-n", "agents", "delete", "pod", "again", "init", "side", "--wait=false")
}

func (w *world) labels(t *testing.T) {
	w.apply(t, w.probe("hold", "hold", "").yaml())
	w.apply(t, w.probe("loop", "loop", "").yaml())
	w.logs(t, "hold", "database")
	w.logs(t, "loop", "database")
	w.kubectl(t, "-n", "agents", "label", "pod", "hold", "loop", "sluicegate.io/enroll=true")
	w.logs(t, "hold", "cut")
	w.logs(t, "loop", "sluice")
	w.kubectl(t, "-n", "agents", "label", "pod", "loop", "sluicegate.io/enroll-")
	got := w.until(t, "let go", 20*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "logs", "loop")
		return out, strings.HasSuffix(out, "sluice\ndatabase\n")
	})
	t.Logf("a running pod, labelled and unlabelled: %q", got)
	w.kubectl(t, "label", "namespace", "agents", "sluicegate.io/enroll=true")
	w.until(t, "by its namespace", 20*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "logs", "loop")
		return out, strings.HasSuffix(out, "sluice\n")
	})
	w.kubectl(t, "label", "namespace", "agents", "sluicegate.io/enroll-")
}

func (w *world) stolen(t *testing.T) {
	uid := w.kubectl(t, "-n", "agents", "get", "pod", "bot-n1", "-o", "jsonpath={.metadata.uid}")
	token := strings.TrimSpace(w.kubectl(t, "-n", "agents", "create", "token", "bot", "--bound-object-kind=Pod", "--bound-object-name=bot-n1", "--bound-object-uid="+uid))
	w.apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: stolen, namespace: agents}\nstringData: {token: "+token+"}\n")
	p := w.psql("thief", "", `psql URL -tAc "select ssn from customers"; echo end; sleep 1000`)
	p.extra = "  automountServiceAccountToken: false\n  volumes: [{name: t, secret: {secretName: stolen}}]\n"
	p.mounts = "{name: t, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}"
	w.apply(t, p.yaml())
	got := w.logs(t, "thief", "end")
	if !strings.Contains(got, "its pod is another one") || strings.Contains(got, "6789") {
		t.Errorf("with the token of another pod: %s", got)
	}
	t.Log(got)
}

func (w *world) privileges(t *testing.T) {
	p := w.probe("privileged", "first", enrolled)
	p.security = "privileged: true"
	w.apply(t, p.yaml())
	q := w.probe("raw", "first", enrolled)
	q.security = "capabilities: {add: [NET_RAW]}"
	q.node = "n1"
	w.apply(t, q.yaml())
	h := w.probe("host", "first", enrolled)
	h.extra = "  hostNetwork: true\n"
	h.security = "capabilities: {drop: [NET_RAW]}"
	w.apply(t, h.yaml())
	w.logs(t, "raw", "sluice")
	w.logs(t, "host", "sluice")
	raw := w.until(t, "status", 20*time.Second, func() (string, bool) { // it is told every 5 s
		_, raw, found := strings.Cut(w.agent(t, "n1", "status", "--output", "json"), `"name": "raw"`)
		raw, _, _ = strings.Cut(raw, "}")
		return raw, found
	})
	if !strings.Contains(raw, `"guarded": [`) || strings.Contains(raw, "unenforced") {
		t.Errorf("a pod with NET_RAW is not guarded:\n%s", raw)
	}
	w.until(t, "the pods of a policy are counted", 40*time.Second, func() (string, bool) {
		out, _ := w.try("get", "nodereport", "n1", "-o", "jsonpath={.report.pods} {.report.podsNotEnforced}")
		return out, out != "" && out != "0 0" && !strings.HasPrefix(out, "0")
	})
	t.Log(w.until(t, "the report has refusals by pod", 70*time.Second, func() (string, bool) {
		node, _ := w.try("-n", "agents", "get", "pod", "stranger", "-o", "jsonpath={.spec.nodeName}")
		out, _ := w.try("get", "nodereport", node, "-o", `jsonpath={.report.workloads[?(@.name=="stranger")]}`)
		return out, strings.Contains(out, `"denials":1`) && strings.Contains(out, `"enforced":true`) && strings.Contains(out, `"listener":true`)
	}))
	t.Log("\n" + w.kubectl(t, "get", "sluice"))
	w.until(t, "refused", 30*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "get", "pod", "privileged", "-o", "jsonpath={.status.containerStatuses[0].state.waiting.message}")
		return out, strings.Contains(out, "is privileged")
	})
	w.kubectl(t, "-n", "agents", "delete", "pod", "privileged", "--wait=false")
}

// packets shows that packets which no connect(2) precedes reach no database: frames of a
// socket that was there before the pod was enrolled are cut off at its veth.
func (w *world) packets(t *testing.T) {
	for name, labels := range map[string]string{"packets-born": enrolled, "packets-later": ""} {
		p := w.probe(name, "packets", labels)
		p.security = "capabilities: {add: [NET_RAW]}"
		p.node = "n2"
		w.apply(t, p.yaml())
	}
	if got := w.logs(t, "packets-born", "\n"); got != "refused\n" && got != "silence\n" {
		t.Errorf("packets of an enrolled pod: %s", got)
	}
	if got := w.logs(t, "packets-later", "\n"); got != "answered\n" {
		t.Fatalf("packets of a pod without label: %s", got)
	}
	w.kubectl(t, "-n", "agents", "label", "pod", "packets-later", "sluicegate.io/enroll=true")
	w.until(t, "packets of a pod that is enrolled while it runs", 20*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "logs", "packets-later")
		return out, out == "answered\nsilence\n"
	})
	w.kubectl(t, "-n", "agents", "label", "pod", "packets-later", "sluicegate.io/enroll-")
	w.until(t, "packets of a pod that was let go", 20*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "logs", "packets-later")
		return out, out == "answered\nsilence\nanswered\n"
	})
}

// ephemeral starts containers in a pod that runs.
func (w *world) ephemeral(t *testing.T) {
	w.apply(t, w.probe("debugged", "loop", enrolled).yaml())
	w.logs(t, "debugged", "sluice")
	for name, profile := range map[string]string{"plain": "baseline", "strong": "sysadmin"} {
		w.kubectl(t, "-n", "agents", "debug", "debugged", "--quiet", "--attach=false", "--image="+probeImage, "--image-pull-policy=Never",
			"--profile="+profile, "--container="+name, "--", "/probe", "once", w.db)
	}
	w.until(t, "an ephemeral container", 30*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "logs", "debugged", "-c", "plain")
		return out, out == "sluice\n"
	})
	t.Log(w.until(t, "a privileged one is refused", 30*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "get", "pod", "debugged", "-o", `jsonpath={.status.ephemeralContainerStatuses[?(@.name=="strong")].state}`)
		return out, strings.Contains(out, "it is privileged")
	}))
	if out, _ := w.try("-n", "agents", "logs", "debugged", "-c", "strong"); strings.Contains(out, "database") {
		t.Errorf("a privileged ephemeral container: %s", out)
	}
	w.kubectl(t, "-n", "agents", "delete", "pod", "debugged", "--wait=false")
}

func (w *world) trust(t *testing.T) {
	p := w.psql("trusting", "", `psql "postgres://shop:x@pg.db.svc.cluster.local/postgres?sslmode=verify-full" -tAc "select ssn from customers where id = 1"; echo end; sleep 1000`)
	p.annotations = `sluicegate.io/trust: "true"`
	w.apply(t, p.yaml())
	if got := w.logs(t, "trusting", "end"); got != "***6789\nend\n" {
		t.Errorf("sslmode=verify-full: %s", got)
	}
}

// absent starts pods while no agent runs: none reaches a database until one has decided.
// withoutNRI starts pods on nodes whose runtime tells nothing.
