package e2e_test

import (
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

// knocking connects for some seconds from a cgroup, again and again, and says what it saw.
const knocking = `import collections, os, socket, sys, time
dir, port, end = sys.argv[1], int(sys.argv[2]), time.time() + float(sys.argv[3])
seen = collections.Counter()
with open(dir + "/cgroup.procs", "w") as f: f.write(str(os.getpid()))
while time.time() < end:
    with socket.socket() as s:
        s.settimeout(10)
        try:
            s.connect(("127.0.0.1", port))
            s.sendall(b"\0\0\0\10\4\322\26\57") # SSLRequest
            seen[s.recv(1).decode() or "closed"] += 1
        except OSError as e:
            seen[type(e).__name__] += 1
print(" ".join(f"{k}:{n}" for k, n in sorted(seen.items())))
`

// TestSuccession has an agent wait to take over from another one, as in a DaemonSet that
// surges, and ends that one under load: each connection is served by one of the two.
func TestSuccession(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: starts agents")
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
	name := fmt.Sprintf("sluicetest-succession-%d", os.Getpid())
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	bot := filepath.Join(mount, name, "bot")
	if err := os.MkdirAll(bot, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { enroll.RemoveTree(filepath.Join(mount, name)) })
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: test}
spec:
  runDir: %[1]s/run
  stateDir: %[1]s/state
  bpfDir: /sys/fs/bpf/%[2]s
  kubernetes: {resources: files, pods: none}
---
apiVersion: sluicegate.io/v1alpha1
kind: Workload
metadata: {name: bot}
spec: {cgroup: /%[2]s/bot}
---
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["%[3]s"]
  credential: {username: x, passwordEnv: SLUICETEST_PASSWORD}
`, dir, name, l.Addr())
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	log := func(n int) string {
		data, _ := os.ReadFile(filepath.Join(dir, fmt.Sprintf("log-%d", n)))
		return string(data)
	}
	start := func(n int) *exec.Cmd {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("log-%d", n)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		agent := exec.Command(sluicetest.Binary(t), "agent", "--config", config)
		agent.Env, agent.Stderr = append(os.Environ(), "SLUICETEST_PASSWORD=x"), f
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			agent.Process.Signal(os.Interrupt)
			agent.Wait()
			if t.Failed() {
				t.Logf("agent %d:\n%s", n, log(n))
			}
		})
		return agent
	}
	t.Cleanup(func() { // after the agents have ended
		exec.Command(sluicetest.Binary(t), "agent", "--config", config, "--uninstall").Run()
		os.RemoveAll("/sys/fs/bpf/" + name)
	})
	last := start(0)
	eventually(t, "the first agent serves", func() bool { return strings.Contains(log(0), "msg=ready") })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for n := range 3 {
		next := start(n + 1)
		eventually(t, "the next agent waits", func() bool { return strings.Contains(log(n+1), "waiting until it ends") })
		load := exec.Command("python3", "-c", knocking, bot, port, "3")
		var out strings.Builder
		load.Stdout, load.Stderr = &out, os.Stderr
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		last.Process.Signal(os.Interrupt)
		if err := last.Wait(); err != nil {
			t.Errorf("agent %d: %v", n, err)
		}
		load.Wait()
		kind, count, _ := strings.Cut(strings.TrimSpace(out.String()), ":")
		if kind != "S" || strings.Contains(count, ":") {
			t.Error("not every connection was served")
		}
		t.Logf("while agent %d took over: %s", n+1, out.String())
		status, err := exec.Command(sluicetest.Binary(t), "status", "--config", config).CombinedOutput()
		if err != nil || !strings.Contains(string(status), "bot") {
			t.Errorf("status of agent %d: %v\n%s", n+1, err, status)
		}
		last = next
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d connections went past", n)
	}
}
