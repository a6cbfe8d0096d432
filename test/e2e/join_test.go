package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluicegate.io/sluice/agent/enroll"
	"sluicegate.io/sluice/test/sluicetest"
)

// TestJoinFromWorkload asks a daemon to enroll what is enrolled already: it stays
// where it is, or a workload could choose by whose rules it is judged.
func TestJoinFromWorkload(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: starts an agent")
	}
	mount, err := enroll.Mount()
	if err != nil {
		t.Skip(err)
	}
	name := fmt.Sprintf("sluicetest-join-%d", os.Getpid())
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	for _, sub := range []string{"workload/child", "free", "delegated/below"} {
		if err := os.MkdirAll(filepath.Join(mount, name, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(mount, name, "delegated/cgroup.procs"), 1000, 1000); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(mount, "sluice", "exec-1-"+name, "workload", "command")
	if err := os.MkdirAll(other, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		enroll.RemoveTree(filepath.Join(mount, name))
		enroll.RemoveTree(filepath.Join(mount, "sluice", "exec-1-"+name))
	})
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`apiVersion: sluicegate.io/v1alpha1
kind: Agent
metadata: {name: test}
spec:
  runDir: %[1]s/run
  stateDir: %[1]s/state
  bpfDir: /sys/fs/bpf/%[2]s
  cgroup: /%[2]s
---
apiVersion: sluicegate.io/v1alpha1
kind: Workload
metadata: {name: held}
spec: {cgroup: /%[2]s/workload}
---
apiVersion: sluicegate.io/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  protocol: postgres
  endpoints: ["192.0.2.1:5432"]
  credential: {username: x, passwordEnv: SLUICETEST_NONE}
`, dir, name)
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
	t.Cleanup(func() {
		cancel()
		daemon.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
		exec.Command(sluicetest.Binary(t), "agent", "--config", config, "--uninstall").Run()
		os.RemoveAll("/sys/fs/bpf/" + name)
	})
	socket := filepath.Join(dir, "run", "join.sock")
	eventually(t, "the daemon listens", func() bool {
		// To connect would be to ask for this process.
		info, err := os.Stat(socket)
		return err == nil && info.Mode()&0o666 == 0o666
	})
	for _, tt := range []struct {
		from string
		to   string // "": stays
	}{
		{filepath.Join(mount, name, "workload"), ""},
		{filepath.Join(mount, name, "workload", "child"), ""},
		{other, ""},
		{filepath.Join(mount, name, "free"), filepath.Join(mount, name, "free/sluice-exec-")}, // its limits go on to apply
		// An account could move it out of there again.
		{filepath.Join(mount, name, "delegated/below"), filepath.Join(mount, name, "sluice/commands/")},
		{filepath.Join(mount, name), filepath.Join(mount, name, "sluice/commands/")},
		{mount, filepath.Join(mount, name, "sluice/commands/")},
	} {
		d, err := os.Open(tt.from)
		if err != nil {
			t.Fatal(err)
		}
		// The connection is the child's own: the kernel tells who it is.
		cmd := exec.Command("python3", "-c", `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); s.settimeout(20); s.recv(1000)
print([l.strip() for l in open("/proc/self/cgroup") if l.startswith("0::")][0][3:])`, socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(d.Fd())}
		out, err := cmd.CombinedOutput()
		d.Close()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		now := filepath.Join(mount, strings.TrimSpace(string(out)))
		if tt.to == "" && now != tt.from || !strings.HasPrefix(now, tt.to) {
			t.Errorf("from %s: is in %s", tt.from, now)
		}
	}
	eventually(t, "the cgroups of what has ended are gone", func() bool {
		left, _ := filepath.Glob(filepath.Join(mount, name, "free/sluice-exec-*"))
		return len(left) == 0
	})
}
