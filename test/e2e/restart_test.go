package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/test/sluicetest"
)

// reborn makes a cgroup, enters it, connects, says what it saw, leaves it and removes it.
const reborn = `import collections, os, socket, sys
times, dir, home, port = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
seen = collections.Counter()
def enter(d):
    with open(d + "/cgroup.procs", "w") as f: f.write(str(os.getpid()))
for _ in range(times):
    os.makedirs(dir, exist_ok=True)
    enter(dir)
    with socket.socket() as s:
        s.settimeout(5)
        try:
            s.connect(("127.0.0.1", port))
            s.sendall(b"\0\0\0\10\4\322\26\57") # SSLRequest
            seen[s.recv(1).decode() or "closed"] += 1
        except OSError as e:
            seen[type(e).__name__] += 1
    enter(home)
    os.rmdir(dir)
print(" ".join(f"{k}:{n}" for k, n in sorted(seen.items())))
`

// TestRestarted runs a daemon below the root of all cgroups, which it shares with
// everything, and starts a workload again and again: not one connection passes it, and
// none is lost.
func TestRestarted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: starts an agent")
	}
	mount, err := enroll.Mount()
	if err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var reached atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			c.Close()
		}
	}()
	name := fmt.Sprintf("sluicetest-restart-%d", os.Getpid())
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	home := filepath.Join(mount, name, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { enroll.RemoveTree(filepath.Join(mount, name)) })
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: test}
spec: {runDir: %[1]s/run, stateDir: %[1]s/state, bpfDir: /sys/fs/bpf/%[2]s}
---
apiVersion: sluicegate.io/v1alpha1
kind: Workload
metadata: {name: bot}
spec: {cgroup: /%[2]s/agents.slice/bot}
---
apiVersion: sluicegate.io/v1alpha1
kind: Workload
metadata: {name: report}
spec: {systemdUnit: %[2]s.service}
---
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["%[3]s"]
  credential: {username: x, passwordEnv: SLUICETEST_NONE}
`, dir, name, l.Addr())
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	daemon := exec.CommandContext(ctx, sluicetest.Binary(t), "agent", "--config", config)
	daemon.Cancel = func() error { return daemon.Process.Signal(os.Interrupt) }
	daemon.WaitDelay = 10 * time.Second
	var log strings.Builder
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		cancel()
		daemon.Wait()
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			lines := strings.Split(log.String(), "\n")
			t.Log(strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
		exec.Command(sluicetest.Binary(t), "agent", "--config", config, "--uninstall").Run()
		os.RemoveAll("/sys/fs/bpf/" + name)
	})
	status := func() string {
		out, _ := exec.Command(sluicetest.Binary(t), "status", "--config", config).CombinedOutput()
		return string(out)
	}
	eventually(t, "the daemon is ready", func() bool { return strings.Contains(status(), "report") })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	run := func(cgroup string, times int) string {
		t.Helper()
		out, err := exec.Command("python3", "-c", reborn, fmt.Sprint(times), cgroup, home, port).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	bot, unit := filepath.Join(mount, name, "agents.slice/bot"), filepath.Join(mount, name, "system.slice", name+".service")
	for _, cgroup := range []string{bot, unit} {
		if got := run(cgroup, 200); got != "S:200" {
			t.Errorf("%s: %s", filepath.Base(cgroup), got)
		}
	}
	// What another makes below a service is not the unit, and is left alone.
	before := reached.Load()
	other := filepath.Join(mount, name, "docker.service", name+".service")
	if got := run(other, 1); got == "S:1" || reached.Load() != before+1 {
		t.Errorf("not a unit: %s, %d arrived", got, reached.Load()-before)
	}
	if before != 0 {
		t.Errorf("%d connections went past", before)
	}
	stop()
	if got := run(unit, 20); got != "ConnectionRefusedError:20" {
		t.Errorf("without a daemon: %s", got)
	}
	if n := reached.Load(); n != 1 {
		t.Errorf("%d connections arrived, want that of what is not enrolled", n)
	}
}
