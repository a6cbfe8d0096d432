package e2e_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluicegate.io/sluice/test/sluicetest"
)

// knocking connects for some seconds from a cgroup, again and again. It prints a line when it
// begins to, and one of what it saw.
const knocking = `import collections, os, socket, sys, time
dir, port = sys.argv[1], int(sys.argv[2])
seen = collections.Counter()
with open(dir + "/cgroup.procs", "w") as f: f.write(str(os.getpid()))
print("begins", flush=True)
end = time.time() + float(sys.argv[3])
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
// surges, and ends that one under load: each connection is served by one of the two. The
// last one has no successor, and one starts later: what connects meanwhile is refused.
func TestSuccession(t *testing.T) {
	g := newGround(t, "succession")
	address, port, count := passed(t)
	bot := g.cgroup("bot")
	if err := os.MkdirAll(bot, 0o755); err != nil {
		t.Fatal(err)
	}
	g.configure(t, ", kubernetes: {resources: files, pods: none}", address,
		"kind: Workload\nmetadata: {name: bot}\nspec: {cgroup: /"+g.name+"/bot}")
	last := g.start(t)
	eventually(t, "the first agent serves", func() bool { return strings.Contains(last.log(), "msg=ready") })
	under := func(f func()) string {
		load := exec.Command("python3", "-c", knocking, bot, port, strconv.Itoa(3*slow))
		load.Stderr = os.Stderr
		pipe, err := load.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReader(pipe)
		if _, err := out.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond * time.Duration(slow))
		f()
		saw, _ := io.ReadAll(out)
		load.Wait()
		return strings.TrimSpace(string(saw))
	}
	end := func(d *daemon) {
		if err := d.stop(); err != nil {
			t.Errorf("%s: %v", d.out, err)
		}
	}
	for n := range 3 {
		next := g.start(t)
		eventually(t, "the next agent waits", func() bool { return strings.Contains(next.log(), "waiting until it ends") })
		got := under(func() { end(last) })
		t.Logf("while agent %d took over: %s", n+1, got)
		if !strings.HasPrefix(got, "S:") || strings.Contains(got, " ") {
			t.Error("not every connection was served")
		}
		if status, err := g.status(t); err != nil || !strings.Contains(status, "bot") {
			t.Errorf("status of agent %d: %v\n%s", n+1, err, status)
		}
		last = next
	}
	got := under(func() {
		end(last)
		g.start(t)
	})
	t.Logf("with none in between: %s", got)
	if !strings.Contains(got, "S:") || !strings.Contains(got, "ConnectionRefusedError:") {
		t.Error("not both served and refused")
	}
	if n := count.Load(); n > 0 {
		t.Errorf("%d connections went past", n)
	}
}

// holding opens a connection from a cgroup, says so, and waits until it is closed.
const holding = `import os, socket, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as f: f.write(str(os.getpid()))
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as s:
    s.sendall(b"\0\0\0\10\4\322\26\57") # SSLRequest
    s.recv(1)
    print("open", flush=True)
    s.recv(1)
`

// TestTakenGrace opens a connection to an agent that was told to end, and serves on for
// another one. When the next agent has taken over, that one may still end by itself.
func TestTakenGrace(t *testing.T) {
	g := newGround(t, "grace")
	address, port, _ := passed(t)
	bot := g.cgroup("bot")
	if err := os.MkdirAll(bot, 0o755); err != nil {
		t.Fatal(err)
	}
	g.configure(t, ", kubernetes: {resources: files, pods: none, drain: 2s}", address,
		"kind: Workload\nmetadata: {name: bot}\nspec: {cgroup: /"+g.name+"/bot}")
	hold := func() (end func(), closed chan struct{}) {
		cmd := exec.Command("python3", "-c", holding, bot, port)
		cmd.Stderr = os.Stderr
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReader(pipe)
		if line, err := out.ReadString('\n'); err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		closed = make(chan struct{})
		go func() {
			io.Copy(io.Discard, out)
			cmd.Wait()
			close(closed)
		}()
		end = func() { cmd.Process.Kill(); <-closed }
		t.Cleanup(end)
		return end, closed
	}
	last := g.start(t)
	eventually(t, "the first agent serves", func() bool { return strings.Contains(last.log(), "msg=ready") })
	endEarly, _ := hold()
	next := g.start(t)
	eventually(t, "the next agent waits", func() bool { return strings.Contains(next.log(), "waiting until it ends") })
	last.cmd.Process.Signal(os.Interrupt)
	eventually(t, "the first agent is told", func() bool { return strings.Contains(last.log(), "what is open may go on") })
	endLate, late := hold()
	eventually(t, "the next agent takes over", func() bool { return strings.Contains(last.log(), "the next agent has taken over") })
	select {
	case <-late:
		t.Error("what began meanwhile was not given time to end")
	case <-time.After(4 * time.Second):
	}
	endEarly()
	endLate()
	if err := last.stop(); err != nil {
		t.Error(err)
	}
}

// unfitDatabase is a document that only a proxy refuses.
func unfitDatabase(t *testing.T, g *ground) string {
	t.Helper()
	authority := filepath.Join(g.dir, "authority.pem")
	if err := os.WriteFile(authority, []byte("nothing of that kind"), 0o644); err != nil {
		t.Fatal(err)
	}
	return "kind: Database\nmetadata: {name: other}\nspec: {protocol: postgres, endpoints: [\"127.0.0.1:9\"], " +
		"credential: {username: x, passwordEnv: SLUICETEST_PASSWORD}, tls: {mode: verify-full, caFile: " + authority + "}}"
}

// TestUnfitSuccessor starts agents beside one that serves. One whose proxy refuses its
// configuration ends by itself, and no probe is told that it has started, which is what would
// end the one that serves. Of one that is fit, probes are told while it stands by.
func TestUnfitSuccessor(t *testing.T) {
	g := newGround(t, "unfit")
	address, _, _ := passed(t)
	const settings = ", kubernetes: {resources: files, pods: none}"
	g.configure(t, settings, address)
	serves := g.config
	file := filepath.Join(g.dir, "started", "agent")
	started := func() bool {
		return exec.Command(sluicetest.Binary(t), "kube", "started", file).Run() == nil
	}
	first := g.start(t)
	eventually(t, "the first agent serves", func() bool { return strings.Contains(first.log(), "msg=ready") })

	g.config = filepath.Join(g.dir, "unfit.yaml")
	g.configure(t, settings, address, unfitDatabase(t, g))
	unfit := g.start(t, "--started", file)
	ended := make(chan error, 1)
	go func() { ended <- unfit.cmd.Wait() }()
	for running := true; running; {
		if started() {
			t.Error("an agent has started whose proxy takes no configuration")
		}
		select {
		case err := <-ended:
			running = false
			if err == nil {
				t.Error("it ends as if nothing was wrong")
			}
		case <-time.After(10 * time.Millisecond):
		}
	}
	if log := unfit.log(); !strings.Contains(log, "holds no certificate") || strings.Contains(log, "waiting until it ends") {
		t.Errorf("it stood by, or did not say why it could not:\n%s", log)
	}

	g.config = serves
	if out, err := g.status(t); err != nil {
		t.Errorf("the first agent: %v\n%s", err, out)
	}
	fit := g.start(t, "--started", file)
	eventually(t, "the next agent has started", started)
	eventually(t, "the next agent waits", func() bool { return strings.Contains(fit.log(), "waiting until it ends") })
	if strings.Contains(fit.log(), "msg=ready") {
		t.Error("two agents serve")
	}
	if err := fit.stop(); err != nil {
		t.Errorf("told to end while it stands by: %v", err)
	}
	if started() {
		t.Error("an agent that has ended has started")
	}
}

// TestUnfitChange changes the configuration while an agent stands by: to one without a
// workload, that its proxy refuses. What was in force holds, the workload with it.
func TestUnfitChange(t *testing.T) {
	g := newGround(t, "change")
	address, port, count := passed(t)
	bot := g.cgroup("bot")
	if err := os.MkdirAll(bot, 0o755); err != nil {
		t.Fatal(err)
	}
	const settings = ", kubernetes: {resources: files, pods: none}"
	g.configure(t, settings, address, "kind: Workload\nmetadata: {name: bot}\nspec: {cgroup: /"+g.name+"/bot}")
	first := g.start(t)
	eventually(t, "the first agent serves", func() bool { return strings.Contains(first.log(), "msg=ready") })
	next := g.start(t)
	eventually(t, "the next agent waits", func() bool { return strings.Contains(next.log(), "waiting until it ends") })
	changed := *g
	changed.config = filepath.Join(g.dir, "changed.yaml")
	changed.configure(t, settings, address, unfitDatabase(t, g))
	if err := os.Rename(changed.config, g.config); err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	eventually(t, "the next agent serves", func() bool { return strings.Contains(next.log(), "msg=ready") })
	if !strings.Contains(next.log(), "configuration refused, the last good one stays in force") {
		t.Error("the next agent does not say that a configuration was refused")
	}
	saw, err := exec.Command("python3", "-c", knocking, bot, port, "0.5").CombinedOutput()
	if err != nil || !strings.Contains(string(saw), "S:") || strings.Contains(string(saw), "D:") || count.Load() > 0 {
		t.Errorf("the workload: %v %s, and %d connections went past", err, saw, count.Load())
	}
}
