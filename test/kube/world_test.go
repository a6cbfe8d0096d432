//go:build kube

package kube_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// world is a cluster with the chart in it.
type world struct {
	t       *testing.T
	kit     string
	helm    string
	counter string // of programs: the command beside this test
	tree    string // of the repository
	db      string // address of the database
	slow    int    // how many times longer than usual things take: KUBE_SLOW

	before int // programs in the kernel: of others
}

// run runs a command and returns what it printed.
func (w *world) run(stdin string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// must is run, and ends the test if it fails.
func (w *world) must(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	out, err := w.run(stdin, argv...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

func (w *world) try(args ...string) (string, error) {
	return w.run("", append([]string{filepath.Join(w.kit, "kubectl.sh")}, args...)...)
}

func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return w.must(t, "", append([]string{filepath.Join(w.kit, "kubectl.sh")}, args...)...)
}

func (w *world) apply(t *testing.T, yaml string) {
	t.Helper()
	w.must(t, yaml, filepath.Join(w.kit, "kubectl.sh"), "apply", "-f", "-")
}

// machine runs a command on the machine that holds the nodes.
func (w *world) machine(t *testing.T, argv ...string) string {
	t.Helper()
	return w.must(t, "", append([]string{filepath.Join(w.kit, "machine.sh")}, argv...)...)
}

// control runs a command where the API server is reached.
func (w *world) control(argv ...string) (string, error) {
	return w.run("", append([]string{filepath.Join(w.kit, "exec.sh")}, argv...)...)
}

// node runs a command in the namespaces of a node.
func (w *world) node(t *testing.T, name string, argv ...string) (string, error) {
	return w.run("", append([]string{"env", "NODE=" + name, filepath.Join(w.kit, "exec.sh")}, argv...)...)
}

// seconds is a time to wait, as kubectl and helm read it.
func (w *world) seconds(n int) string { return fmt.Sprintf("%ds", n*w.slow) }

// until waits for what get returns to be right.
func (w *world) until(t *testing.T, what string, within time.Duration, get func() (string, bool)) string {
	t.Helper()
	last := ""
	within *= time.Duration(w.slow)
	every := 200 * time.Millisecond
	if w.slow > 1 {
		every = 2 * time.Second // what is waited for needs the time
	}
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(every) {
		var ok bool
		if last, ok = get(); ok {
			return last
		}
	}
	t.Fatalf("%s: not within %v, last:\n%s", what, within, last)
	return ""
}

// logs waits until the log of a pod in namespace agents has a text, and returns it.
func (w *world) logs(t *testing.T, pod, has string) string {
	t.Helper()
	return w.until(t, "log of "+pod+" has "+has, 40*time.Second, func() (string, bool) {
		out, err := w.try("-n", "agents", "logs", pod)
		return out, err == nil && strings.Contains(out, has)
	})
}

// A pod is what the test makes of one.
type pod struct {
	name, account, image string
	labels               string // beside app
	annotations          string
	node                 string
	restart              string // default Never
	command              []string
	init                 []string // command of an init container, of the probe's image
	security             string
	extra                string // further fields of the specification, indented by two
	mounts               string
}

const (
	probeImage    = "probe.test/probe:1"
	postgresImage = "db.test/postgres:15"
	enrolled      = `sluicegate.io/enroll: "true"`
)

func (p pod) yaml() string {
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	quote := func(argv []string) string {
		all := make([]string, len(argv))
		for i, a := range argv {
			all[i] = fmt.Sprintf("%q", a)
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	labels := "app: test"
	if p.labels != "" {
		labels += ", " + p.labels
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: agents, labels: {%s}, annotations: {%s}}
spec:
  serviceAccountName: %s
  restartPolicy: %s
  terminationGracePeriodSeconds: 0
`, p.name, labels, p.annotations, or(p.account, "bot"), or(p.restart, "Never"))
	if p.node != "" {
		fmt.Fprintf(&b, "  nodeName: %s\n", p.node)
	}
	b.WriteString(p.extra)
	if p.init != nil {
		fmt.Fprintf(&b, "  initContainers: [{name: i, image: %s, imagePullPolicy: Never, command: %s}]\n", probeImage, quote(p.init))
	}
	fmt.Fprintf(&b, "  containers:\n  - {name: c, image: %s, imagePullPolicy: Never, command: %s, securityContext: {%s}, volumeMounts: [%s]}\n",
		or(p.image, probeImage), quote(p.command), p.security, p.mounts)
	return b.String()
}

// probe is a pod of the probe.
func (w *world) probe(name, mode, labels string) pod {
	return pod{name: name, labels: labels, command: []string{"/probe", mode, w.db}}
}

// psql is a pod that runs statements by the stock client, with a placeholder password.
func (w *world) psql(name, account, script string) pod {
	return pod{name: name, account: account, labels: enrolled, image: postgresImage,
		command: []string{"/bin/sh", "-c", strings.ReplaceAll(script, "URL", "postgres://shop:placeholder@"+w.db+"/postgres")}}
}

// programs counts the BPF programs of Sluice in the nodes' kernel.
func (w *world) programs(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(w.machine(t, w.counter)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
