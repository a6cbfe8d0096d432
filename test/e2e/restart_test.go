package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
	g := newGround(t, "restart")
	address, port, reached := passed(t)
	home := g.cgroup("home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	g.configure(t, "", address,
		"kind: Workload\nmetadata: {name: bot}\nspec: {cgroup: /"+g.name+"/agents.slice/bot}",
		"kind: Workload\nmetadata: {name: report}\nspec: {systemdUnit: "+g.name+".service}")
	d := g.start(t)
	eventually(t, "the daemon is ready", func() bool {
		status, _ := g.status(t)
		return strings.Contains(status, "report")
	})
	run := func(cgroup string, times int) string {
		t.Helper()
		out, err := exec.Command("python3", "-c", reborn, fmt.Sprint(times), cgroup, home, port).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	bot, unit := g.cgroup("agents.slice/bot"), g.cgroup("system.slice", g.name+".service")
	for _, cgroup := range []string{bot, unit} {
		if got := run(cgroup, 200); got != "S:200" {
			t.Errorf("%s: %s", filepath.Base(cgroup), got)
		}
	}
	// What another makes below a service is not the unit, and is left alone.
	before := reached.Load()
	other := g.cgroup("docker.service", g.name+".service")
	if got := run(other, 1); got == "S:1" || reached.Load() != before+1 {
		t.Errorf("not a unit: %s, %d arrived", got, reached.Load()-before)
	}
	if before != 0 {
		t.Errorf("%d connections went past", before)
	}
	d.stop()
	if got := run(unit, 20); got != "ConnectionRefusedError:20" {
		t.Errorf("without a daemon: %s", got)
	}
	if n := reached.Load(); n != 1 {
		t.Errorf("%d connections arrived, want that of what is not enrolled", n)
	}
}
