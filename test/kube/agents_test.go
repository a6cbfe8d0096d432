//go:build kube

package kube_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What becomes of pods when agents, runtimes and the chart come and go.

// enrolledLoop makes a pod that connects again and again, if there is none yet.
func (w *world) enrolledLoop(t *testing.T) {
	t.Helper()
	p := w.probe("enrolled", "loop", enrolled)
	p.node = "n1"
	w.apply(t, p.yaml())
	w.logs(t, "enrolled", "sluice")
}

func (w *world) killed(t *testing.T) {
	w.enrolledLoop(t)
	q := w.probe("free", "loop", "")
	q.node = "n1"
	w.apply(t, q.yaml())
	w.logs(t, "free", "database")
	pid := w.machine(t, "pgrep", "-of", "^/usr/bin/sluice agent --config /etc/sluice")
	w.machine(t, "kill", "-9", strings.TrimSpace(pid))
	w.machine(t, "sh", "-c", "pkill -9 -f '^/usr/bin/sluice agent --config /etc/sluice' || true") // that of n2 too
	w.logs(t, "enrolled", "refused")
	got := w.until(t, "a new agent serves", 60*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "logs", "enrolled")
		return out, strings.HasSuffix(out, "sluice\n") && strings.Contains(out, "refused")
	})
	if strings.Contains(got, "database") {
		t.Errorf("while no agent ran: %s", got)
	}
	if got := w.kubectl(t, "-n", "agents", "logs", "free"); got != "database\n" {
		t.Errorf("a pod that is not enrolled noticed: %s", got)
	}
	t.Logf("an enrolled pod while its agent is killed: %q", got)
	w.rollout(t)
}

func (w *world) restarts(t *testing.T) {
	p := w.probe("steady", "loop", enrolled)
	p.node = "n2"
	w.apply(t, p.yaml())
	w.logs(t, "steady", "sluice")
	// The node starts again what ends.
	components := []string{"containerd", "kubelet"}
	if _, err := w.node(t, "n2", "test", "-e", "/sys/fs/cgroup/kubepods/besteffort/cpu.weight"); err != nil {
		t.Log("kubelet is not ended: it would not start again where cgroup version 1 has the controller cpu")
		components = components[:1]
	}
	for _, c := range components {
		if out, err := w.node(t, "n2", "pkill", "-x", c); err != nil {
			t.Fatalf("end %s: %v\n%s", c, err, out)
		}
	}
	time.Sleep(2 * time.Second) // until the agent has noticed
	w.until(t, "NRI again", 40*time.Second, func() (string, bool) {
		out, _ := w.node(t, "n2", "ctr", "-n", "k8s.io", "version")
		if !strings.Contains(out, "Server:") {
			return out, false
		}
		out, _ = w.tryAgent("n2", "status")
		return out, strings.Contains(out, "NRI: connected")
	})
	p = w.probe("after-restart", "first", enrolled)
	p.node = "n2"
	w.apply(t, p.yaml())
	if got := w.logs(t, "after-restart", "\n"); got != "sluice\n" {
		t.Errorf("a pod that started after the runtime was started again: %s", got)
	}
	if got := w.kubectl(t, "-n", "agents", "logs", "steady"); got != "sluice\n" {
		t.Errorf("a pod that ran all the time: %s", got)
	}
}

func (w *world) absent(t *testing.T) {
	patch := func(selector string) {
		w.kubectl(t, "-n", "sluice-system", "patch", "ds", "sluice", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"test":`+selector+`}}}}}`)
	}
	patch(`"none"`)
	w.until(t, "no agent", 60*time.Second, func() (string, bool) {
		out, err := w.try("-n", "sluice-system", "get", "pods", "-l", "app.kubernetes.io/name=sluice", "-o", "name")
		return out, err == nil && strings.TrimSpace(out) == ""
	})
	w.apply(t, w.probe("early", "loop", enrolled).yaml())
	w.apply(t, w.probe("early-free", "loop", "").yaml())
	for _, name := range []string{"early", "early-free"} {
		if got := w.logs(t, name, "\n"); got != "refused\n" {
			t.Errorf("%s, without an agent: %s", name, got)
		}
	}
	waiting := w.probe("waiting", "loop", enrolled)
	waiting.annotations = `required-plugins.noderesource.dev: "[ sluice ]"`
	w.apply(t, waiting.yaml())
	t.Log(w.until(t, "a pod that asks for it waits", 30*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "get", "pod", "waiting", "-o", "jsonpath={.status.containerStatuses[0].state.waiting.message}")
		return out, strings.Contains(out, `required plugin "sluice" not present`)
	}))
	patch("null")
	w.rollout(t)
	for name, want := range map[string]string{"early": "refused\nsluice\n", "early-free": "refused\ndatabase\n"} {
		w.until(t, name, 30*time.Second, func() (string, bool) {
			out, _ := w.try("-n", "agents", "logs", name)
			return out, out == want
		})
	}
	if got := w.logs(t, "waiting", "\n"); got != "sluice\n" {
		t.Errorf("a pod that waited for an agent: %s", got)
	}
}

func (w *world) withoutNRI(t *testing.T) {
	w.chart(t, "nri: {mode: \"off\"}")
	w.rollout(t)
	n := 20 / w.slow
	for i := range n {
		w.apply(t, w.probe("quiet-"+strconv.Itoa(i), "loop", enrolled).yaml())
	}
	first := map[string]int{}
	for i := range n {
		got := w.logs(t, "quiet-"+strconv.Itoa(i), "sluice")
		first[strings.Fields(got)[0]]++
		if strings.Contains(got, "database") {
			t.Errorf("without NRI: %s", got)
		}
	}
	t.Logf("first connections of %d pods without NRI: %v", n, first)
	if out := w.agent(t, "n1", "status"); !strings.Contains(out, "NRI: off") {
		t.Errorf("status does not say so:\n%s", out)
	}
}

func (w *world) rolling(t *testing.T) {
	load := w.psql("load", "", `ok=0; lost=0; until [ -e /tmp/stop ]; do read began _ </proc/uptime; got=$(psql URL -tAc "select ssn from customers where id = 1" 2>&1); if [ "$got" = "***6789" ]; then ok=$((ok+1)); else lost=$((lost+1)); read ended _ </proc/uptime; echo "from $began to $ended: $got"; fi; sleep 0.1; done; echo "short: $ok served, $lost refused"; sleep 1000`)
	long := w.psql("long", "", `psql URL -c "begin" -c "select count(*) from customers" -c "\! sleep `+strconv.Itoa(5+5*w.slow)+`" -c "select 'survived' from customers where id = 1" 2>&1; echo end; sleep 1000`)
	w.apply(t, load.yaml())
	w.apply(t, long.yaml())
	w.logs(t, "long", "count")
	w.kubectl(t, "-n", "sluice-system", "rollout", "restart", "ds/sluice")
	w.rollout(t)
	got := w.logs(t, "long", "end")
	if !strings.Contains(got, "survived") {
		t.Errorf("a session that is open when the agent is replaced: %s", got)
	}
	w.kubectl(t, "-n", "agents", "exec", "load", "--", "sh", "-c", ": >/tmp/stop")
	short := w.until(t, "the load ends", 20*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "logs", "load")
		return out, strings.Contains(out, "short:")
	})
	t.Log(short)
	if !strings.Contains(short, " 0 refused") || strings.Contains(short, "short: 0 served") {
		t.Errorf("one of two agents could have served each: %s", short)
	}
}

// unfit updates to what only a proxy finds wrong. The agents that serve go on, though one of
// them answers at the port that the next one's pod has, too.
func (w *world) unfit(t *testing.T) {
	w.enrolledLoop(t)
	before := w.kubectl(t, "-n", "agents", "logs", "enrolled")
	running := func() map[string]string {
		out := w.kubectl(t, "-n", "sluice-system", "get", "pods", "-l", "app.kubernetes.io/name=sluice", "-o",
			`jsonpath={range .items[*]}{.metadata.name}={.status.containerStatuses[0].started}/{.status.containerStatuses[0].restartCount} {end}`)
		all := map[string]string{}
		for _, pod := range strings.Fields(out) {
			name, state, _ := strings.Cut(pod, "=")
			all[name] = state
		}
		return all
	}
	serving := running()
	w.chart(t, `nri: {mode: "on"}`, `files: {other.yaml: "apiVersion: sluicegate.io/v1alpha1\nkind: Database\nmetadata: {name: other}\nspec: {protocol: postgres, `+
		`endpoints: [\"10.96.77.8:5432\"], credential: {username: x, passwordEnv: X}, tls: {mode: verify-full, caFile: /etc/sluice/agent.yaml}}\n"}`)
	var next, logs string
	counted := false
	w.until(t, "the next agent says what is wrong, again and again", 90*time.Second, func() (string, bool) {
		now := running()
		for name, state := range now {
			if _, old := serving[name]; old {
				continue
			}
			next, counted = name, counted || strings.HasPrefix(state, "true/")
			if out, err := w.try("-n", "sluice-system", "logs", name); err == nil && out != "" {
				logs = out
			}
			return fmt.Sprint(now, logs), strings.HasSuffix(state, "/2") && strings.Contains(logs, "/etc/sluice/agent.yaml holds no certificate")
		}
		return fmt.Sprint(now), false
	})
	if counted {
		t.Errorf("%s counted as started", next)
	}
	now := running()
	for name, state := range serving {
		if now[name] != state {
			t.Errorf("agent %s: %s, and before: %s", name, now[name], state)
		}
	}
	if after := w.kubectl(t, "-n", "agents", "logs", "enrolled"); after != before {
		t.Errorf("an enrolled pod noticed: %s", strings.TrimPrefix(after, before))
	}
	w.chart(t, `nri: {mode: "on"}`)
	w.rollout(t)
}

func (w *world) uninstall(t *testing.T) {
	w.enrolledLoop(t)
	if out, err := w.control(w.helm, "uninstall", "sluice", "-n", "sluice-system", "--timeout", w.seconds(180)); err != nil {
		pods, _ := w.try("-n", "sluice-system", "get", "pods", "-o", "wide")
		t.Fatalf("helm uninstall: %v\n%s%s", err, out, pods)
	}
	if n := w.programs(t) - w.before; n > 0 {
		t.Errorf("%d programs are left in the kernel", n)
	}
	for _, node := range []string{"n1", "n2"} {
		out, _ := w.node(t, node, "sh", "-c", "ls /sys/fs/bpf | grep -v debug; find /sys/fs/cgroup -name sluice; ss -ltnpH | grep -i sluice")
		if strings.TrimSpace(out) != "" {
			t.Errorf("left on %s:\n%s", node, out)
		}
	}
	left := w.kubectl(t, "-n", "sluice-system", "get", "all,sa,role,rolebinding,cm", "-o", "name")
	for _, line := range strings.Fields(left) {
		if strings.Contains(line, "sluice") && !strings.HasPrefix(line, "pod/") {
			t.Errorf("left in the cluster: %s", line)
		}
	}
	w.until(t, "enrolled pods reach the database again", 20*time.Second, func() (string, bool) {
		out, _ := w.try("-n", "agents", "logs", "enrolled")
		return out, strings.HasSuffix(out, "database\n")
	})
}
