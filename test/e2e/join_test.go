package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluicegate.io/sluice/agent/enroll"
)

// TestJoinFromWorkload asks a daemon to enroll what is enrolled already: it stays
// where it is, or a workload could choose by whose rules it is judged.
func TestJoinFromWorkload(t *testing.T) {
	g := newGround(t, "join")
	mount, name := g.mount, g.name
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
	t.Cleanup(func() { enroll.RemoveTree(filepath.Join(mount, "sluice", "exec-1-"+name)) })
	g.configure(t, ", cgroup: /"+name, "192.0.2.1:5432", "kind: Workload\nmetadata: {name: held}\nspec: {cgroup: /"+name+"/workload}")
	g.start(t)
	socket := filepath.Join(g.dir, "run", "join.sock")
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
