//go:build kube

package objects

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A whole agent takes what the cluster has, refuses what is not valid, and has it
// after a restart without API server.
func TestAgent(t *testing.T) {
	s := installed(t, "n1")
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := l.Addr().String()
	l.Close()
	config := filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: default}
spec:
  stateDir: %[1]s/state
  runDir: %[1]s/run
  bpfDir: /sys/fs/bpf/sluice-objects-test
  cgroup: /sluice-objects-test
  metrics: {listen: %[2]q}
  kubernetes: {node: n1, kubeconfig: %[1]s/kubeconfig, pods: none}
`, dir, metrics)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Kubeconfig(filepath.Join(dir, "kubeconfig"), token(s, "n1"))
	bin := os.Getenv("SLUICE")
	if bin == "" {
		bin = "../../out/sluice"
	}
	t.Cleanup(func() {
		if out, err := exec.Command(bin, "agent", "--config", config, "--uninstall").CombinedOutput(); err != nil {
			t.Errorf("uninstall: %v %s", err, out)
		}
		os.Remove("/sys/fs/cgroup/sluice-objects-test")
	})
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		cmd := exec.CommandContext(ctx, bin, "agent", "--config", config)
		cmd.Env = append(os.Environ(), "POD_NAMESPACE=sluice-system")
		cmd.Stdout, cmd.Stderr = log, log
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() { cancel(); cmd.Wait() }
	}
	says := func(want string) {
		t.Helper()
		for range 400 {
			if data, _ := os.ReadFile(log.Name()); strings.Contains(string(data), want) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		data, _ := os.ReadFile(log.Name())
		t.Fatalf("the agent does not say %q:\n%s", want, data)
	}
	stop := run()
	defer func() { stop() }()
	says("msg=ready")
	s.MustKubectl(shopDatabase+"---"+botPolicy, "apply", "-f", "-")
	eventually(t, s, "True", "get", "policy.sluicegate.io/bots", "-o", `jsonpath={.status.conditions[?(@.type=="Enforced")].status}`)
	says("configuration in force")
	s.MustKubectl(strings.Replace(botPolicy, "app.orders", "App.Orders", 1), "apply", "-f", "-")
	eventually(t, s, "LastGood", "get", "policy.sluicegate.io/bots", "-o", `jsonpath={.status.conditions[?(@.type=="Enforced")].reason}`)
	says("object not in force")
	stop()
	s.Down()
	if err := log.Truncate(0); err != nil {
		t.Fatal(err)
	}
	stop = run()
	says("the last good ones of this node's disk are in force")
	says("msg=ready")
	says("databases=1")
}
